"""Atomic writes of files and folders, the cache folder, CSV, JSON, and names for outputs."""

import contextlib
import csv
import ctypes
import io
import json
import os
import secrets
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

CACHE_VARIABLE = "SPEECHRNN_CACHE"
"""Environment variable that names another cache folder."""


def refuse_existing(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise if `path` cannot become a new file.

    Raises:
        FileExistsError: The file exists and `overwrite` is false.
        FileExistsError: The file exists and `overwrite` is false.
        ValueError: It is a device or a pipe.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder is there. Give the name of a file.")
    if os.path.exists(path) and not path.is_file():
        raise ValueError(f"{path}: is a device or a pipe, which a file cannot take the place of.")
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path}: exists already. Pass overwrite=True (--overwrite) to replace it.")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary binary file that replaces `path` if the block succeeds, and is deleted if it raises.

    The temporary file is a hidden one in the same folder, so a reader never sees half a file, and a full disk or a
    killed process leaves the old file as it was. Missing folders are made.

    Raises:
        FileExistsError: The file exists and `overwrite` is false.
        OSError: The folder cannot be written, or the disk is full; no partial file stays behind.
    """
    path = Path(path)
    refuse_existing(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are private to their owner, and would stay so after the rename.
    partial = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        refuse_existing(path, overwrite=overwrite)  # another process may have written it
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Create a temporary folder that replaces `path` if the block succeeds, and is deleted if it raises.

    The old folder and the new one are exchanged in one step, then the old one is deleted: a reader sees one or the
    other. Where the system cannot do that (Windows, and some file systems), there is no folder for a moment. Missing
    parents are made.

    Raises:
        OSError: The folder cannot be written; the old one stays.
    """
    path, token = Path(path), secrets.token_hex(4)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its folders are private to their owner, and would stay so after the rename.
    new, old = (path.with_name(f".{path.name[:100]}.{token}.{kind}") for kind in ("part", "old"))
    new.mkdir()
    try:
        yield new
        if not path.exists():
            os.replace(new, path)
        elif not _exchanged(new, path):
            os.replace(path, old)
            try:
                os.replace(new, path)
            except BaseException:
                os.replace(old, path)
                raise
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    for replaced in (new, old):
        shutil.rmtree(replaced, ignore_errors=True)


def _exchanged(first: Path, second: Path) -> bool:
    """Exchange two paths in one step, which Linux and macOS can on most file systems; returns whether it worked."""
    names = os.fsencode(first), os.fsencode(second)
    try:
        system = ctypes.CDLL(None)
        if sys.platform == "darwin":
            return system.renamex_np(*names, 2) == 0  # RENAME_SWAP
        current_folder = -100  # AT_FDCWD
        return system.renameat2(current_folder, names[0], current_folder, names[1], 2) == 0  # RENAME_EXCHANGE
    except (OSError, AttributeError, TypeError):  # no such library, or no such function in it
        return False


def cache_folder() -> Path:
    """The user's cache folder for exported models on this operating system, unless `CACHE_VARIABLE` names another.

    Raises:
        OSError: The user has no home folder.
    """
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("speechrnn", appauthor=False) / "models"
    except RuntimeError as error:
        raise OSError(
            f"There is no home folder for the cache of exported models. Set {CACHE_VARIABLE} to a folder."
        ) from error
    if not folder.is_absolute():  # a `~` that was not expanded would become a folder of that name
        raise OSError(f"{folder}: cannot be used as the folder for exported models. Set {CACHE_VARIABLE} to one.")
    return folder


def write_csv(path: str | os.PathLike[str], names: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV table, replacing an existing file; columns missing in a row are left empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path, overwrite=True) as file:
        file.write(text.getvalue().encode())


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Convert to JSON in readable UTF-8; a file name that is not UTF-8 is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def output_names(paths: Sequence[str]) -> list[str]:
    """A unique name for the outputs of each input: its stem, with more of its path where stems are equal.

    Example:
    >>> output_names(["a/one.wav", "a/two.wav", "a/two.flac", "b/six.wav", "c/six.wav", "-"])
    ['one', 'two.wav', 'two.flac', 'b_six.wav', 'c_six.wav', 'stdin']
    """
    parts = [("stdin",) if path == "-" else Path(path).parts or (path,) for path in paths]
    names = ["stdin" if path == "-" else Path(path).stem or path for path in paths]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        clashing = _repeated(names)
        longer = ["_".join(part.strip("/\\:") for part in path[-depth:]) for path in parts]
        names = [new if old.casefold() in clashing else old for old, new in zip(names, longer, strict=True)]
    taken: set[str] = set()
    for index, name in enumerate(names):  # names that are still equal are one file given twice
        number = 1
        while names[index].casefold() in taken:
            number += 1
            names[index] = f"{name}-{number}"
        taken.add(names[index].casefold())
    return names


def _repeated(names: Sequence[str]) -> set[str]:
    """Names that occur twice, ignoring case, as some file systems do."""
    return {name for name, count in Counter(name.casefold() for name in names).items() if count > 1}
