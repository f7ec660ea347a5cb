"""Unpack archives from strangers: nothing leaves the folder, nothing is overwritten without a word."""

import filecmp
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from speechrnn.faults import data_error

Progress = Callable[[int, int | None], object]
"""Called with the number done so far, and the total if it is known."""

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError)


def extract(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Unpack a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip archive.

    Everything is unpacked beside its place first and moved there when the whole archive proved sound, so a bad or
    damaged archive, or a full disk, leaves the folder as it was. Only plain files and folders are made, with ordinary
    permissions.

    Args:
        archive: The archive.
        folder: Where its contents go; made if missing.
        overwrite: Replace files that are there and differ.
        progress: Called with the number of files unpacked, and the number there are if it is known.

    Returns:
        The files, in the order of the archive.

    Raises:
        ValueError: The archive is damaged or of another kind, or an entry is a link or a device, has an absolute path
            or one that leads out of the folder.
        FileExistsError: A file is there already, differs, and `overwrite` is false.
        OSError: The disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Inside the folder, so that moving is renaming.
    with tempfile.TemporaryDirectory(prefix=".extracting-", dir=folder) as scratch:
        names = []
        for count, (name, content, total) in enumerate(_files(Path(archive)), start=1):
            target = Path(scratch, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as out:
                _copy(archive, content, out)
            names.append(name)
            if progress is not None:
                progress(count, total)
        return _move(Path(scratch), folder, list(dict.fromkeys(names)), overwrite)


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes], int | None]]:
    """Name, content and number of the plain files; folders are made as they are needed."""
    try:
        if zipfile.is_zipfile(archive):
            yield from _zip_files(archive)
        else:
            yield from _tar_files(archive)
    except _DAMAGED as error:
        raise _damaged(archive, error) from error


def _tar_files(archive: Path) -> Iterator[tuple[str, IO[bytes], int | None]]:
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            name = _safe(archive, member.name)
            if member.isdir():
                continue
            if not member.isreg():
                kind = "a link" if member.issym() or member.islnk() else "a device or pipe"
                raise data_error(archive, "unsafe", f"the entry {member.name!r} is {kind}. It was not unpacked.")
            content = tar.extractfile(member)
            if content is not None:
                yield name, content, None


def _zip_files(archive: Path) -> Iterator[tuple[str, IO[bytes], int | None]]:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        for member in members:
            # The name as stored: zipfile has already taken a NUL and what follows it away.
            name = _safe(archive, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a link" if kind == stat.S_IFLNK else "a device or pipe"
                raise data_error(archive, "unsafe", f"the entry {member.filename!r} is {what}. It was not unpacked.")
            if member.flag_bits & 1:
                raise data_error(archive, "encrypted", f"the entry {member.filename!r} is encrypted.")
            if not member.is_dir():
                with packed.open(member) as content:
                    yield name, content, len(members)


def _safe(archive: Path, name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or parts[0][1:2] == ":" or "\0" in name:
        raise data_error(
            archive,
            "unsafe",
            f"the entry {name!r} leads out of the folder. It was not unpacked. Do not trust this file.",
        )
    return os.path.normpath(name)


def _copy(archive: str | os.PathLike[str], content: IO[bytes], out: IO[bytes]) -> None:
    while True:
        try:
            block = content.read(1 << 20)
        except _DAMAGED as error:
            raise _damaged(archive, error) from error
        if not block:
            return
        out.write(block)


def _damaged(archive: str | os.PathLike[str], error: Exception) -> ValueError:
    return data_error(
        archive, "damaged", f"is damaged, or neither tar nor zip ({error or type(error).__name__}). Download it again."
    )


def _move(scratch: Path, folder: Path, names: list[str], overwrite: bool) -> list[Path]:
    for name in names:
        target = folder / name
        if target.is_dir() or (target.exists() and not overwrite and not filecmp.cmp(scratch / name, target, False)):
            raise FileExistsError(
                f"{target}: exists already and differs. Pass overwrite=True (--overwrite), or give another folder."
            )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(scratch / name, folder / name)
    return [folder / name for name in names]
