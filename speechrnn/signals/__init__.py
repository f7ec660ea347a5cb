"""Sensor signals: ECG, EEG, motion and any table of numbers, read into float32 `(samples, channels)` at a known rate.

The readers of ECG and EEG formats come with the extra `speechrnn[signals]`; nothing here imports TensorFlow.
"""

from speechrnn.signals.arrays import write
from speechrnn.signals.edf import Event, events
from speechrnn.signals.gaps import complaints, fill_gaps
from speechrnn.signals.options import TableOptions
from speechrnn.signals.reading import SUFFIXES, SignalInfo, dates, is_signal, probe, read, resample
from speechrnn.signals.record import forget
from speechrnn.signals.wfdb_files import Annotations, annotations

__all__ = [
    "SUFFIXES",
    "Annotations",
    "Event",
    "SignalInfo",
    "TableOptions",
    "annotations",
    "complaints",
    "dates",
    "events",
    "fill_gaps",
    "forget",
    "is_signal",
    "probe",
    "read",
    "resample",
    "write",
]
