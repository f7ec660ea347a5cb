"""Published archives of corpora, and safe unpacking: no entry may leave the folder or replace a file.

`tarfile` with `filter="data"` and `zipfile` unpack. Entries that they accept or silently repair are refused here:
links inside the folder, absolute names (which lose their slash), `..` in a .zip, Windows' separators.
"""

import filecmp
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from speechrnn.faults import data_error

Progress = Callable[[int, int | None], object]
"""Called with the number done so far, and the total if known."""

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError)


@dataclass(frozen=True)
class Archive:
    """A published archive of a corpus; each corpus module lists its archives in `ARCHIVES`."""

    urls: tuple[str, ...]
    """Addresses, in the order in which they are tried."""
    folder: str
    """The folder that it unpacks to, relative to the target folder."""
    license: str
    """License under which its authors publish it."""
    checksum: str | None = None
    """`md5:...` or `sha256:...` as published; `None` if no reliable one is published."""


def extract(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Unpack a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip archive.

    Everything is unpacked to a temporary folder first and moved when the whole archive was read, so a bad or damaged
    archive, or a full disk, leaves the target folder unchanged. Only regular files and folders are made, with default
    permissions.

    Args:
        archive: The archive.
        folder: Target folder; made if missing.
        overwrite: Replace existing files that differ.
        progress: Called with the number of files unpacked, and the total if known.

    Returns:
        The files, in the order of the archive.

    Raises:
        ValueError: The archive is damaged or of another kind, or an entry is a link or a device, has an absolute path
            or one that leads out of the folder.
        FileExistsError: A file exists already, differs, and `overwrite` is false.
        OSError: The disk is full or the folder cannot be written.
    """
    archive, folder = Path(archive), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Inside the target folder, so that moving is renaming.
    with tempfile.TemporaryDirectory(prefix=".extracting-", dir=folder) as scratch:
        unpack = _unpack_zip if zipfile.is_zipfile(archive) else _unpack_tar
        names = []
        try:
            for name, total in unpack(archive, scratch):
                names.append(name)
                if progress is not None:
                    progress(len(names), total)
        except _DAMAGED as error:
            message = f"is damaged, or neither tar nor zip ({error or type(error).__name__}). Download it again."
            raise data_error(archive, "damaged", message) from error
        return _move(Path(scratch), folder, list(dict.fromkeys(names)), overwrite)


def _unpack_tar(archive: Path, folder: str) -> Iterator[tuple[str, None]]:
    """Unpack into a folder; yields the name of each file."""
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            plain = member.isreg() or member.isdir()
            name = _safe(archive, member.name, plain=plain, link=member.issym() or member.islnk())
            member.mode = 0o644  # the filter would keep an executable bit
            tar.extract(member, folder, filter="data")
            if member.isreg():
                yield name, None


def _unpack_zip(archive: Path, folder: str) -> Iterator[tuple[str, int]]:
    """Unpack into a folder; yields the name of each file, and the number of entries."""
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        for member in members:
            # The name as stored: in `filename` zipfile has removed a NUL and what follows it.
            kind = stat.S_IFMT(member.external_attr >> 16)
            plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
            name = _safe(archive, member.orig_filename, plain=plain, link=kind == stat.S_IFLNK)
            if member.flag_bits & 1:
                raise data_error(archive, "encrypted", f"the entry {member.filename!r} is encrypted.")
            packed.extract(member, folder)
            if not member.is_dir():
                yield name, len(members)


def _safe(archive: Path, name: str, *, plain: bool, link: bool) -> str:
    """Return the name of an entry if it is a regular file or folder inside the target folder, else raise."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or parts[0][1:2] == ":" or "\0" in name:
        problem = "leads out of the folder. It was not unpacked. Do not trust this file."
    elif not plain:
        problem = f"is {'a link' if link else 'a device or pipe'}. It was not unpacked."
    else:
        return os.path.normpath(name)
    raise data_error(archive, "unsafe", f"the entry {name!r} {problem}")


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
