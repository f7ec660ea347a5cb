"""Work divided into shards: the parts joined are what one machine had made, byte for byte."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import Leveller
from test_classification import save

from speechrnn import cli
from speechrnn.cli import terminal
from speechrnn.data import manifest, shards
from speechrnn.data.manifest import Example
from speechrnn.data.shards import Shard
from speechrnn.models import loading

WORDS = ("yes", "no", "enter", "help", "stop")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Seven recordings of different lengths, one of them no audio, and a manifest that has a line without a text."""
    folder, rng = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    paths, examples = [], []
    for number in range(7):
        path = folder / f"r{number}.wav"
        seconds = 0.4 + 0.3 * ((3 * number) % 5)
        t = np.arange(round(16000 * seconds)) / 16000
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * (200 + 90 * number) * t) * rng.random(len(t)), 16000)
        text = None if number == 2 else WORDS[number % len(WORDS)]
        examples.append(Example(path, seconds, text=text, subject=f"s{number % 3}"))
        paths.append(str(path))
    Path(paths[4]).write_bytes(b"no audio at all")
    manifest.write(folder / "all.jsonl", examples)
    with open(folder / "all.jsonl", "a") as file:
        file.write('{"path": "x.wav"}\n')  # without a duration
    return folder, paths


def run(capsys, *words):
    code = cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def in_shards(capsys, out, words, count=3):
    """What the last of the shards, made in any order, and their merge gave."""
    for index in (2, *(i for i in range(1, count + 1) if i != 2)):
        code, _, err = run(capsys, *words, "--out", out, "--shard", f"{index}/{count}")
        assert code in (0, 1), err
    return run(capsys, "merge", out)


def named(err):
    return sorted(line for line in err.splitlines() if "is done:" not in line and "compiling the" not in line)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_shards_take_every_input_once_in_order(count):
    plain = list("abcdefghijk")
    timed = [Example(f"{i}.wav", 1 + (7 * i) % 10) for i in range(50)]
    for inputs in (plain, timed, plain[:1], []):
        taken = [inputs[Shard(i, count).of_inputs(inputs)] for i in range(1, count + 1)]
        assert [one for part in taken for one in part] == inputs
    seconds = [sum(e.duration for e in timed[Shard(i, count).of_inputs(timed)]) for i in range(1, count + 1)]
    assert max(seconds) - min(seconds) <= 2 * max(e.duration for e in timed)


@pytest.mark.parametrize("words", [["--json"], ["--format", "ctm", "--model", "english_letters_numbers"], []])
def test_merged_transcripts_are_those_of_one_machine(recordings, tmp_path, capsys, words):
    _, paths = recordings
    whole = run(capsys, "transcribe", *paths, *words, "--out", tmp_path / "whole")
    merged = in_shards(capsys, tmp_path / "parts", ["transcribe", *paths, *words])
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes() != b""
    assert merged[0] == whole[0] == 1
    assert named(merged[2]) == named(whole[2])


def test_a_manifest_is_transcribed_and_files_are_named_by_ids(recordings, tmp_path, capsys):
    folder, paths = recordings
    lines = (folder / "all.jsonl").read_text().splitlines()[:-1]
    (folder / "sound.jsonl").write_text("\n".join(lines) + "\n")
    run(capsys, "transcribe", folder / "sound.jsonl", "--json", "--out", tmp_path / "a.jsonl")
    run(capsys, "transcribe", *paths, "--json", "--out", tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert in_shards(capsys, tmp_path / "c.jsonl", ["transcribe", folder / "sound.jsonl", "--json"])[0] == 1
    assert (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    words = ["transcribe", folder / "sound.jsonl", "--format", "srt", "--out-dir", tmp_path / "srt"]
    for index in (1, 2):
        run(capsys, *words, "--shard", f"{index}/2")
    assert sorted(path.name for path in (tmp_path / "srt").iterdir()) == [f"r{i}.srt" for i in (0, 1, 2, 3, 5, 6)]
    assert run(capsys, "merge", tmp_path / "srt")[0] == 1  # that which is no audio


def without_speed(path):
    return re.sub(r'"real_time_factor": [0-9.e-]+|[0-9,]+ times real time', "", path.read_text())


@pytest.mark.parametrize("words", [["--json", "--details"], ["--per-subject"]])
def test_merged_errors_are_those_of_one_machine(recordings, tmp_path, capsys, words):
    folder, _ = recordings
    words = ["evaluate", folder / "all.jsonl", *words]
    whole = run(capsys, *words, "--out", tmp_path / "whole")
    merged = in_shards(capsys, tmp_path / "parts", words)
    assert without_speed(tmp_path / "parts") == without_speed(tmp_path / "whole")
    assert "speaker" in without_speed(tmp_path / "whole").lower()
    assert merged[0] == whole[0] == 1
    assert named(merged[2]) == named(whole[2])
    assert "3 of 8 examples failed" in merged[2]


def test_merged_classes_and_their_errors_are_those_of_one_machine(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "load_any", lambda path, kind=None: Leveller())
    (tmp_path / "any.onnx").write_bytes(b"any")
    paths = [save(tmp_path / f"{i}.npz", [i % 3]) for i in range(5)]
    examples = [Example(p, 0.5, label="abc"[i % 2], subject=f"s{i % 2}") for i, p in enumerate(paths)]
    manifest.write(tmp_path / "all.jsonl", examples)
    for verb, inputs, more in (("classify", paths, []), ("evaluate", [tmp_path / "all.jsonl"], ["--task", "classify"])):
        words = [verb, *inputs, *more, "--model", tmp_path / "any.onnx", "--json"]
        whole = run(capsys, *words, "--out", tmp_path / f"{verb}1")
        assert whole[0] == 0, whole
        assert in_shards(capsys, tmp_path / f"{verb}2", words)[0] == 0
        assert (tmp_path / f"{verb}2").read_bytes() == (tmp_path / f"{verb}1").read_bytes() != b""


def test_merged_manifests_are_those_of_one_machine(recordings, tmp_path, capsys):
    _, paths = recordings
    table = tmp_path / "train.csv"
    rows = [f"{path},{WORDS[i % 5]},s{i % 3}" for i, path in enumerate([*paths, "gone.wav", paths[0]])]
    table.write_text("path,text,subject\n" + "\n".join(rows) + "\n")
    words = ["prepare", "table", table, "--subject-column", "subject", "--valid-fraction", "0.3"]
    whole = run(capsys, *words, "--out", tmp_path / "whole")
    merged = in_shards(capsys, tmp_path / "parts", words)
    assert merged[0] == whole[0] == 1
    assert named(merged[2]) == named(whole[2])
    for name in os.listdir(tmp_path / "whole"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(os.listdir(tmp_path / "whole")) == 2


@pytest.fixture
def made(recordings, tmp_path, capsys):
    """The words of a verb of which three shards of four are done, and where."""
    words = ["transcribe", *recordings[1][:4], "--out", tmp_path / "all.txt"]
    for index in (1, 2, 4):
        run(capsys, *words, "--shard", f"{index}/4")
    return words, tmp_path / "all.txt"


def test_a_merge_names_what_is_missing_damaged_or_of_other_work(made, recordings, capsys):
    words, out = made
    folder = shards.folder_of(out)
    assert (run(capsys, "merge", out)[0], not out.exists()) == (2, True)
    (folder / "2-of-4.part").write_bytes(b"cut of")
    assert "shard 2/4 is damaged; shard 3/4 is missing" in run(capsys, "merge", out)[2]
    assert run(capsys, *words[:-2], "--piece-seconds", "20", "--out", out, "--shard", "3/4")[0] == 0
    told = run(capsys, "merge", out)[2]
    assert "shard 3/4 was made with another --piece-seconds (20.0 and not given) than shard 1/4" in told
    assert run(capsys, *words, "--shard", "3/4")[0] == 2  # it is there, of other work
    assert run(capsys, *words, "--shard", "3/4", "--overwrite")[0] == 0
    other = ["transcribe", *recordings[1][:3], "--out", out, "--overwrite", "--shard", "2/4"]
    assert run(capsys, *other)[0] == 0
    assert "another list of inputs" in run(capsys, "merge", out)[2]
    assert run(capsys, *words, "--shard", "1/2")[0] == 0
    assert "shards of different divisions are there (of 2: 1; of 4: 1, 2, 3, 4)" in run(capsys, "merge", out)[2]
    assert not out.exists()


def test_a_shard_that_is_done_is_not_done_again(made, capsys, monkeypatch):
    words, _ = made
    monkeypatch.setattr(terminal, "load_any", lambda *_: pytest.fail("it began"))
    code, _, err = run(capsys, *words, "--shard", "2/4")
    assert (code, "shard 2/4 of" in err, "is done: 1 files, 0 failed" in err) == (0, True, True)


def test_the_second_worker_on_a_shard_is_told(made, capsys, monkeypatch):
    words, out = made
    claim = shards.folder_of(out) / "3-of-4.claim"
    loaded, load, told = [], terminal.load_any, []

    def second_worker(*given):
        loaded.append(given)
        told.append(run(capsys, *words, "--shard", "3/4") if len(loaded) == 1 else None)
        told.append(run(capsys, "merge", out))
        return load(*given)

    monkeypatch.setattr(terminal, "load_any", second_worker)
    assert run(capsys, *words, "--shard", "3/4")[0] == 0
    assert (told[0][0], told[1][0]) == (2, 2)
    assert f"shard 3/4 is in the hands of process {os.getpid()}" in told[0][2]
    assert "shard 3/4 is still in the hands of process" in told[1][2]
    assert len(loaded) == 1
    assert not claim.exists()
    assert run(capsys, "merge", out)[0] == 0


@pytest.mark.parametrize("left", ["process", "silence"])
def test_a_killed_worker_does_not_block_its_shard(made, capsys, left):
    words, out = made
    claim = shards.folder_of(out) / "3-of-4.claim"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    held = {"host": shards.socket.gethostname(), "process": gone.pid, "begun": "earlier", "token": "t"}
    if left == "silence":
        held["host"] = "elsewhere"
    claim.write_text(json.dumps(held))
    if left == "silence":
        assert "in the hands of process" in run(capsys, *words, "--shard", "3/4")[2]
        os.utime(claim, (0, 0))
    assert run(capsys, *words, "--shard", "3/4")[0] == 0
    assert run(capsys, "merge", out)[0] == 0


def test_a_worker_whose_claim_was_taken_publishes_nothing(tmp_path):
    with (
        pytest.raises(ValueError, match="was taken over by another worker"),
        shards.claimed(tmp_path / "o", Shard(1, 2), {}) as (_, file),
    ):
        file.write(b"mine")
        (tmp_path / "o.shards" / "1-of-2.claim").write_text('{"token": "another"}')
    assert [path.name for path in (tmp_path / "o.shards").iterdir()] == ["1-of-2.claim"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["transcribe", "a.wav", "--shard", "1/2"], "--shard needs --out"),
        (["transcribe", "a.wav", "--out", "o", "--shard", "0/2"], "from 1 to N, such as 2/8. Received: '0/2'."),
        (["transcribe", "a.wav", "--out", "o", "--shard", "3/2"], "Received: '3/2'"),
        (["transcribe", "-", "--out", "o", "--shard", "1/2"], "`-` cannot be divided"),
        (["merge", "nothing"], "no shard of nothing is done"),
    ],
)
def test_wrong_usage_is_refused(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *words)
    assert (code, told in err) == (2, True), err


def test_the_shell_loop_of_the_docs_runs(recordings, tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "many_machines.md").read_text(encoding="utf-8")
    loop = re.search(r"```bash\n(# a shell loop.*?)```", text, re.S)
    (tmp_path / "recordings").mkdir()
    for path in recordings[1][:3]:
        shutil.copy(path, tmp_path / "recordings")
    program = tmp_path / "speechrnn"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m speechrnn "$@"\n')
    program.chmod(0o755)
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": root}
    subprocess.run(["bash", "-ec", textwrap.dedent(loop[1])], cwd=tmp_path, env=environment, check=True)
    found = [json.loads(line)["path"] for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert found == [f"recordings/r{i}.wav" for i in range(3)]


def test_the_shipped_model_is_what_the_shards_name(recordings, tmp_path, capsys):
    run(capsys, "transcribe", recordings[1][0], "--out", tmp_path / "o", "--shard", "1/1")
    marker = json.loads((tmp_path / "o.shards" / "1-of-1.done").read_text())
    assert marker["about"]["model"] == shards.hashlib.sha256(loading.shipped().read_bytes()).hexdigest()
    assert marker["count"] == 1
