"""Two processes that train together make the weights that one makes of the whole batch, also after one was killed."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechrnn import cli
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.models.loading import load_bundle

ROOT = Path(__file__).parents[1]
EPOCHS = 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Five recordings: with a batch of four, the last batch has one row and the second process none of it."""
    folder, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    examples = []
    for number, text in enumerate(["ab", "ba", "abba", "b", "aab"]):
        path = folder / f"{number}.wav"
        seconds = 0.5 + 0.1 * number
        soundfile.write(path, 0.1 * rng.standard_normal(round(8000 * seconds)), 8000)
        examples.append(Example(path, seconds, text=text))
    manifest.write(folder / "train.jsonl", examples)
    return folder


def words_of(corpus, out, *more):
    return [
        *("train", corpus / "train.jsonl", "--valid", corpus / "train.jsonl", "--out", out, "--epochs", EPOCHS),
        *(
            "--batch-size",
            4,
            "--units",
            8,
            "--layers",
            1,
            "--no-bidirectional",
            "--sample-rate",
            8000,
            "--learning-rate",
            0.02,
        ),
        *("--clip-norm", 0.5, "--average", 0.5, *more),
    ]


def started(words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1"}
    program = [sys.executable, "-m", "speechrnn", *map(str, words)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return found


def both(words, addresses):
    return [started([*words, "--rank", index, "--hosts", *addresses]) for index in (0, 1)]


def weights(path):
    return load_bundle(path).get_weights()  # without the states of random generators


@pytest.mark.timeout(2400)
def test_two_processes_are_as_one_and_a_killed_one_resumes(corpus, tmp_path):
    assert cli.main([str(word) for word in words_of(corpus, tmp_path / "alone.keras")]) == 0
    pair = both(words_of(corpus, tmp_path / "pair.keras"), ports(2))
    state, deadline = tmp_path / "pair.training" / "state.json", time.monotonic() + 700
    while not state.exists() and pair[0].poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    pair[1].kill()
    told = [process.communicate(timeout=300) for process in pair]
    assert pair[0].returncode not in (0, None), told  # it does not go on alone
    assert state.exists(), told
    reached = json.loads(state.read_text())["epoch"]
    assert 1 <= reached < EPOCHS
    run = started(words_of(corpus, tmp_path / "pair.keras", "--resume", "--devices", 2))  # which starts the two
    out, err = run.communicate(timeout=900)
    assert run.returncode == 0, err
    assert f"resuming after epoch {reached}" in err
    assert out.count("pair.keras: epoch") == 1  # one of them tells
    for name in ("{}.keras", "{}.training/last.keras"):
        one, two = (weights(tmp_path / name.format(run)) for run in ("alone", "pair"))
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4)
    histories = [json.loads((tmp_path / f"{run}.training" / "state.json").read_text()) for run in ("alone", "pair")]
    for name in ("loss", "gradient_norm", "val_loss"):
        a, b = ([row[name] for row in history["history"]] for history in histories)
        np.testing.assert_allclose(b, a, rtol=1e-3)
    assert histories[0]["best_epoch"] == histories[1]["best_epoch"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--hosts", "127.0.0.1:1", "127.0.0.1:2"], "needs --rank I"),
        (["--hosts", "127.0.0.1:1", "127.0.0.1:2", "--rank", "2"], "Received: index=2"),
        (["--hosts", "nowhere", "elsewhere", "--rank", "0"], "must be HOST:PORT. Received: 'nowhere'"),
        (["--hosts", "a:1", "--devices", "2"], "Leave --devices out"),
        (["--devices", "0"], "--devices must be at least 1. Received: 0."),
    ],
)
def test_wrong_hosts_are_refused(corpus, tmp_path, capsys, monkeypatch, more, told):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    words = [str(word) for word in words_of(corpus, tmp_path / "a.keras", *more)]
    assert cli.main(words) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("codes", "told"), [([0, 0], 0), ([0, -9], 2), ([-15, 1], 1)])
def test_a_process_of_a_device_that_was_killed_is_no_success(corpus, tmp_path, monkeypatch, codes, told):
    class Ended:
        def __init__(self, code):
            self.returncode = code

        def poll(self):
            return self.returncode

        wait = poll

    left, begun = list(codes), []
    monkeypatch.setattr(subprocess, "Popen", lambda words, **how: begun.append(words) or Ended(left.pop(0)))
    given = [str(word) for word in words_of(corpus, tmp_path / "a.keras")]
    assert cli.main([*given, *(["--devices=2"] if codes[0] else ["--devices", "2"])]) == told
    for rank, words in enumerate(begun):
        assert words[3:-3] == [*given, "--rank", str(rank)]
