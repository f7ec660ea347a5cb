"""Bad input through the command line: what is said, the exit code, and that the rest is done."""

import errno
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import HOP, RATE, Speller, record, spoken, stand_in

from speechrnn import audio, cli, files
from speechrnn.cli import terminal

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    stand_in(monkeypatch, Speller())


@pytest.fixture
def good(tmp_path):
    return [record(tmp_path / "first.wav", "bad"), record(tmp_path / "last.wav", "cab")]


# Audio that cannot be transcribed


def missing(path):
    pass


def folder(path):
    path.mkdir()


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("These are words and not waves.\n" * 40)


def cut_off(path):
    whole = path.with_name("whole" + path.suffix)
    signal = np.random.default_rng(0).normal(scale=0.1, size=2 * RATE)
    soundfile.write(whole, signal, RATE)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])


def no_samples(path):
    soundfile.write(path, np.zeros(0), RATE)


def one_sample(path):
    soundfile.write(path, np.zeros(1), RATE)


def not_numbers(path):
    soundfile.write(path, np.where(np.arange(RATE) == 700, np.nan, 0.1), RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (missing, "bad.wav", "no such file"),
        (folder, "bad", "*.wav"),
        (empty, "bad.wav", "empty (0 bytes)"),
        (text, "bad.wav", "cannot be decoded as audio"),
        (text, "bad.mp3", "cannot be decoded as audio"),
        (cut_off, "bad.wav", "Copy or download it again"),
        (cut_off, "bad.flac", "Copy or download it again"),
        (no_samples, "bad.wav", "no samples"),
        (one_sample, "bad.wav", "1 sample "),
        (not_numbers, "bad.wav", "NaN"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_bad_file_is_named_and_the_others_are_transcribed(make, name, said, form, tmp_path, good, capsys):
    bad = tmp_path / name
    make(bad)
    assert cli.main(["transcribe", good[0], str(bad), good[1], *form]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    found = [json.loads(line)["text"] for line in lines] if form else [line.split("\t")[1] for line in lines]
    assert found == ["bad", "cab"]
    first, last = err.splitlines()
    assert first.startswith(f"speechrnn: {bad}: ")
    assert said in first
    assert last.startswith("speechrnn: 1 of 3 files failed: 1 ")


def test_one_bad_file_alone_is_1_and_says_nothing_on_stdout(capsys):
    assert cli.main(["transcribe", "gone.wav"]) == 1
    assert capsys.readouterr().out == ""


# Audio that is unusual, and fine


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(RATE, 1, "PCM_U8"), (RATE, 1, "PCM_24"), (RATE, 1, "DOUBLE"), (44100, 2, "PCM_16"), (RATE, 6, "PCM_16")],
    ids=["8-bit", "24-bit", "float64", "44.1 kHz stereo", "6 channels"],
)
def test_unusual_audio_is_transcribed(rate, channels, subtype, tmp_path, good, capsys):
    signal = audio.resample(spoken("bad cab", symbol=0.1), RATE, rate)
    soundfile.write(tmp_path / "unusual.wav", np.stack([signal] * channels, axis=1), rate, subtype=subtype)
    assert cli.main(["transcribe", good[0], str(tmp_path / "unusual.wav")]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split("\t")[1] == "bad cab"
    assert err.count("44100 Hz") == (rate == 44100)


def test_digital_silence_has_an_empty_text(tmp_path, capsys):
    soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
    assert cli.main(["transcribe", str(tmp_path / "silence.wav"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["text"], found["words"], found["duration"]) == ("", [], 3.0)


def test_two_hours_take_little_memory(tmp_path, capsys, monkeypatch):
    class Quick(Speller):
        """Reads a letter a piece, so that the time goes into the reading."""

        def logits(self, signals):
            found = [np.zeros((1 + (len(signal) - 400) // HOP, len(self.vocabulary)), np.float32) for signal in signals]
            for logits in found:
                logits[5, 2] = 9.0
            return found

    monkeypatch.setattr(terminal, "load_any", lambda path, kind=None: Quick())
    with soundfile.SoundFile(tmp_path / "long.flac", "w", RATE, 1, "PCM_16") as file:
        for _ in range(120):
            file.write(np.zeros(60 * RATE, np.int16))
    tracemalloc.start()
    try:
        assert cli.main(["transcribe", str(tmp_path / "long.flac")]) == 0
        assert tracemalloc.get_traced_memory()[1] < 120e6  # the samples alone would take 461 MB
    finally:
        tracemalloc.stop()
    letters = capsys.readouterr().out.split()
    assert set(letters) == {"a"}
    assert 240 <= len(letters) <= 480  # pieces of 15 to 30 s


# Manifests


def line(path, said="bad", **more):
    return json.dumps({"path": str(path), "duration": 0.4, "text": said} | more)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ('{"path": "first.wav", "duration": 0.4', "is not JSON"),
        (line("first.wav", id="x", durtion=3), "Did you mean `duration`?"),
        (line("first.wav", id="x") + "x", "is not JSON"),
        (line("first.wav", id="x").replace("0.4", "-0.4"), "must be positive"),
        (line("../first.wav", id="x"), "manifest's folder"),
        (line("first.wav", id="last"), "is that of line"),
        (line("gone.wav"), "no such file"),
        (json.dumps({"path": "first.wav", "duration": 0.4, "id": "x"}), "no `text`"),
    ],
    ids=["broken", "unknown key", "garbage", "negative", "outside", "duplicate", "missing", "without text"],
)
def test_a_bad_line_is_named_and_the_others_are_evaluated(broken, said, tmp_path, good, capsys):
    lines = [line("last.wav", "cab", duration=0.42), broken, line("first.wav", "bad", duration=0.42)]
    lines = [entry.replace('"duration": 0.42', f'"duration": {_seconds(good[0])}') for entry in lines]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    assert cli.main(["evaluate", "--model", "any.keras", str(tmp_path / "m.jsonl"), "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["utterances"], found["failed"], found["wer"]) == (2, 1, 0.0)
    assert said in err
    assert "1 of 3 examples failed" in err
    assert said in found["faults"][0]["message"]


def test_check_manifest_lists_all_that_is_wrong(tmp_path, good, capsys):
    empty(tmp_path / "empty.wav")
    text(tmp_path / "text.wav")
    cut_off(tmp_path / "cut.flac")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    seconds = _seconds(good[0])
    lines = [
        line("first.wav", "bad", duration=seconds),
        line("last.wav", "c?b", duration=seconds),
        line("first.wav", "bad" * 40, duration=seconds, id="long"),
        line("gone.wav"),
        line("empty.wav"),
        line("text.wav"),
        line("cut.flac", duration=2.0),
        line("silent.wav", duration=1.0),
        line("first.wav", id="negative", duration=-1.0),
        line("first.wav", id="unknown", durtion=1.0),
        line("../first.wav", id="outside"),
        line("first.wav", duration=seconds),
        "{",
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "train.jsonl").write_text(line("first.wav", "bad cab") + "\n")
    words = ["check-manifest", str(tmp_path / "m.jsonl"), "--against", str(tmp_path / "train.jsonl")]
    assert cli.main([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["examples"], found["usable"], len(found["faults"])) == (13, 1, 12)
    assert found["usable_hours"] == pytest.approx(seconds / 3600)
    kinds = {fault["where"].rpartition("/")[2]: fault["kind"] for fault in found["faults"]}
    assert kinds == {
        "last": "outside the vocabulary",
        "long": "too short for their text",
        "gone": "missing",
        "empty": "empty",
        "text": "undecodable",
        "cut": kinds["cut"],  # truncated or undecodable, as the cut falls
        "silent": "silent",
        "m.jsonl:9": "bad lines",
        "m.jsonl:10": "bad lines",
        "m.jsonl:11": kinds["m.jsonl:11"],
        "m.jsonl:12": "duplicate",
        "m.jsonl:13": "bad lines",
    }
    assert [fault["message"] for fault in found["faults"] if "may not lead out" in fault["message"]]
    assert cli.main(words) == 1
    out = capsys.readouterr().out
    assert out.startswith("13 examples, ")
    assert all(fault["message"] in out for fault in found["faults"])


def test_check_manifest_is_0_where_nothing_is_wrong(tmp_path, good, capsys):
    (tmp_path / "m.jsonl").write_text(line("first.wav", "bad", duration=_seconds(good[0])) + "\n")
    assert cli.main(["check-manifest", str(tmp_path / "m.jsonl")]) == 0
    assert "1 usable" in capsys.readouterr().out


def test_characters_the_model_cannot_write_are_said(tmp_path, good, capsys):
    (tmp_path / "m.jsonl").write_text(line("first.wav", "bäd").replace("0.4", str(_seconds(good[0]))) + "\n")
    assert cli.main(["evaluate", "--model", "any.keras", str(tmp_path / "m.jsonl"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["wer"] == 1.0
    assert "1 of 1 texts have characters that the model cannot write ('ä')" in err


def test_an_empty_manifest_scores_nothing(tmp_path, capsys):
    (tmp_path / "m.jsonl").write_text("")
    assert cli.main(["evaluate", "--model", "any.keras", str(tmp_path / "m.jsonl")]) == 1
    out, err = capsys.readouterr()
    assert out == "No utterance was scored; 1 failed.\n"
    assert "has no examples" in err


def test_a_broken_manifest_is_not_trained_on(tmp_path, good, capsys):
    (tmp_path / "m.jsonl").write_text(line("first.wav") + "\n{\n[]\n")
    assert cli.main(["train", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "m.keras")]) == 2
    err = capsys.readouterr().err
    assert f"{tmp_path / 'm.jsonl'}:2: " in err
    assert "1 more" in err
    assert not (tmp_path / "m.keras").exists()


@pytest.mark.parametrize(
    "words", [["evaluate", "--model", "m.keras", "none.jsonl"], ["train", "none.jsonl", "--out", "x.keras"]]
)
def test_a_missing_manifest_is_2(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    assert capsys.readouterr().err == (
        "speechrnn: error: none.jsonl: there is no such manifest. Make it with `speechrnn prepare`.\n"
    )


# Outputs


def test_an_unwritable_output_is_said_before_the_work(tmp_path, good, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "load_any", lambda *given: pytest.fail("the work began"))
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file" / "out.txt", tmp_path, Path("/proc/none/out.txt")):
        assert cli.main(["transcribe", *good, "--out", str(out)]) == 2
        assert f"error: {out}: " in capsys.readouterr().err


def test_an_existing_output_is_kept_without_overwrite(tmp_path, good, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "load_any", lambda *given: pytest.fail("the work began"))
    (tmp_path / "out.json").write_text("old")
    assert cli.main(["transcribe", *good, "--json", "--out", str(tmp_path / "out.json")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out.json").read_text() == "old"


def test_a_full_disk_leaves_what_was_there(tmp_path, good, capsys, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    (tmp_path / "out.txt").write_text("old")
    assert cli.main(["transcribe", *good, "--out", str(tmp_path / "out.txt"), "--overwrite"]) == 2
    assert "out.txt: cannot be written (No space left on device)" in capsys.readouterr().err
    assert (tmp_path / "out.txt").read_text() == "old"
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device_is_said_and_stays_a_device(good, capsys):
    assert cli.main(["transcribe", *good, "--out", "/dev/full"]) == 2
    assert "/dev/full: cannot be written (No space left on device)" in capsys.readouterr().err
    assert not os.path.isfile("/dev/full")


def test_a_broken_pipe_ends_quietly_as_a_process():
    done = subprocess.run(
        f"{sys.executable} -m speechrnn train --help | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stderr == ""
    assert int(done.stdout) in (0, cli.BROKEN_PIPE)


def _seconds(path):
    return audio.probe(path).duration
