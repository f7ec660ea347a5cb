"""Shards: many machines process a part of the inputs each, and the merged parts equal the output of one machine.

Next to the output `OUT`, a folder `OUT.shards/` has, for shard 2 of 8, `2-of-8.part` (its output), `2-of-8.done` (a
marker with its inputs and options) and, while it is processed, `2-of-8.claim`. A part and its marker are written
atomically. The machines need only a shared folder in which exclusive creation of files works.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from speechrnn.faults import Fault
from speechrnn.files import as_json, replacing

_HEARTBEAT, _TIMEOUT = 20.0, 120.0
"""Seconds between heartbeats of a worker, and seconds without one after which it counts as dead."""
_OWN_TOKENS: set[str] = set()
"""Tokens of this process's claims; a restarted container may have the same process number as before."""


@dataclass(frozen=True)
class Shard:
    """Shard `index` of `count`, counted from 1.

    Example:
    >>> Shard.of("2/3").of_inputs(["a", "b", "c", "d", "e", "f", "g"])
    slice(2, 4, None)
    """

    index: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """Parse a text such as `2/8`.

        Raises:
            ValueError: It is not a shard.
        """
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"A shard is I/N with I from 1 to N, such as 2/8. Received: {text!r}.")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def name(self) -> str:
        """Stem of its files."""
        return f"{self.index:0{len(str(self.count))}}-of-{self.count}"

    def of_inputs(self, inputs: Sequence[Any]) -> slice:
        """The inputs of this shard: a contiguous slice, about as long in total as that of every other shard.

        The length of an input is its `duration` if all inputs have one, else 1.
        """
        lengths = [getattr(item, "duration", None) for item in inputs]
        if not all(lengths):
            return slice(*(len(inputs) * edge // self.count for edge in (self.index - 1, self.index)))
        total, start, edges = sum(lengths), 0.0, [0] * (self.count + 1)  # type: ignore[arg-type]
        for length in lengths:  # an input belongs to the shard in which its middle lies
            edges[min(self.count, 1 + int((start + length / 2) / total * self.count))] += 1  # type: ignore[operator]
            start += length  # type: ignore[operator]
        return slice(sum(edges[: self.index]), sum(edges[: self.index + 1]))


@dataclass
class Part:
    """Output of a worker for one shard."""

    shard: Shard
    about: Mapping[str, Any]
    """Description of the work, the same for all shards: verb, inputs, options."""
    count: int = 0
    """Number of inputs of this shard."""
    faults: list[Fault] = field(default_factory=list)
    """Inputs that could not be processed, in their order."""
    more: dict[str, Any] = field(default_factory=dict)
    """Other data that the merge needs."""
    path: Path | None = None
    """Path of the `.part` file."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """Size and hash by the marker."""

    @property
    def intact(self) -> bool:
        """Whether the `.part` file has the size and hash of its marker."""
        try:
            return self.written == _size(self.read())
        except OSError:
            return False

    def read(self) -> bytes:
        """The content of the `.part` file."""
        return b"" if self.path is None else self.path.read_bytes()


def digest(inputs: Iterable[Any]) -> dict[str, Any]:
    """Number and hash of inputs, to compare those of two machines."""
    count, sha256 = 0, hashlib.sha256()
    for one in inputs:
        count += 1
        sha256.update(repr(one).encode() + b"\0")
    return {"count": count, "sha256": sha256.hexdigest()}


def folder_of(out: str | os.PathLike[str]) -> Path:
    """Folder with the parts of an output."""
    out = Path(out)
    return out.with_name(f"{out.name}.shards")


def done(out: str | os.PathLike[str], shard: Shard, about: Mapping[str, Any]) -> Part | None:
    """Return the part of a shard that is done already, else None.

    Raises:
        ValueError: It was made from other inputs or with other options.
    """
    path = _marker(out, shard)
    if not path.exists():
        return None
    part = _part(path)
    if differing := _difference(part.about, about):
        raise ValueError(
            f"{path}: shard {shard} was done with another {differing}. Give --overwrite to do it again, or another "
            "--out."
        )
    return part


@contextlib.contextmanager
def claimed(out: str | os.PathLike[str], shard: Shard, about: Mapping[str, Any]) -> Iterator[tuple[Part, IO[bytes]]]:
    """Yield a part to fill in, and the file to write it to; both are published if the block succeeds.

    Raises:
        ValueError: Another worker is processing this shard.
    """
    folder = folder_of(out)
    folder.mkdir(parents=True, exist_ok=True)
    part = Part(shard, about)
    with _claim(folder / f"{shard.name}.claim", shard) as still_ours:
        marker = _marker(out, shard)
        marker.unlink(missing_ok=True)  # the old marker does not describe the new part
        part.path = marker.with_suffix(".part")
        with replacing(part.path, overwrite=True) as file:
            yield part, file
            still_ours()
        with replacing(marker, overwrite=True) as file:
            file.write((as_json(_marker_content(part), indent=1) + "\n").encode("utf-8", "surrogateescape"))


def parts(out: str | os.PathLike[str]) -> list[Part]:
    """Read all parts of an output, in the order of the inputs.

    Raises:
        FileNotFoundError: There are no parts.
        ValueError: Parts are missing, damaged, or of different work; the message names them.
    """
    folder = folder_of(out)
    all_parts = [_part(path) for path in sorted(folder.glob("*-of-*.done"))] if folder.is_dir() else []
    if not all_parts:
        raise FileNotFoundError(f"{folder}: no shard of {os.fspath(out)} is done. Run its verb with --shard 1/N.")
    all_parts.sort(key=lambda part: (part.shard.count, part.shard.index))
    counts = sorted({part.shard.count for part in all_parts})
    if len(counts) > 1:
        listed = "; ".join(f"of {n}: {_listed(p.shard.index for p in all_parts if p.shard.count == n)}" for n in counts)
        raise ValueError(f"{folder}: shards of different divisions are there ({listed}). Remove those of all but one.")
    (count,) = counts
    problems = [f"shard {part.shard} was made with another {d} than shard {all_parts[0].shard}"
                for part in all_parts[1:] if (d := _difference(part.about, all_parts[0].about))]  # fmt: skip
    problems += [f"shard {part.shard} is damaged" for part in all_parts if not part.intact]
    missing = sorted(set(range(1, count + 1)) - {part.shard.index for part in all_parts})
    at_work = {index: worker for index in missing if (worker := _holder(folder / f"{Shard(index, count).name}.claim"))}
    problems += [f"shard {index}/{count} is still in the hands of {worker}" for index, worker in at_work.items()]
    if idle := [index for index in missing if index not in at_work]:
        which = f"shard {idle[0]}/{count} is" if len(idle) == 1 else f"shards {_listed(idle)} of {count} are"
        problems.append(f"{which} missing")
    if problems:
        raise ValueError(
            f"{folder}: {'; '.join(problems)}. Run the verb for these shards with the same inputs and options."
        )
    return all_parts


def _marker(out: str | os.PathLike[str], shard: Shard) -> Path:
    return folder_of(out) / f"{shard.name}.done"


def _marker_content(part: Part) -> dict[str, Any]:
    """Content of a part's marker."""
    return {
        "shard": str(part.shard),
        "about": part.about,
        "count": part.count,
        "faults": [[fault.where, fault.kind, fault.message] for fault in part.faults],
        "more": part.more,
        "part": _size(part.read()),
    }


def _size(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _part(marker: Path) -> Part:
    try:
        stored = json.loads(marker.read_bytes())
        shard, faults = Shard.of(stored["shard"]), [Fault(*fault) for fault in stored["faults"]]
        if shard.name != marker.stem:
            raise ValueError(f"it speaks of shard {shard}")
        path = marker.with_suffix(".part")
        return Part(shard, stored["about"], stored["count"], faults, stored["more"], path, stored["part"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{marker}: is no marker of a shard ({error}). Remove it, and run that shard again."
        ) from error


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Describe the first difference between two descriptions of work; "" if they are equal."""
    one, other = (json.loads(as_json(each)) for each in (one, other))  # tuples become lists
    for name in dict.fromkeys((*one, *other)):
        a, b = one.get(name), other.get(name)
        if a == b:
            continue
        if name == "inputs" and a and b:
            return f"list of inputs ({a['count']:,} and {b['count']:,}, by name or number not the same)"
        if isinstance(a, dict) and isinstance(b, dict):
            key = next(key for key in dict.fromkeys((*a, *b)) if a.get(key) != b.get(key))
            return f"--{key.replace('_', '-')} ({a.get(key, 'not given')} and {b.get(key, 'not given')})"
        return f"{name} ({a!r:.60} and {b!r:.60})"
    return ""


def _listed(numbers: Iterable[int]) -> str:
    numbers = list(numbers)
    return ", ".join(map(str, numbers[:20])) + (f" and {len(numbers) - 20} more" if len(numbers) > 20 else "")


# Claims


@contextlib.contextmanager
def _claim(path: Path, shard: Shard) -> Iterator[Any]:
    """Hold the claim to a shard; yields a function that raises if another worker has taken it over.

    The claim is a file created exclusively, the one lock that works on all file systems. A killed worker leaves it
    behind; the worker counts as dead if its process on this machine is gone, or its heartbeat stopped two minutes ago.
    """
    token = secrets.token_hex(8)
    _OWN_TOKENS.add(token)
    claim = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "begun": time.strftime("%Y-%m-%d %H:%M:%S"),
        "token": token,
    }
    for _ in range(3):
        try:
            with open(path, "x", encoding="utf-8") as file:
                json.dump(claim, file)
            break
        except FileExistsError:
            if worker := _holder(path):
                raise ValueError(
                    f"{path}: shard {shard} is in the hands of {worker}. Take another one, or wait; if that worker is "
                    "dead, remove this file."
                ) from None
            stale = path.with_name(f".{path.name}.{token}")
            with contextlib.suppress(FileNotFoundError):  # only one of several workers can move it
                os.replace(path, stale)
                stale.unlink()
    else:
        raise ValueError(f"{path}: shard {shard} was taken by another worker. Take another one.")

    def still_ours() -> None:
        try:
            ours = json.loads(path.read_bytes())["token"] == token
        except (OSError, ValueError, KeyError):
            ours = False
        if not ours:
            raise ValueError(
                f"{path}: shard {shard} was taken over by another worker, since this one gave no sign of life."
            )

    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(_HEARTBEAT):
            with contextlib.suppress(OSError):
                os.utime(path)

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield still_ours
    finally:
        stop.set()
        beating.join()
        with contextlib.suppress(ValueError, OSError):
            still_ours()
            path.unlink()


def _holder(path: Path) -> str:
    """Describe the worker that holds a claim; "" if none does, or it is dead."""
    try:
        age = _now(path) - path.stat().st_mtime
        claim = json.loads(path.read_bytes())
        host, process, started, token = claim["host"], int(claim["process"]), claim["begun"], claim["token"]
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError):  # being written, or truncated by a full disk
        return "" if age > _TIMEOUT else "another worker"
    gone = host == socket.gethostname() and not (token in _OWN_TOKENS if process == os.getpid() else _alive(process))
    return "" if gone or age > _TIMEOUT else f"process {process} on {host} since {started}"


def _now(path: Path) -> float:
    """The time by the file server's clock, since workers' clocks may differ by minutes."""
    probe = path.with_name(f".{secrets.token_hex(8)}.now")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if os.name == "nt":  # where `os.kill` would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's process
        pass
    return True
