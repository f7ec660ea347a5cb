"""Signals of every format hold what was written into them, and what is wrong with a file is said."""

import datetime as dt
import io
import mmap
import shutil
import sys
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from recordings import write_edf, write_hypnogram, write_wfdb

from speechrnn import audio, signals
from speechrnn.data.examples import read_example
from speechrnn.data.manifest import Example
from speechrnn.faults import kind_of
from speechrnn.signals import arrays, reading


@pytest.fixture
def adc(rng):
    """int `(1001, 2)` that 12 bits hold; -2048 stands for no sample."""
    return rng.integers(-2047, 2048, size=(1001, 2))


def test_wfdb_is_decoded_to_physical_units(tmp_path, adc):
    header = write_wfdb(tmp_path / "100", adc)
    expected = (adc - 1024) / 200
    for path in (header, tmp_path / "100"):
        signal, rate = signals.read(path)
        assert rate == 360 and signal.dtype == np.float32
        np.testing.assert_allclose(signal, expected, atol=1e-6)
    part, _ = signals.read(header, offset=1.0, duration=0.5, channels=["V1", 0])
    np.testing.assert_allclose(part, expected[360:540, ::-1], atol=1e-6)
    info = signals.probe(header)
    assert (info.rate, info.samples, info.channels, info.units) == (360, 1001, ("MLII", "V1"), ("mV", "mV"))
    assert info.duration == pytest.approx(1001 / 360)


def test_annotations(tmp_path, adc):
    header = write_wfdb(tmp_path / "100", adc, marks=[(5, "+"), (18, "N"), (370, "V"), (5000, "A"), (200_000, "/")])
    marks = signals.annotations(header)
    assert marks.samples.tolist() == [5, 18, 370, 5000, 200_000]
    assert marks.symbols == ("+", "N", "V", "A", "/")


def test_annotations_count_samples_of_the_record_and_keep_symbols_of_their_own(tmp_path, adc, monkeypatch):
    wfdb = pytest.importorskip("wfdb")
    header = write_wfdb(tmp_path / "100", adc)
    monkeypatch.chdir(tmp_path)
    given = {"symbol": ["N", "y"], "custom_labels": [("y", "a mark of one's own")]}
    with warnings.catch_warnings():  # of what wfdb asks of pandas where it writes
        warnings.simplefilter("ignore")
        wfdb.wrann("100", "atr", np.array([10, 250]), fs=180, **given)  # half the record's rate
    marks = signals.annotations(header)
    assert (marks.samples.tolist(), marks.symbols) == ([20, 500], ("N", "y"))


@pytest.mark.parametrize("moment", ["2006", "10:00:00 2006", "25:61:00 01/02/2006"])
def test_a_wfdb_header_with_half_a_date_says_how_it_is_written(tmp_path, adc, moment):
    header = write_wfdb(tmp_path / "100", adc)
    header.write_text(header.read_text().replace(" 1001\n", f" 1001 {moment}\n"))
    with pytest.raises(ValueError, match="is no WFDB header: .*if known, `HH:MM:SS DD/MM/YYYY`. Mend it"):
        signals.read(header)


def test_mat_of_the_challenge(tmp_path, rng):
    values = rng.integers(-3000, 3000, size=(1, 900)).astype(np.int16)
    scipy.io.savemat(tmp_path / "A00001.mat", {"val": values}, format="4")
    signal, rate = signals.read(tmp_path / "A00001.mat", rate=300)
    np.testing.assert_array_equal(signal[:, 0], values[0])
    (tmp_path / "A00001.hea").write_text(
        "A00001 1 300 900 05:05:15 1/05/2014\nA00001.mat 16+24 1000/mV 16 0 -127 0 0 ECG\n"
    )
    for name in ("A00001.mat", "A00001.hea"):
        signal, rate = signals.read(tmp_path / name)
        assert rate == 300
        np.testing.assert_allclose(signal[:, 0], values[0] / 1000, atol=1e-6)


def test_edf_channels_keep_their_rates_until_one_is_asked_for(tmp_path):
    eeg = np.round(1000 * np.sin(2 * np.pi * 3 * np.arange(1000) / 100)).astype(int)
    heat = np.arange(100) * 10
    path = write_edf(tmp_path / "a.edf", [eeg, heat], [100, 10], ["EEG Fpz", "Temp"])
    signal, rate = signals.read(path, channels=["EEG Fpz"])
    assert rate == 100
    np.testing.assert_allclose(signal[:, 0], eeg / 10, atol=1e-3)
    part, rate = signals.read(path, channels=["temp"], offset=2.0, duration=3.0)
    assert rate == 10
    np.testing.assert_allclose(part[:, 0], heat[20:50] / 10, atol=1e-3)
    with pytest.raises(ValueError, match="several rates: 'EEG Fpz' 100 Hz, 'Temp' 10 Hz"):
        signals.read(path)
    both, rate = signals.read(path, sample_rate=50)
    assert both.shape == (500, 2) and rate == 50
    np.testing.assert_allclose(both[:, 1], np.arange(500) / 5, atol=0.2)  # a ramp stays one
    np.testing.assert_allclose(both[20:-20, 0], eeg[::2][20:-20] / 10, atol=0.5)


def test_an_edf_with_interruptions_lies_where_its_blocks_say(tmp_path, rng):
    eeg, heat = rng.integers(-30000, 30000, 500), np.arange(50)
    onsets = ["+3.20", "+4.20", "+5.5", "+6.50", "+100"]  # pauses of 0.3 and 92.5 s
    path = write_edf(tmp_path / "a.edf", [eeg, heat], [100, 10], ["EEG Fpz", "Temp"], kind="EDF+D", onsets=onsets)
    info = signals.probe(path, channels=["EEG Fpz"])
    assert (info.rate, info.channels, info.units) == (100, ("EEG Fpz",), ("uV",))
    assert info.duration == pytest.approx(97.8)  # from the first block's start to the last one's end
    signal, _ = signals.read(path, channels=["EEG Fpz"], duration=4.3)
    np.testing.assert_allclose(signal[:200, 0], eeg[:200] / 10, atol=1e-3)
    np.testing.assert_allclose(signal[230:, 0], eeg[200:400] / 10, atol=1e-3)
    line = np.linspace(eeg[199], eeg[200], 32)[1:-1] / 10
    np.testing.assert_allclose(signal[200:230, 0], line, atol=1e-2)
    part, _ = signals.read(path, channels=["Temp"], offset=96.8, duration=0.5)
    np.testing.assert_allclose(part[:, 0], np.arange(40, 45) / 10, atol=1e-5)
    with pytest.raises(ValueError, match="'EEG Fpz' lacks 0.300 s from 2.000 s; at most 0.1 s are filled"):
        signals.read(path, channels=["EEG Fpz"], duration=4.3, max_gap=0.1)
    with pytest.raises(ValueError, match="'EEG Fpz' lacks 92.500 s from 4.300 s.*or read a segment beside the gap"):
        signals.read(path, channels=["EEG Fpz"])


@pytest.mark.parametrize("kind", ["EDF", "BDF"])
def test_blocks_without_a_pause_are_what_pyedflib_reads(tmp_path, rng, kind):
    most = {"EDF": 2**15, "BDF": 2**23}[kind]
    values = [rng.integers(-most, most, size) for size in (600, 120)]
    onsets = [f"+{second}" for second in range(0, 6, 2)]
    given = {"signals": values, "rates": [100, 20], "names": ["a", "b"], "seconds": 2, "onsets": onsets}
    whole, parts = (write_edf(tmp_path / f"{end}.{kind.lower()}", kind=f"{kind}+{end}", **given) for end in "CD")
    assert signals.probe(whole, channels=["b"]).samples == signals.probe(parts, channels=["b"]).samples == 120
    for channel in ("a", "b"):
        expected, rate = signals.read(whole, channels=[channel], offset=1.5, duration=3)
        found, same = signals.read(parts, channels=[channel], offset=1.5, duration=3)
        assert rate == same
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("onsets", "message"),
    [
        (["+0", "0.5x", "+2"], "its block 2 does not say when it begins. Export it as EDF.C"),
        (["+0", "+1", "+1.5"], "its block 3 begins before the one ahead of it ends"),
    ],
)
def test_an_edf_whose_blocks_cannot_be_placed_says_so(tmp_path, onsets, message):
    path = write_edf(tmp_path / "a.edf", [np.arange(30)], [10], ["EEG"], kind="EDF+D", onsets=onsets)
    with pytest.raises(ValueError, match=message):
        signals.read(path)


def test_an_edf_of_years_is_read_in_segments(tmp_path):
    onsets = ["+0", "+90000000"]
    path = write_edf(tmp_path / "a.edf", [np.arange(20)], [10], ["EEG"], kind="EDF+D", onsets=onsets)
    with pytest.raises(ValueError, match="has 20 samples in 900,000,010 from 0 on. Read it in segments"):
        signals.read(path)
    assert signals.read(path, offset=90000000)[0].shape == (10, 1)


ODD = {
    "an accent in the version": (0, b"0\xa0"),
    "an accent in the patient's name": (8, "Hélène".encode("latin-1")),
    "zeros for spaces": (8, b"X\0\0\0\0\0"),
    "a date with slashes": (168, b"01/01/24"),
    "no date": (168, b"00.00.00"),
    "no time": (176, b"??.??.??"),
    "a recording that was not closed": (236, b"-1      "),
    "an accent in a label": (256, "Posição".encode("latin-1").ljust(16)),
    "a micro sign in the unit": (256 + 96, "µV".encode("latin-1").ljust(8)),
    "a micro sign in UTF-8": (256 + 96, "µV".encode().ljust(8)),
    "a range at the right": (256 + 104, b" -3276.8"),
    "a decimal comma": (256 + 104, b"-3276,8 "),
    "a mark in the filter": (256 + 136, "50 Hz µ".encode("latin-1")),
    "a block of 1.0 s": (244, b"1.0     "),
}


@pytest.mark.parametrize("name", ODD)
def test_an_edf_is_read_whatever_its_header_says_beside_what_is_needed(tmp_path, name):
    eeg = np.round(1000 * np.sin(np.arange(500) / 5)).astype(int)
    path = write_edf(tmp_path / "a.edf", [eeg], [100], ["EEG"])
    whole, (place, field) = bytearray(path.read_bytes()), ODD[name]
    whole[place : place + len(field)] = field
    path.write_bytes(whole)
    signal, rate = signals.read(path)
    assert rate == 100
    np.testing.assert_allclose(signal[:, 0], eeg / 10, atol=1e-3)
    assert signals.probe(path).units == ("µV" if "micro" in name else "uV",)


@pytest.mark.parametrize(
    ("place", "field", "message"),
    [
        (244, b"0       ", "has signals in blocks of 0 s, which give no rate"),
        (244, b"-1      ", "its length of a block is '-1', which must be zero or more"),
        (236, b"0       ", "has no block of samples"),
        (236, b"2       ", "should have 912 bytes by its header, has 1,512"),
        (252, b"1_0 ", "its number of channels is '1_0'"),
        (184, b"768     ", "says that its header has 768 bytes. 1 channels make 512"),
        (192, b"EDF+X", "must be EDF.C .without interruptions. or EDF.D"),
        (256 + 104, b"low     ", "channel 'EEG' does not say its range: low"),
        (256 + 104, b"3276.7  ", "channel 'EEG' has the range 3276.7 to 3276.7"),
        (256 + 216, b"0       ", "has no samples in any channel"),
        (256 + 216, b"-100    ", "its number of samples is '-100'"),
    ],
)
def test_an_edf_that_says_what_cannot_be_is_refused(tmp_path, place, field, message):
    path = write_edf(tmp_path / "a.edf", [np.arange(500)], [100], ["EEG"])
    whole = bytearray(path.read_bytes())
    whole[place : place + len(field)] = field
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=message):
        signals.read(path)


def test_an_edf_says_when_it_begins(tmp_path):
    path = write_edf(tmp_path / "a.edf", [np.arange(30)], [10], ["EEG"])
    assert signals.probe(path).start == dt.datetime(2000, 1, 1)
    path = write_edf(tmp_path / "b.edf", [np.arange(30)], [10], ["EEG"], kind="EDF+D", onsets=["+0.5", "+2", "+3"])
    assert signals.probe(path).start == dt.datetime(2000, 1, 1, 0, 0, 0, 500_000)


def test_an_edf_that_begins_within_a_second_says_so(tmp_path):
    onsets = ["+0.75", "+1.75"]
    path = write_edf(tmp_path / "a.edf", [np.arange(20)], [10], ["EEG"], kind="EDF+C", onsets=onsets)
    assert signals.probe(path).start == dt.datetime(2000, 1, 1, 0, 0, 0, 750_000)
    assert [event.start for event in signals.events(path)] == [0, 0, 1, 1]  # seconds of the signal


def test_annotations_without_signals_are_read_to_the_last(tmp_path):
    path = write_hypnogram(tmp_path / "a.edf", [(10, 15, "Apnea"), (90, 5, "Hypopnea")])
    whole = bytearray(path.read_bytes())
    whole[244:252] = b"0       "  # what the specification says of files without signals
    whole[-11:] = b"Hypopneas!\x14"  # fills the block, where a zero should stand
    path.write_bytes(whole)
    assert signals.events(path) == (signals.Event(10, 15, "Apnea"), signals.Event(90, 5, "Hypopneas!"))


def test_wfdb_without_a_length_and_of_differences(tmp_path):
    values = np.arange(-500, 500)
    values.astype("<i2").tofile(tmp_path / "r.dat")
    (tmp_path / "r.hea").write_text("r 1 360\nr.dat 16 200 16 0 0 0 0 ECG\n")
    signal, rate = signals.read(tmp_path / "r.hea", offset=1)
    assert rate == 360
    np.testing.assert_allclose(signal[:, 0], values[360:] / 200, atol=1e-6)
    steps = np.random.default_rng(0).integers(-100, 100, 1000)
    steps.astype(np.int8).tofile(tmp_path / "d.dat")
    (tmp_path / "d.hea").write_text("d 1 100 1000 10:00:00 01/02/2003\nd.dat 8 1(0)/mV 8 0 7 0 0 x\n")
    np.testing.assert_allclose(signals.read(tmp_path / "d.hea")[0][:, 0], 7 + np.cumsum(steps))
    part, _ = signals.read(tmp_path / "d.hea", offset=3, duration=2)
    np.testing.assert_allclose(part[:, 0], (7 + np.cumsum(steps))[300:500])
    assert signals.probe(tmp_path / "d.hea").start == dt.datetime(2003, 2, 1, 10)


def write_summed(folder, name, values, *, per_frame="", form="16", more=0):
    """A record of 16-bit numbers, `(samples, channels)`, with the sums of its channels in its header."""
    folder.mkdir(exist_ok=True)
    np.asarray(values, "<i2").tofile(folder / f"{name}.dat")
    sums = (np.asarray(values).reshape(-1, 2).sum(axis=0) + more + 32768) % 65536 - 32768
    lines = [f"{name}.dat {form}{per_frame} 10(3)/mV 16 0 {values.ravel()[i]} {sums[i]} 0 c{i}" for i in range(2)]
    frames = len(values) // (int(per_frame[1:]) if per_frame else 1)
    (folder / f"{name}.hea").write_text("\n".join([f"{name} 2 100 {frames}", *lines]) + "\n")
    return folder / f"{name}.hea"


def spoil_sample(header, place):
    """A sample changes by one bit, and the file keeps its length."""
    path = header.with_suffix(".dat")
    path.write_bytes((data := path.read_bytes())[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])


def test_a_wfdb_signal_is_checked_against_its_checksum(tmp_path, rng):
    values = rng.integers(-30000, 30000, (3000, 2))
    header = write_summed(tmp_path, "r", values)
    np.testing.assert_allclose(signals.read(header)[0], (values - 3) / 10, rtol=1e-6)
    spoil_sample(header, 4 * 1000)  # in the first channel
    with pytest.raises(
        ValueError, match=r"r.hea: the samples of channel 'c0' add up to \d+, and its checksum"
    ) as caught:
        signals.read(header)
    assert kind_of(caught.value) == "damaged"
    assert signals.read(header, channels=["c1"])[0].shape == (3000, 1)
    part, _ = signals.read(header, offset=20)
    np.testing.assert_allclose(part, (values[2000:] - 3) / 10, rtol=1e-6)


def test_a_wfdb_checksum_holds_for_several_samples_per_frame_and_for_blocks(tmp_path, rng, monkeypatch):
    values = rng.integers(-30000, 30000, (3000, 2))
    frames = values.reshape(1000, 3, 2).transpose(0, 2, 1).reshape(-1, 2)  # three of a channel, then three of the next
    header = write_summed(tmp_path, "r", values, per_frame="x3")
    frames.astype("<i2").tofile(header.with_suffix(".dat"))
    np.testing.assert_allclose(signals.read(header)[0], (values - 3) / 10, rtol=1e-6)
    monkeypatch.setattr(reading, "_AT_ONCE", 700)
    signals.read(header, sample_rate=50)
    spoil_sample(header, 9000)
    with pytest.raises(ValueError, match="its checksum is"):
        signals.read(header, sample_rate=50)


@pytest.mark.parametrize("sums", ["0 0", ""])
def test_a_wfdb_header_without_checksums_is_read(tmp_path, sums):
    np.arange(1, 1001, dtype="<i2").tofile(tmp_path / "r.dat")
    (tmp_path / "r.hea").write_text(f"r 1 360 1000\nr.dat 16 200 16 0 {sums}\n")
    assert signals.read(tmp_path / "r.hea")[0].shape == (1000, 1)


def test_segments_of_a_wfdb_record_are_checked_too(tmp_path, rng):
    values = rng.integers(-30000, 30000, (1000, 2))
    for name, part in (("a", values[:400]), ("b", values[400:])):
        write_summed(tmp_path, name, part)
    header = tmp_path / "m.hea"
    header.write_text("m/3 2 100 1100\na 400\n~ 100\nb 600\n")
    signal, _ = signals.read(header, max_gap=None)
    np.testing.assert_allclose(signal[:400], (values[:400] - 3) / 10, rtol=1e-6)
    np.testing.assert_allclose(signal[500:], (values[400:] - 3) / 10, rtol=1e-6)
    assert np.isnan(signal[400:500]).all()
    part, _ = signals.read(header, offset=3, duration=4, max_gap=None)
    np.testing.assert_array_equal(part, signal[300:700])
    (tmp_path / "layout.hea").write_text(
        "layout 3 100 0\n" + "".join(f"~ 0 10/mV 16 0 0 0 0 {n}\n" for n in ("c1", "x", "c0"))
    )
    header.with_name("v.hea").write_text("v/3 3 100 1000\nlayout 0\na 400\nb 600\n")
    varied, _ = signals.read(header.with_name("v.hea"), channels=["c0", "c1"])
    np.testing.assert_array_equal(varied[:400], signal[:400])
    spoil_sample(tmp_path / "b.hea", 402)
    with pytest.raises(ValueError, match=r"m.hea: one of its segments .*b.hea: the samples of channel 'c1' add up"):
        signals.read(header, max_gap=None)
    header.with_name("n.hea").write_text("n/2 2 100 1001\na 401\nb 600\n")
    with pytest.raises(ValueError, match=r"n.hea: one of its segments .*a.hea: should have 401 samples, 400 are there"):
        signals.read(header.with_name("n.hea"), max_gap=None)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("r 2 360 1000\n", "promises 2 signals and describes 0"),
        ("r 1 360 1000\nr.dat 17 200 11 0 0 0 0 ECG\n", "r.dat is in the format '17'. WFDB has 8, 16"),
        ("r 1 360 1001\nr.dat 16 200 11 0 0 0 0 ECG\n", "should have 1,001 samples.*1,000 are there"),
        ("r 1 360 1000\nr.dat 16 200 11 0 0 0\nr.dat 16\n", "r.hea: "),
        ("r 1 0 1000\nr.dat 16 200 11 0 0 0 0 ECG\n", "its rate must be positive"),
    ],
)
def test_a_wfdb_header_that_says_what_cannot_be_is_refused(tmp_path, header, message):
    np.arange(1000, dtype="<i2").tofile(tmp_path / "r.dat")
    (tmp_path / "r.hea").write_text(header)
    with pytest.raises((ValueError, OSError), match=message):
        signals.read(tmp_path / "r.hea")


def write_mat73(path, **arrays):
    """As MATLAB writes: columns become rows, text whole numbers."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in arrays.items():
            text = isinstance(value, str)
            data = np.array([[ord(letter)] for letter in value], np.uint16) if text else np.atleast_2d(value).T
            made = file.create_dataset(name.replace(".", "/"), data=data)
            made.attrs["MATLAB_class"] = np.bytes_("char" if text else "double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def test_mat_with_its_rate_beside_and_of_every_version(tmp_path, rng):
    path, ecg = tmp_path / "t.mat", rng.standard_normal((2, 500))
    for name in ("fs", "Fs", "srate", "sampling_rate", "SamplingFrequency"):
        scipy.io.savemat(path, {"ecg": ecg, name: 250.0, "id": 7.0})
        signal, rate = signals.read(path)
        assert rate == 250
        np.testing.assert_allclose(signal, ecg.T, rtol=1e-6)
    scipy.io.savemat(path, {"EEG": {"data": ecg, "srate": 250.0, "setname": "x"}})
    assert signals.read(path, row="EEG.data")[1] == 250 and signals.read(path)[0].shape == (500, 2)
    scipy.io.savemat(path, {"signal": ecg.T, "fs": 250, "channels": np.array(["I", "II"], object)})
    assert signals.probe(path).channels == ("I", "II")
    write_mat73(path, ecg=ecg, fs=250.0, note="a note")
    signal, rate = signals.read(path)
    assert rate == 250
    np.testing.assert_allclose(signal, ecg.T, rtol=1e-6)
    write_mat73(path, **{"EEG.data": ecg, "EEG.srate": 250.0})
    assert signals.read(path)[1] == 250
    for there, message in (
        ({"a": ecg, "b": ecg, "fs": 250.0}, "holds 2 records: a, b. Say which with `row`"),
        ({"a": ecg, "fs": 250.0, "srate": 500.0}, "says several rates: fs = 250, srate = 500"),
        ({"a": ecg.reshape(2, 10, 50), "fs": 250.0}, r"its array 'a' must hold real numbers.*\(2, 10, 50\)"),
        ({"a": ecg[:, :2], "fs": 250.0}, "its array 'a' has as many rows as columns"),
        ({"a": ecg + 1j, "fs": 250.0}, "its array 'a' must hold real numbers"),
    ):
        scipy.io.savemat(path, there)
        with pytest.raises(ValueError, match=message):
            signals.read(path)


@pytest.mark.parametrize("version", [5, 7.3])
def test_labels_are_not_the_signal_where_that_lies_in_cells(tmp_path, version):
    first, second, path = np.arange(40.0).reshape(20, 2), np.arange(15.0).reshape(15, 1), tmp_path / "a.mat"
    if version == 5:
        cells = np.empty((1, 2), object)
        cells[0] = [first, second]
        scipy.io.savemat(path, {"data": cells, "y": np.arange(9.0), "fs": 10})
    else:
        with h5py.File(path, "w") as file:
            for name, array in (("#refs#/a", first.T), ("#refs#/b", second.T), ("y", np.arange(9.0)[None])):
                file[name] = array
            file["fs"] = np.array([[10.0]])
            cells = np.array([[file["#refs#/a"].ref], [file["#refs#/b"].ref]], h5py.ref_dtype)
            file.create_dataset("data", data=cells, dtype=h5py.ref_dtype)
    with pytest.raises(ValueError, match="holds 3 records: data.0, data.1, y. Say which with `row`"):
        signals.read(path)
    for row, wanted in (("data.0", first), ("data.1", second)):
        np.testing.assert_array_equal(signals.read(path, row=row)[0], wanted)


def test_labels_are_not_the_signal_where_that_is_sparse(tmp_path):
    sparse = scipy.sparse.csc_matrix(np.eye(20, 2))
    scipy.io.savemat(tmp_path / "a.mat", {"data": sparse, "y": np.arange(9.0), "fs": 10})
    with pytest.raises(ValueError, match="holds 2 records: data, y. Say which with `row`"):
        signals.read(tmp_path / "a.mat")
    with pytest.raises(ValueError, match="'data' must hold real numbers in one or two axes. Received: .*sparse"):
        signals.read(tmp_path / "a.mat", row="data")


def test_an_npz_that_promises_more_than_it_has_asks_for_no_memory(tmp_path):
    path, header = tmp_path / "a.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**10, 2)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("signal.npy", header.getvalue() + bytes(16_000))
    with pytest.raises(ValueError, match="is no NPZ.*signal.npy promises 160,000,000,000 bytes and has"):
        signals.read(path)


@pytest.mark.parametrize(("name", "module"), [("a.csv", "pandas"), ("a.mat", "scipy.io"), ("r.hea", "wfdb")])
def test_a_reader_that_is_not_installed_is_the_files_fault(tmp_path, monkeypatch, name, module):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    scipy.io.savemat(tmp_path / "a.mat", {"a": np.ones((1, 500))})
    np.arange(1000, dtype="<i2").tofile(tmp_path / "r.dat")
    (tmp_path / "r.hea").write_text("r 1 360 1000\nr.dat 16 200 11 0 0 0 0 ECG\n")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ValueError, match=r'cannot be read without a library.*pip install "speechrnn\[signals\]"'
    ) as caught:
        signals.read(tmp_path / name, rate=1)
    assert kind_of(caught.value) == "lacking a library" and str(tmp_path / name) in str(caught.value)


def test_csv_with_times(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time,x,y,note\n" + "".join(f"{i / 50},{i},{-i},ok\n" for i in range(100)))
    signal, rate = signals.read(path)
    assert rate == pytest.approx(50)
    np.testing.assert_allclose(signal, np.stack([np.arange(100), -np.arange(100)], axis=1))
    assert signals.probe(path).channels == ("x", "y")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:11] + lines[13:]))  # two samples were lost
    again, rate = signals.read(path)
    np.testing.assert_allclose(again, signal, atol=1e-5)
    path.write_text("\n".join(lines[:11] + lines[80:]))
    with pytest.raises(ValueError, match="channel 'x' lacks 1.380 s from 0.200 s"):
        signals.read(path)
    path.write_text("time,x\n" + "".join(f"{i**1.5 / 50},{i}\n" for i in range(100)))
    with pytest.raises(ValueError, match="not taken at a regular rate"):
        signals.read(path)


def test_csv_with_dates_and_without_times(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("timestamp;value\n" + "".join(f"2014-02-14 14:{i:02d}:00;{i}\n" for i in range(10)))
    signal, rate = signals.read(path)
    assert rate == pytest.approx(1 / 60) and signal[:, 0].tolist() == list(range(10))
    path.write_text("x y\n1 2\n3 4\n")
    with pytest.raises(ValueError, match="does not say its rate. Give it as `rate`"):
        signals.read(path)
    assert signals.read(path, rate=5)[0].tolist() == [[1, 2], [3, 4]]
    path.write_text("1,2\n3,4\n5,6\n")
    assert signals.read(path, rate=5)[0].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"t": np.arange(20) / 10, "x": np.arange(20)}).to_parquet(tmp_path / "a.parquet")
    signal, rate = signals.read(tmp_path / "a.parquet")
    assert rate == pytest.approx(10) and signal[:, 0].tolist() == list(range(20))


def test_ucr_rows(tmp_path):
    path = tmp_path / "X_TRAIN.tsv"
    path.write_text("1\t0.5\t0.25\t0.75\n-1\t3\t4\tNaN\n")
    assert signals.read(path, row=0, rate=1)[0].ravel().tolist() == [0.5, 0.25, 0.75]
    assert signals.read(path, row=1, rate=1)[0].ravel().tolist() == [3, 4]  # NaN at its end is no sample
    with pytest.raises(ValueError, match="holds 2 records: 0, 1. Say which with `row`"):
        signals.read(path, rate=1)
    with pytest.raises(ValueError, match="Received: row=2"):
        signals.read(path, row=2, rate=1)
    path.write_text("1\t7\t8\n")
    assert signals.probe(path, row=0, rate=1).samples == 2  # and not what was remembered


def test_ts_of_unequal_lengths(tmp_path):
    path = tmp_path / "X_TRAIN.ts"
    path.write_bytes(
        b"# by S\xe9bastien\n@problemName X\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n"
        b"1,2,3:4,5,6:a\n7,?,9,10:1,1,2,2: b \n"
    )
    assert signals.read(path, row=0, rate=1)[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert signals.read(path, row=1, rate=1)[0].tolist() == [[7, 1], [8, 1], [9, 2], [10, 2]]
    assert signals.ts.cases(str(path)).labels == ("a", "b")
    path.write_text("@classLabel true müde wach\n@data\n1,2,3:müde\n3,2,1:wach\n", encoding="utf-8")
    assert signals.ts.cases(str(path)).labels == ("müde", "wach")
    path.write_text("@classLabel true müde wach\n@data\n1,2,3:müde\n3,2,1:wach\n", encoding="latin-1")
    with pytest.raises(ValueError, match="line 1 is not UTF-8.*Save it as UTF-8, or say its `encoding`"):
        signals.ts.cases(str(path))
    assert signals.ts.cases(str(path), "latin-1").labels == ("müde", "wach")
    for data, message in (
        ("1,2:a\n1,2:c\n", "line 4 has the class 'c', which `@classLabel` does not list: a, b"),
        ("1,2:a\n1,2:3,4:b\n", "line 4 has 2 dimensions, the lines before it have 1"),
        ("1,x:a\n", "line 3 is no case"),
        ("(0,1),(1,2):a\n", "line 3 is no case: it has times beside its values"),
        ("1_0,2:a\n", "line 3 is no case: it has an underscore"),
        ("1e39,2:a\n", "line 3 is no case: it has a number that is larger than float32 can hold"),
        ("@equalLength true\n@seriesLength 3\n@data\n1,2:a\n", "it has 2 samples, the header promises 3"),
        ("@dimensions 2\n@data\n1,2:a\n", "it has 1 dimensions, the header promises 2"),
    ):
        data = data if "@data" in data else f"@data\n{data}"
        path.write_text(f"@classLabel true a b\n{data}")
        with pytest.raises(ValueError, match=message):
            signals.ts.cases(str(path))
    path.write_text("@classLabel true a\n@data\n1,2,3:4,5:a\n")
    with pytest.raises(ValueError, match="line 3 is no case: its dimensions have different lengths"):
        signals.read(path, row=0, rate=1)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("r 1 -5 1000\nr.dat 16 200\n", "'-5' in line 1, where the sampling frequency should stand"),
        ("r 1 fast 1000\nr.dat 16 200\n", "'fast' in line 1"),
        ("r 1 100 all\nr.dat 16 200\n", "'all' in line 1, where the number of samples"),
        ("# a\n\nr 1 100 1000\nr.dat 16 nan 16 0 0 0 0 a\n", "'nan' in line 4, where the gain should stand"),
        ("r 1 100 1000\nr.dat 16 mV\n", "'mV' in line 2, where the gain"),
        ("r 1 100 1000\nr.dat 16 200 16 zero 0 0 0 a\n", "'zero' in line 2, where the zero level"),
    ],
)
def test_a_word_for_a_number_in_a_wfdb_header_is_no_default(tmp_path, header, said):
    (tmp_path / "r.dat").write_bytes(bytes(2000))
    (tmp_path / "r.hea").write_text(header)
    with pytest.raises(ValueError, match=rf"r\.hea: has {said}"):
        signals.read(tmp_path / "r.hea")


@pytest.mark.parametrize("gain", ["200", "-200(0)/mV", "1.5e3(-4)/uV", ".5/V", "0"])
def test_gains_of_wfdb_in_all_their_forms_are_read(tmp_path, gain):
    (tmp_path / "r.dat").write_bytes(np.arange(1000, dtype="<i2").tobytes())
    (tmp_path / "r.hea").write_text(
        f"r 1 100/50(3) 1000 12:00:00 01/02/2024\nr.dat 16x1:0+0 {gain} 16 0 0 -24788 0 a b\n"
    )
    assert signals.read(tmp_path / "r.hea")[0].shape == (1000, 1)


def test_an_archive_of_arrays_may_hold_other_files_and_bytes_for_names(tmp_path):
    np.savez(tmp_path / "a.npz", signal=np.ones((9, 2)), rate=[50.0, 50.0], channels=np.array([b"a", b"b"]))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("README.txt", "hello")
    info = signals.probe(tmp_path / "a.npz")
    assert info.channels == ("a", "b") and info.rate == 50
    scipy.io.savemat(tmp_path / "b.mat", {"x": np.ones((9, 2)), "fs": [50.0, 50.0], "channels": ["aa", "b "]})
    info = signals.probe(tmp_path / "b.mat")
    assert info.channels == ("aa", "b") and info.rate == 50


def test_npz(tmp_path, rng):
    signal = rng.standard_normal((200, 3)).astype(np.float32)
    signals.write(tmp_path / "a.npz", signal, 50.0, channels=["x", "y", "z"], units=["g"] * 3)
    back, rate = signals.read(tmp_path / "a.npz", channels=2)
    assert rate == 50
    np.testing.assert_array_equal(back, signal[:, :2])
    assert signals.probe(tmp_path / "a.npz", channels=["z"]).units == ("g",)
    with pytest.raises(FileExistsError, match="exists already"):
        signals.write(tmp_path / "a.npz", signal, 50.0)
    with pytest.raises(ValueError, match="3 names of channels and 1 units"):
        signals.write(tmp_path / "c.npz", signal, 50.0, channels=["x", "y", "z"], units=["g"])
    np.savez(tmp_path / "b.npz", one=signal.T, two=signal[:10], labels=np.zeros((4, 5)))
    np.testing.assert_array_equal(signals.read(tmp_path / "b.npz", row="one", rate=50)[0], signal)
    np.testing.assert_array_equal(signals.read(tmp_path / "b.npz", row=1, rate=50)[0], signal[:10])
    with pytest.raises(ValueError, match="holds 2 records"):
        signals.read(tmp_path / "b.npz", rate=50)


def test_audio_is_a_signal(tmp_path, rng):
    sound = rng.uniform(-0.5, 0.5, (1600, 2))
    audio.write(tmp_path / "a.wav", sound, 16000, subtype="FLOAT")
    signal, rate = signals.read(tmp_path / "a.wav", offset=0.01, channels=[1, 0])
    assert rate == 16000
    np.testing.assert_allclose(signal, sound[160:, ::-1], atol=1e-6)


def test_an_example_says_what_to_read(tmp_path, rng):
    signal = rng.standard_normal((200, 3)).astype(np.float32)
    np.savez(tmp_path / "a.npz", one=signal)
    example = Example(str(tmp_path / "a.npz"), 1.0, offset=0.5, extra={"row": "one", "rate": 100.0, "channels": [2, 0]})
    np.testing.assert_array_equal(read_example(example, channels=2)[0], signal[50:150, [2, 0]])
    with pytest.raises(ValueError, match=r"needs 3 channels. Received: \[2, 0\]"):
        read_example(example, channels=3)
    with pytest.raises(ValueError, match="needs 4 channels|has no channel 3"):
        read_example(Example(str(tmp_path / "a.npz"), 1.0, extra={"rate": 100.0}), channels=4)


@pytest.mark.parametrize(("rate", "wanted"), [(360.0, 180.0), (50.0, 125.0), (173.61, 100.0)])
def test_resampling_keeps_what_both_rates_hold_and_nothing_else(rate, wanted):
    def tones(at, *frequencies):
        time = np.arange(round(2000 * at / rate)) / at
        return sum(np.sin(2 * np.pi * frequency * time) for frequency in frequencies)[:, None]

    slow, fast = 0.03 * rate, 0.4 * rate
    resampled = signals.resample(tones(rate, slow, fast), rate, wanted)
    expected = tones(wanted, slow, fast) if fast < wanted / 2 else tones(wanted, slow)
    assert resampled.shape == expected.shape and resampled.dtype == np.float32
    np.testing.assert_allclose(resampled[200:-200], expected[200:-200], atol=2e-3)


def test_an_hourly_table_does_not_become_millions_of_samples(tmp_path):
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(f"2024-01-01 {hour:02}:00,{hour}\n" for hour in range(24)))
    with pytest.raises(
        ValueError, match="a.csv: has 0.000277778 samples per second, 50 are wanted: over 10,000 for ea"
    ):
        signals.read(tmp_path / "a.csv", sample_rate=50)
    assert len(signals.read(tmp_path / "a.csv", sample_rate=1 / 60)[0]) == 24 * 60


@pytest.mark.parametrize("gap", [False, True])
def test_a_long_channel_is_resampled_in_blocks_to_the_same_values(tmp_path, rng, monkeypatch, gap):
    values = rng.normal(size=(30_000, 2)).astype("float32").cumsum(0)
    if gap:
        values[20_000:20_010, 1] = np.nan
    np.savez(tmp_path / "a.npz", signal=values, rate=1000.0)
    whole, _ = signals.read(tmp_path / "a.npz", sample_rate=120)
    monkeypatch.setattr(reading, "_AT_ONCE", 4096)
    found, _ = signals.read(tmp_path / "a.npz", sample_rate=120)
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-4)
    straight = reading.resample(np.linspace(5, 9, 30_000)[:, None], 1000, 120)
    np.testing.assert_allclose(straight[:, 0], 5 + np.arange(len(straight)) / 120 * 4 / 29.999, atol=1e-4)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_stays_in_its_file_until_it_is_wanted(tmp_path, rng, monkeypatch, order):
    monkeypatch.setattr(arrays, "_LARGE", 1 << 12)
    values = rng.normal(size=(9000, 3)).astype("float32")
    np.savez(tmp_path / "a.npz", signal=np.asarray(values, order=order), rate=1000.0)
    stored = arrays._npzs(str(tmp_path / "a.npz"))["signal"]
    assert isinstance(stored.base, mmap.mmap)
    for start, stop in ((0, 9000), (100, 5200)):
        found, _ = signals.read(
            tmp_path / "a.npz", offset=start / 1000, duration=(stop - start) / 1000, channels=[2, 0]
        )
        np.testing.assert_array_equal(found, values[start:stop, [2, 0]])
    damaged = bytearray((tmp_path / "a.npz").read_bytes())
    damaged[50_000] ^= 1
    (tmp_path / "b.npz").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"b\.npz: is no NPZ that can be read"):
        signals.read(tmp_path / "b.npz", duration=0.1)


def test_resampling_leaves_an_offset_and_a_drift_alone():
    line = np.stack([np.full(500, 1024.0), np.linspace(-3, 7, 500)], axis=1).astype(np.float32)
    resampled = signals.resample(line, 100.0, 64.0)
    time = np.arange(len(resampled)) / 64
    np.testing.assert_allclose(resampled[:, 0], 1024, rtol=1e-6)
    np.testing.assert_allclose(resampled[:, 1], -3 + time * 100 * 10 / 499, atol=1e-4)


def test_gaps_are_filled_up_to_a_limit():
    signal = np.arange(100.0)[:, None].repeat(2, axis=1)
    holed = signal.copy()
    holed[10:20, 1] = np.nan
    holed[50, 0] = np.inf
    np.testing.assert_allclose(signals.fill_gaps(holed, 10.0), signal, rtol=1e-6)
    with pytest.raises(ValueError, match="ecg: channel 'V1' lacks 1.000 s from 1.000 s; at most 0.9 s are filled"):
        signals.fill_gaps(holed, 10.0, max_gap=0.9, where="ecg", channels=["MLII", "V1"])
    with pytest.raises(ValueError, match="channel '0' lacks"):
        signals.fill_gaps(holed[45:55], 10.0, max_gap=0)
    holed[:, 0] = np.nan
    with pytest.raises(ValueError, match="channel 'MLII' has no finite sample"):
        signals.fill_gaps(holed, 10.0, channels=["MLII", "V1"])
    edges = np.array([[np.nan], [2.0], [3.0], [np.nan]])
    assert signals.fill_gaps(edges, 1.0).ravel().tolist() == [2, 2, 3, 3]


def test_a_flat_line_is_said():
    signal = np.stack([np.arange(10.0), np.full(10, 3.0)], axis=1)
    assert list(signals.complaints(signal, ["a", "b"])) == [("a flat line", "channel 'b' is 3 in all 10 samples.")]


def without_header(folder, header):
    header.unlink()
    return folder / "100"


def without_signal(folder, header):
    header.with_suffix(".dat").unlink()
    return header


def cut_off(folder, header):
    whole = header.with_suffix(".dat").read_bytes()
    header.with_suffix(".dat").write_bytes(whole[: len(whole) // 2])
    return header


def no_header_at_all(folder, header):
    header.write_text("what is this\n")
    return header


def discontinuous(folder, header):
    return write_edf(folder / "d.edf", [np.arange(100)], [10], ["EEG"], kind="EDF+D")


def short_edf(folder, header):
    path = write_edf(folder / "s.edf", [np.arange(100)], [10], ["EEG"])
    path.write_bytes(path.read_bytes()[:-50])
    return path


def no_edf(folder, header):
    (folder / "n.edf").write_bytes(b"hello" * 200)
    return folder / "n.edf"


def no_npz(folder, header):
    (folder / "n.npz").write_bytes(b"PK\x03\x04 and so on")
    return folder / "n.npz"


def pickled(folder, header):
    np.savez(folder / "p.npz", signal=np.array([{"a": 1}], dtype=object))
    return folder / "p.npz"


def empty(folder, header):
    (folder / "e.csv").write_bytes(b"")
    return folder / "e.csv"


def words(folder, header):
    (folder / "w.csv").write_text("a,b\nx,y\nz,w\n")
    return folder / "w.csv"


def all_nan(folder, header):
    (folder / "x.csv").write_text("t,a,b\n0,1,\n0.1,2,\n0.2,3,\n")
    return folder / "x.csv"


def mistake(folder, header):
    (folder / "m.csv").write_text("1,2\n3,oops\n")
    return folder / "m.csv"


def of_another_kind(folder, header):
    (folder / "x.json").write_text("{}")
    return folder / "x.json"


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (without_header, "missing", "100.hea: there is no such header"),
        (without_signal, "missing", "its signal 100.dat is missing"),
        (cut_off, "truncated", "damaged or cut off"),
        (no_header_at_all, "undecodable", "is no WFDB header"),
        (discontinuous, "discontinuous", "is EDF.D without a channel `EDF Annotations` that says when"),
        (short_edf, "truncated", "should have 712 bytes, has 662"),
        (no_edf, "undecodable", "is no EDF or BDF"),
        (no_npz, "undecodable", "is no NPZ"),
        (pickled, "undecodable", "is no NPZ"),
        (empty, "empty", "is empty"),
        (words, "without values", "has no column of numbers"),
        (all_nan, "without values", "channel 'b' has no finite sample"),
        (mistake, "undecodable", "channel .1. holds .oops. in line 2, which is no number"),
        (of_another_kind, "invalid", "the ending must be one of"),
    ],
)
def test_bad_files_are_explained_and_nothing_is_printed(tmp_path, adc, capfd, spoil, kind, message):
    path = spoil(tmp_path, write_wfdb(tmp_path / "100", adc))
    with pytest.raises((ValueError, OSError), match=message) as caught:
        signals.read(path)
    assert kind_of(caught.value) == kind
    assert str(caught.value).startswith(str(path.parent))
    assert capfd.readouterr().out == ""


def test_bad_arguments(tmp_path, adc):
    header = write_wfdb(tmp_path / "100", adc)
    for options, message in [
        ({"channels": ["MLI"]}, "has no channel 'MLI'. Did you mean `MLII`. Channels: MLII, V1"),
        ({"channels": [2]}, "has no channel 2"),
        ({"channels": []}, "must choose at least one"),
        ({"channels": 3}, "has no channel 2"),
        ({"offset": 3.0}, "lasts 2.781 s. Received a segment from 3.000 s"),
        ({"offset": 1.0, "duration": 2.0}, "Received a segment from 1.000 s to 3.000 s"),
        ({"offset": -1.0}, "`offset` must be zero or more"),
        ({"duration": 0.0}, "`duration` must be positive"),
        ({"sample_rate": 0}, "`sample_rate` must be positive"),
        ({"sample_rate": 1e300}, r"`sample_rate` must be positive \(1e-09 to 1e\+09\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            signals.read(header, **options)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        signals.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        signals.read(tmp_path / "no.csv")


def test_real_records_are_what_wfdb_gives(data_dir, tmp_path):
    wfdb = pytest.importorskip("wfdb")
    folder = data_dir / "signals" / "mitdb"
    if not folder.is_dir():
        pytest.skip(f"no records in {folder}")
    for name in ("101.hea", "101.dat"):
        shutil.copy(folder / name, tmp_path)
    expected = wfdb.rdrecord(str(folder / "101"), sampfrom=3600, sampto=7200).p_signal
    signal, _ = signals.read(tmp_path / "101.hea", offset=10, duration=10)
    np.testing.assert_array_equal(signal, expected.astype(np.float32))


def test_a_gap_is_named_where_it_is_in_the_record(tmp_path):
    values = np.zeros((1000, 1))
    values[700:900] = np.nan
    np.savez(tmp_path / "a.npz", signal=values, rate=10.0)
    with pytest.raises(ValueError, match=r"lacks 20\.000 s from 70\.000 s"):
        signals.read(tmp_path / "a.npz", offset=60.0)


def test_channels_of_one_name_are_told_apart(tmp_path):
    rise = np.arange(50)
    path = write_edf(tmp_path / "a.edf", [rise, -rise], [10, 10], ["ECG", "ECG"])
    assert signals.probe(path).channels == ("ECG", "ECG.1")
    first, second = (signals.read(path, channels=[name])[0][:, 0] for name in ("ECG", "ecg.1"))
    np.testing.assert_allclose(first, -second, atol=1e-6)
    path = write_edf(tmp_path / "b.edf", [rise, -rise], [10, 10], ["EcG", "eCG"])
    with pytest.raises(ValueError, match="has several channels 'ecg': EcG, eCG. Name one of them"):
        signals.read(path, channels=["ecg"])
    path = write_edf(tmp_path / "c.edf", [rise, 2 * rise, 3 * rise], [10, 10, 10], ["ECG", "ECG", "ECG.1"])
    assert signals.probe(path).channels == ("ECG", "ECG.2", "ECG.1")  # a name that the file has is not given away
