"""Audio: probe, read, resample and write recordings of any common format, rate and number of channels."""

from speechrnn.audio.reading import SUFFIXES, AudioInfo, is_pipe, probe, read, read_blocks, resample, write

__all__ = ["SUFFIXES", "AudioInfo", "is_pipe", "probe", "read", "read_blocks", "resample", "write"]
