"""The command line: `speechrnn VERB ...`, one module a verb.

Results go to standard output, progress and complaints to standard error. The exit code is 0 when all is done, 1 when
some inputs failed (each is named), 2 when nothing could be done (wrong usage, no such model, an output that cannot be
written), and 130 after Ctrl-C.
"""

from __future__ import annotations

import codecs
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from speechrnn import __version__
from speechrnn.cli.declared import summary
from speechrnn.faults import suggestion

VERBS = (
    "prepare", "download", "check-manifest", "train", "transcribe", "stream", "classify", "forecast", "anomalies",
    "evaluate", "report", "align", "lexicon", "lm", "calibrate", "export", "doctor",
)  # fmt: skip

DONE, SOME_FAILED, NOTHING_DONE, BROKEN_PIPE, INTERRUPTED = 0, 1, 2, 141, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code.

    Args:
        arguments: The words after the program's name; those of the process by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    _print_any_name()
    try:
        try:
            with _log_to_stderr():
                code = _run(words)
        except SystemExit as stop:  # from argparse
            code = stop.code if isinstance(stop.code, int) else NOTHING_DONE
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be told
        return code
    except KeyboardInterrupt:
        print("speechrnn: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except (OSError, ValueError, ModuleNotFoundError) as error:
        if os.environ.get("SPEECHRNN_TRACEBACK"):
            raise
        message = _message(error)
        print(f"speechrnn: error: {message}", file=sys.stderr)
        if "\n" in message:  # not one of ours
            print("Set SPEECHRNN_TRACEBACK=1 to see where it comes from.", file=sys.stderr)
        _silence_stdout()
        return NOTHING_DONE


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage(), file=sys.stdout if words else sys.stderr)
        return DONE if words else NOTHING_DONE
    if words[0] in ("-V", "--version"):
        print(f"speechrnn {__version__}")
        return DONE
    if words[0] not in VERBS:
        kind = "option" if words[0].startswith("-") else "verb"
        print(f"speechrnn: error: unknown {kind} `{words[0]}`.{suggestion(words[0], VERBS)}", file=sys.stderr)
        print("See `speechrnn --help`.", file=sys.stderr)
        return NOTHING_DONE
    return int(importlib.import_module(_module(words[0])).run(words[1:]))


def _module(verb: str) -> str:
    return f"speechrnn.cli.{verb.replace('-', '_')}"


def _usage() -> str:
    lines = [
        "usage: speechrnn VERB ...",
        "",
        "Train small recognisers of speech, classifiers and forecasters of signals, run them, measure their errors.",
        "",
        "verbs:",
        *(f"  {verb:15} {summary(_module(verb))}" for verb in VERBS),
        "",
        "`speechrnn VERB --help` explains a verb. `speechrnn --version` prints the version.",
        "exit codes: 0 all done; 1 some inputs failed, each named on stderr; 2 nothing done; 130 interrupted",
    ]
    return "\n".join(lines)


def _open_closed_streams() -> None:
    """What a parent has closed, standard output or error, is written to nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _print_any_name() -> None:
    """Let standard output take what its encoding lacks: a file name that is not UTF-8 comes out as it went in."""
    with suppress(AttributeError, LookupError, OSError, TypeError, ValueError):  # no stream of the usual kind
        utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")  # type: ignore[union-attr]


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """The package's log, as plain lines on standard error."""
    logger = logging.getLogger("speechrnn")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("speechrnn: %(message)s"))
    level, logger.level = logger.level, logging.INFO
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return str(error)


def _silence_stdout() -> None:
    """Keep Python from flushing, at exit, what can no longer be written."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
