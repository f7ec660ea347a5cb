"""The Ray engine on a cluster of two workers on the loopback address, one of which is killed in the middle."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechrnn import cli

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'speechrnn[ray]')")
ROOT = Path(__file__).parents[1]
# Ray asks for a token where an earlier cluster has left one in the user's folder.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address and the process of a cluster of one node with two processors."""
    log = tmp_path_factory.mktemp("ray") / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2"]
    words += ["--object-store-memory=80000000", "--include-dashboard=false", "--disable-usage-stats"]
    environment = ENVIRONMENT
    program = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *words]
    with open(log, "w") as file:
        process = subprocess.Popen(program, stdout=file, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no cluster came up: {log.read_text()}")
            time.sleep(0.5)
        yield f"127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def descendants(process):
    """Process numbers below a process."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, fresh = set(), {process}
    while fresh:
        found |= fresh
        fresh = {child for child, parent in parents.items() if parent in found} - found
    return found - {process}


def workers(process):
    """The processes of our actors below the cluster's."""
    found = []
    for number in descendants(process):
        try:
            command = Path(f"/proc/{number}/cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith(b"ray::_Worker"):
            found.append(number)
    return found


def test_a_killed_worker_loses_nothing_and_doubles_nothing(cluster, tmp_path, capsys):
    address, process = cluster
    rng, paths = np.random.default_rng(0), []
    for number in range(24):
        path = tmp_path / f"r{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(16000 * (10 if number < 23 else 1)), 16000)
        paths.append(str(path))
    Path(paths[5]).write_bytes(b"no audio at all")
    alone = cli.main(["transcribe", *paths, "--json", "--out", str(tmp_path / "alone.jsonl")])
    faults = [line for line in capsys.readouterr().err.splitlines() if "r5.wav" in line]
    words = [sys.executable, "-m", "speechrnn", "transcribe", *paths, "--json", "--out", str(tmp_path / "ray.jsonl")]
    words += ["--engine", "ray", "--address", address]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    killed, seen, deadline = None, set(), time.monotonic() + 240
    while killed is None and run.poll() is None and time.monotonic() < deadline:
        seen |= set(workers(process.pid))
        partial = list(tmp_path.glob(".ray.jsonl*"))
        if partial and partial[0].stat().st_size and len(seen) == 2:  # the first outcomes are there
            killed = max(seen)
            os.kill(killed, signal.SIGKILL)
        time.sleep(0.02)
    out, err = run.communicate(timeout=300)
    assert killed is not None, err
    assert run.returncode == alone == 1, err
    assert out == ""  # what Ray tells of the killed worker is among the messages
    assert (tmp_path / "ray.jsonl").read_text() == (tmp_path / "alone.jsonl").read_text()
    assert len((tmp_path / "ray.jsonl").read_text().splitlines()) == 23
    assert faults == [line for line in err.splitlines() if "r5.wav" in line]
    assert [json.loads(line)["path"] for line in (tmp_path / "ray.jsonl").read_text().splitlines()] == paths[
        :5
    ] + paths[6:]


def test_without_an_address_a_cluster_is_started_and_ends_with_the_work(tmp_path):
    rng, paths = np.random.default_rng(1), [str(tmp_path / f"r{number}.wav") for number in range(3)]
    for path in paths:
        soundfile.write(path, 0.1 * rng.standard_normal(16000), 16000)
    model = ["--model", str(ROOT / "tests" / "first_edition" / "recognizer.onnx"), "--json", "--out"]
    assert cli.main(["transcribe", *paths, *model, str(tmp_path / "alone.jsonl")]) == 0
    words = [sys.executable, "-m", "speechrnn", "transcribe", *paths, *model, str(tmp_path / "ray.jsonl")]
    run = subprocess.Popen(
        [*words, "--engine", "ray", "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    seen, deadline = set(), time.monotonic() + 240
    while run.poll() is None and time.monotonic() < deadline:
        seen |= descendants(run.pid)
        time.sleep(0.1)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert out == "" and (tmp_path / "ray.jsonl").read_text() == (tmp_path / "alone.jsonl").read_text()
    assert len(seen) > 2
    while any(Path(f"/proc/{number}").exists() for number in seen) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [number for number in seen if Path(f"/proc/{number}").exists()]


def test_an_address_is_of_ray(capsys):
    assert cli.main(["transcribe", "a.wav", "--address", "auto"]) == 2
    assert "give engine='ray' (--engine ray)" in capsys.readouterr().err
