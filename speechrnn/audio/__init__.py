"""Audio: probe, read, resample and write recordings of any common format, rate and number of channels."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "reading": [
            "SUFFIXES",
            "AudioInfo",
            "in_memory",
            "is_pipe",
            "probe",
            "read",
            "read_blocks",
            "resample",
            "write",
        ],
    },
)
