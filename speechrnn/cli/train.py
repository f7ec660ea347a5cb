"""Train a model on a manifest."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Annotated, Any

from speechrnn import files
from speechrnn.cli import task as tasks
from speechrnn.cli import terminal
from speechrnn.cli.codes import DONE, INTERRUPTED, NOTHING_DONE
from speechrnn.cli.options import Group, peek
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.faults import Faults
from speechrnn.models import kinds

_AUGMENTATION = "speechrnn.features.options:Augmentation"

_EPILOG = """\
The best model is written to --out. Next to it, a folder with the ending .training has the log, the options, the last
model, and what --resume needs to continue. Ctrl-C leaves a usable model and exits with 130.

tasks, and what their manifests must contain:
"""


def verb(words: Sequence[str]) -> Verb:
    """Create the verb, with the options of the kind of model; those of a new model only without --model."""
    kind = tasks.chosen("train", words)
    command = tasks.command(kind)
    new = peek(words, "--model") is None
    groups = {
        "reading": [Group(source) for source in command.read_options],
        "training": [Group(source) for source in command.training_options],
        "augmentation": [Group(_AUGMENTATION)] if command.can_augment else [],
        "features": [Group(source) for source in command.feature_options if new],
        "network": [Group(source) for source in (command.network_options if new else command.finetune_options)],
    }
    task_list = "\n".join(f"  {name:12}{tasks.command(one).trained_on}" for name, one in tasks.tasks("train").items())
    return Verb("train", train, groups, _EPILOG + task_list, lambda: _hints(kind), bound={"kind": kind, "words": words})


def _hints(kind: kinds.Kind) -> dict[str, str]:
    """Messages about options of other kinds, and about those that need or exclude --model."""
    command = tasks.command(kind)
    hints = tasks.hints("train", kind, "training_options", "feature_options", "network_options", "finetune_options")
    for group in (Group(source) for source in (*command.feature_options, *command.network_options)):
        hints |= {option.flag: "--model brings its own features and network." for option in group.options}
    for group in (Group(source) for source in command.finetune_options):
        hints |= {option.flag: "only with --model; a new model has what the texts have." for option in group.options}
    return hints


def train(
    *manifests: Annotated[str, "MANIFEST"],
    kind: kinds.Kind,
    words: Sequence[str],
    out: Annotated[str, "MODEL"],
    reading: Mapping[str, Any],
    training: Mapping[str, Any],
    augmentation: Mapping[str, Any],
    features: Mapping[str, Any],
    network: Mapping[str, Any],
    task: Annotated[str | None, "TASK"] = None,
    valid: Annotated[tuple[str, ...], "MANIFEST"] = (),
    model: Annotated[str | None, "MODEL"] = None,
    augment: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    hosts: Annotated[tuple[str, ...], "HOST:PORT"] = (),
    rank: Annotated[int | None, "I"] = None,
    devices: int = 1,
) -> int:
    """Train a model on a manifest.

    Args:
        manifests: .jsonl manifests (or text files, for tasks that train on them); several are combined.
        kind: The kind of model.
        words: The words of the command line.
        out: a file for the best model, ending in .keras.
        reading: How the examples are read.
        training: How to train.
        augmentation: How examples are augmented.
        features: Features of a new model.
        network: Network of a new model, or changes to a model that is trained further.
        task: Task of the model; by default it follows from the manifest or from --model. One of those below.
        valid: Manifests of other speakers or subjects, used to choose the best epoch.
        model: Train this model further, instead of a new one.
        augment: Vary the examples in a way that suits a small corpus of read speech.
        resume: Continue an interrupted training of --out, if there is one.
        overwrite: --out and its training folder.
        hosts: Addresses of processes that train together and share each batch; start each of them with the same
            command.
        rank: Which of --hosts this process is, counted from 0; by default what Slurm or Kubernetes says.
        devices: Train on this many GPUs of this machine, or parts of its processor, with one process for each.
    """
    if devices < 1:
        raise UsageError(f"--devices must be at least 1. Received: {devices}.")
    if devices > 1:
        if hosts:
            raise UsageError("--hosts has a process for every GPU already. Leave --devices out.")
        return _on_devices(devices, words)
    command = tasks.command(kind)
    if not resume:
        files.refuse_existing(out, overwrite=overwrite)
    examples, validation = command.read(manifests, **reading), command.read(valid, **reading)
    options = kinds.resolve(command.training_options[0])(**training)
    if model is not None and options.members > 1:
        raise UsageError("--members begin with new weights. Leave --members out, or --model.")
    terminal.start_tensorflow("speechrnn train")
    import keras

    from speechrnn.training import hosts as training_hosts

    shared = training_hosts.Hosts(hosts, training_hosts.host_rank(rank)) if hosts else None

    from speechrnn import training as trainer
    from speechrnn.features import Augmentation
    from speechrnn.training.task import task_of

    varied = Augmentation.speech(**augmentation) if augment else Augmentation(**augmentation) if augmentation else None
    keras.utils.set_random_seed(options.seed)
    if model is None:
        feature_options = {"features": features} if command.feature_options else {}
        bundle = command.new_model(examples, options, **feature_options, **network)
    else:
        bundle = command.model_to_finetune(model, examples, **network)
    faults = Faults()
    run = trainer.train(
        bundle,
        examples,
        valid=validation or None,
        options=options,
        augment=varied,
        out=out,
        resume=resume,
        overwrite=overwrite,
        faults=faults,
        hosts=shared,
    )
    if shared is not None and not shared.first:
        return INTERRUPTED if run.interrupted else DONE
    terminal.print_faults(*faults)
    best_rows = [row for row in run.history if row.get("epoch", 0) == run.best_epoch and "val_loss" in row]
    score = f", validation {task_of(bundle, options).describe_validation(best_rows[-1])}" if best_rows else ""
    epochs = len((run.members[-1] if run.members else run).history)
    chosen = f"epoch {run.best_epoch} of {epochs}" if run.best_epoch else f"average of {len(run.members)} members"
    print(f"{run.path}: {chosen}{score}, {run.seconds:.0f} s")
    code = terminal.print_summary(faults, len(examples) + len(validation), noun="examples", verb="were dropped")
    return INTERRUPTED if run.interrupted else code


def _on_devices(count: int, words: Sequence[str]) -> int:
    """Run the command line in one process per device of this machine; returns the exit code of one that failed."""
    with ExitStack() as stack:  # to find free ports
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    words = [word for word in words if not word.startswith("--devices=")]
    if "--devices" in words:  # an option may be given once
        place = words.index("--devices")
        words = words[:place] + words[place + 2 :]
    processes = []
    for index in range(count):
        flags = ["--rank", str(index), "--hosts", *addresses]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": _device(index)}
        command = [sys.executable, "-m", "speechrnn", "train", *words, *flags]
        processes.append(subprocess.Popen(command, env=environment))
    try:
        while not any(process.poll() for process in processes):  # if one fails, the others are ended
            if all(process.poll() is not None for process in processes):
                break
            time.sleep(0.1)
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
    codes = [process.wait() for process in processes]
    return next((code for code in codes if code > 0), NOTHING_DONE if any(codes) else DONE)


def _device(index: int) -> str:
    """The GPU for a process, one of those that this process may use."""
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = setting.split(",") if setting else []
    return visible[index] if index < len(visible) else "" if setting == "" else str(index)
