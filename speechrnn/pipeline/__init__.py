"""Padded batches from a manifest: `batches`, or `windows` for forecasts; `plan_of` returns the plan of a dataset."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=[
        "bucketing",
        "cache",
        "dataset",
        "graph",
        "loading",
        "mixing",
        "planning",
        "selection",
        "series",
        "targets",
        "tfio",
        "windowing",
    ],
    submod_attrs={
        "dataset": ["Plan", "batches"],
        "graph": ["plan_of"],
        "series": ["windows"],
        "windowing": ["WindowPlan", "plan_windows"],
    },
)
