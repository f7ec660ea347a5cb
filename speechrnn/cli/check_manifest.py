"""Check a manifest for everything that would disturb training or evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from speechrnn.cli import terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.data import manifest
from speechrnn.data.check import check
from speechrnn.faults import Faults
from speechrnn.text import Vocabulary

_SKIP = ("vocabulary", "frame_count")

_EPILOG = """\
Every recording is decoded. Missing, empty, undecodable, silent and mislabeled examples are listed, and texts that are
too long for their audio. The exit code is 0 if nothing is wrong and 1 otherwise.
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    group = Group("speechrnn.data.check:check", "checking; the sizes of frames count where no model is given", _SKIP)
    return Verb("check-manifest", check_manifest, {"frames": (group,)}, _EPILOG)


def check_manifest(
    path: Annotated[str, "MANIFEST"],
    /,
    *,
    frames: Mapping[str, Any],
    model: Annotated[str | None, "MODEL"] = None,
    against: Annotated[str | None, "MANIFEST"] = None,
    json: bool = False,
    out: Annotated[str | None, "FILE"] = None,
    overwrite: bool = False,
) -> int:
    """Check a manifest for everything that would disturb training or evaluation.

    Args:
        path: A .jsonl manifest.
        frames: Options of the check.
        model: Check against the characters and frames of this recognizer, or of the included model of this name.
        against: Check against the characters of this manifest's texts.
        json: one object, the whole report.
        out: a file; by default standard output.
    """
    if model and against:
        raise UsageError("--model and --against exclude each other.")
    faults = Faults()
    examples = manifest.read(path, faults=faults)
    with terminal.output(out, overwrite=overwrite) as file:
        options = {**frames, **_checked_against(model, against)}
        with terminal.progress(len(examples), "examples") as progress:
            report = check(examples, faults=faults, progress=progress, **options)
        if json:
            print(terminal.as_json(report.to_dict(), indent=1), file=file)
        else:
            print(report, *report.faults, sep="\n", file=file)
        file.flush()
    return 0 if report.ok else 1


def _checked_against(model: str | None, against: str | None) -> dict[str, Any]:
    """Options of the check: the characters of another manifest, or the limits of a model."""
    if against:
        return {"vocabulary": Vocabulary.from_texts([example.text or "" for example in manifest.read(against)])}
    return terminal.model_limits(terminal.load_model(model)) if model else {}
