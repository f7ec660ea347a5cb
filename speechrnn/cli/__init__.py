"""The command line: `speechrnn VERB ...`, one module per verb.

Results go to standard output, progress and messages to standard error. The exit code is 0 when all is done, 1 when
some inputs failed (each is named), 2 when nothing could be done (wrong usage, no such model, an output that cannot be
written), and 130 after Ctrl-C.
"""

from __future__ import annotations

import codecs
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from speechrnn import __version__
from speechrnn.cli import register
from speechrnn.cli.codes import BROKEN_PIPE, DONE, INTERRUPTED, NOTHING_DONE
from speechrnn.faults import suggestion


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Args:
        arguments: The words after the program's name; by default `sys.argv[1:]`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return guarded(lambda: _run(words))


def guarded(run: Callable[[], int]) -> int:
    """Call a function that returns an exit code; report its errors on standard error, and return their exit code."""
    if sys.stderr is None:  # closed by the parent process
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        print("speechrnn: error: standard output is closed. Open it, or send it to /dev/null.", file=sys.stderr)
        return NOTHING_DONE
    _print_any_name()
    try:
        with _log_to_stderr():
            code = run()
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be reported
        return code
    except KeyboardInterrupt:
        print("speechrnn: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except (OSError, ValueError, ModuleNotFoundError, MemoryError) as error:
        if os.environ.get("SPEECHRNN_TRACEBACK"):
            raise
        message = _message(error)
        print(f"speechrnn: error: {message}", file=sys.stderr)
        if "\n" in message:  # not from this package
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
    names = register.names()
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in names:
            return _run_verb(name, words[count:])
    subverbs = [name for name in names if name.startswith(f"{words[0]} ")]
    if subverbs and (len(words) == 1 or words[1] in ("-h", "--help")):
        print(_usage(words[0]))
        return DONE
    unknown = " ".join(words[: 2 if subverbs else 1])
    kind = "option" if words[0].startswith("-") else "verb"
    print(f"speechrnn: error: unknown {kind} `{unknown}`.{suggestion(unknown, names)}", file=sys.stderr)
    print("See `speechrnn --help`.", file=sys.stderr)
    return NOTHING_DONE


def _run_verb(name: str, words: list[str]) -> int:
    from speechrnn.cli.verb import UsageError, print_usage_error

    try:
        verb = register.verb(name, words)
    except UsageError as error:
        return print_usage_error(f"speechrnn {name}", error)
    return verb(words)


def _usage(within: str = "") -> str:
    """Usage of all verbs, or of those that begin with the word `within`."""
    lines = [f"usage: speechrnn {within or 'VERB'} ...", ""]
    if not within:
        lines += [
            "Train small speech recognizers, signal classifiers and forecasters; run them and measure their errors.",
            "",
        ]
    for heading, verbs in register.listed().items():
        entries = [f"  {name:16} {sentence}" for name, sentence in verbs.items() if name.startswith(within)]
        lines += [f"{heading}:", *entries, ""] if entries else []
    lines.append("`speechrnn VERB --help` explains a verb. `speechrnn --version` prints the version.")
    lines.append("exit codes: 0 all done; 1 some inputs failed, each named on stderr; 2 nothing done; 130 interrupted")
    return "\n".join(lines)


def _print_any_name() -> None:
    """Let standard output print characters outside its encoding; a file name that is not UTF-8 is printed unchanged."""
    with suppress(AttributeError, LookupError, OSError, TypeError, ValueError):  # not a usual stream
        utf8 = codecs.lookup(sys.stdout.encoding).name == "utf-8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")  # type: ignore[union-attr]


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Print the package's log on standard error."""
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
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename}: there is no such file. Check the path."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    if isinstance(error, MemoryError):
        reason = str(error).rstrip(".") or "it cannot be had"
        return f"there is too little memory: {reason}. Give smaller numbers, such as of --beam."
    return str(error)


def _silence_stdout() -> None:
    """Keep Python from flushing output at exit that can no longer be written."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
