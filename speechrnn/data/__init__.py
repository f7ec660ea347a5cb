"""Data: manifests and their examples, corpora, downloads and checks."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["check", "corpora", "download", "examples", "manifest"],
    submod_attrs={"examples": ["read_example"], "manifest": ["Example"]},
)
