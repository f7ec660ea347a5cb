"""Sensor signals: ECG, EEG, motion and any table of numbers, read into float32 `(samples, channels)` at a known rate.

The readers of ECG and EEG formats come with the extra `speechrnn[signals]`; nothing here imports TensorFlow.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["tables", "ts"],
    submod_attrs={
        "arrays": ["write"],
        "edf": ["Event", "events"],
        "gaps": ["complaints", "fill_gaps"],
        "options": ["TableOptions"],
        "reading": ["SUFFIXES", "SignalInfo", "dates", "is_signal", "probe", "read", "resample"],
        "record": ["forget"],
        "wfdb_files": ["Annotations", "annotations"],
    },
)
