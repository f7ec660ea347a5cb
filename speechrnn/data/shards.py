"""Work in shards: each of many machines does a part of the inputs, and the parts become what one machine had made.

Beside the output `OUT` a folder `OUT.shards/` holds, for shard 2 of 8, `2-of-8.part` (what was made), `2-of-8.done` (a
marker that says of what, and how) and, while it is being made, `2-of-8.claim`. A part and its marker appear whole or
not at all. All that is needed is a folder that every machine sees, where of two that make the same new file one fails.
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

_BEAT, _SILENT = 20.0, 120.0
"""Seconds from one sign of life of a worker to the next, and those after which it counts as dead."""
_OURS: set[str] = set()
"""Claims of this process; a container that was started again may have the number of the one before."""


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of some work, `index` counted from 1.

    Example:
    >>> Shard.of("2/3").of_inputs(["a", "b", "c", "d", "e", "f", "g"])
    slice(2, 4, None)
    """

    index: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """The shard that a text such as `2/8` means.

        Raises:
            ValueError: It means none.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ValueError(f"A shard is I/N with I from 1 to N, such as 2/8. Received: {text!r}.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.index:0{len(str(self.count))}}-of-{self.count}"

    def of_inputs(self, inputs: Sequence[Any]) -> slice:
        """The inputs of this shard: neighbors, about as long together as those of every other shard.

        An input is as long as its `duration`, where all have one; otherwise all count the same.
        """
        lengths = [getattr(one, "duration", None) for one in inputs]
        if not all(lengths):
            return slice(*(len(inputs) * edge // self.count for edge in (self.index - 1, self.index)))
        total, begun, edges = sum(lengths), 0.0, [0] * (self.count + 1)  # type: ignore[arg-type]
        for length in lengths:  # whose middle decides where it belongs
            edges[min(self.count, 1 + int((begun + length / 2) / total * self.count))] += 1  # type: ignore[operator]
            begun += length  # type: ignore[operator]
        return slice(sum(edges[: self.index]), sum(edges[: self.index + 1]))


@dataclass
class Part:
    """What a worker has made of a shard."""

    shard: Shard
    about: Mapping[str, Any]
    """What was to be done, of all shards alike: verb, inputs, options."""
    count: int = 0
    """Inputs of this shard."""
    faults: list[Fault] = field(default_factory=list)
    """What could not be done, in the order of the inputs."""
    more: dict[str, Any] = field(default_factory=dict)
    """Whatever else the merge needs."""
    path: Path | None = None
    """Where it is."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """Size and hash that the marker gives."""

    @property
    def sound(self) -> bool:
        """Whether what is there is what the marker speaks of."""
        try:
            return self.written == _size(self.read())
        except OSError:
            return False

    def read(self) -> bytes:
        """What was made."""
        return b"" if self.path is None else self.path.read_bytes()


def digest(inputs: Iterable[Any]) -> dict[str, Any]:
    """Number and hash of inputs, by which two machines find out whether theirs are the same."""
    count, found = 0, hashlib.sha256()
    for one in inputs:
        count += 1
        found.update(repr(one).encode() + b"\0")
    return {"count": count, "sha256": found.hexdigest()}


def folder_of(out: str | os.PathLike[str]) -> Path:
    """Where the parts of an output are."""
    out = Path(out)
    return out.with_name(f"{out.name}.shards")


def done(out: str | os.PathLike[str], shard: Shard, about: Mapping[str, Any]) -> Part | None:
    """The part of a shard that was made before; None if there is none.

    Raises:
        ValueError: It was made of other inputs, or in another way.
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
    """A part to fill in, and the file to write it to; both are published when the block ends well.

    Raises:
        ValueError: Another worker is at this shard.
    """
    folder = folder_of(out)
    folder.mkdir(parents=True, exist_ok=True)
    part = Part(shard, about)
    with _claim(folder / f"{shard.name}.claim", shard) as still_ours:
        marker = _marker(out, shard)
        marker.unlink(missing_ok=True)  # from here on the part is not the one that it speaks of
        part.path = marker.with_suffix(".part")
        with replacing(part.path, overwrite=True) as file:
            yield part, file
            still_ours()
        with replacing(marker, overwrite=True) as file:
            file.write((as_json(_told(part), indent=1) + "\n").encode("utf-8", "surrogateescape"))


def parts(out: str | os.PathLike[str]) -> list[Part]:
    """All parts of an output, in the order of the inputs.

    Raises:
        FileNotFoundError: There are none.
        ValueError: Some are missing, damaged, or of other work than the others; all of those are named.
    """
    folder = folder_of(out)
    found = [_part(path) for path in sorted(folder.glob("*-of-*.done"))] if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(f"{folder}: no shard of {os.fspath(out)} is done. Run its verb with --shard 1/N.")
    found.sort(key=lambda part: (part.shard.count, part.shard.index))
    counts = sorted({part.shard.count for part in found})
    if len(counts) > 1:
        listed = "; ".join(f"of {n}: {_listed(p.shard.index for p in found if p.shard.count == n)}" for n in counts)
        raise ValueError(f"{folder}: shards of different divisions are there ({listed}). Remove those of all but one.")
    (count,) = counts
    problems = [f"shard {part.shard} was made with another {d} than shard {found[0].shard}"
                for part in found[1:] if (d := _difference(part.about, found[0].about))]  # fmt: skip
    problems += [f"shard {part.shard} is damaged" for part in found if not part.sound]
    missing = sorted(set(range(1, count + 1)) - {part.shard.index for part in found})
    at_work = {index: worker for index in missing if (worker := _holder(folder / f"{Shard(index, count).name}.claim"))}
    problems += [f"shard {index}/{count} is still in the hands of {worker}" for index, worker in at_work.items()]
    if idle := [index for index in missing if index not in at_work]:
        which = f"shard {idle[0]}/{count} is" if len(idle) == 1 else f"shards {_listed(idle)} of {count} are"
        problems.append(f"{which} missing")
    if problems:
        raise ValueError(
            f"{folder}: {'; '.join(problems)}. Run the verb for these shards with the same inputs and options."
        )
    return found


def _marker(out: str | os.PathLike[str], shard: Shard) -> Path:
    return folder_of(out) / f"{shard.name}.done"


def _told(part: Part) -> dict[str, Any]:
    """What a marker says."""
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
        told = json.loads(marker.read_bytes())
        shard, faults = Shard.of(told["shard"]), [Fault(*fault) for fault in told["faults"]]
        if shard.name != marker.stem:
            raise ValueError(f"it speaks of shard {shard}")
        path = marker.with_suffix(".part")
        return Part(shard, told["about"], told["count"], faults, told["more"], path, told["part"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{marker}: is no marker of a shard ({error}). Remove it, and run that shard again."
        ) from error


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What differs between two pieces of work, in words; nothing where they are the same."""
    one, other = json.loads(as_json(one)), json.loads(as_json(other))  # as both have been read: no tuples
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
    """Hold the claim to a shard; gives a function that raises once it is somebody else's.

    A file that only one can make is the one lock that all file systems have. A worker that was killed leaves it behind:
    it counts as dead when its process is gone, on this machine, or has given no sign of life for two minutes.
    """
    token = secrets.token_hex(8)
    _OURS.add(token)
    told = {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "begun": time.strftime("%Y-%m-%d %H:%M:%S"),
        "token": token,
    }
    for _ in range(3):
        try:
            with open(path, "x", encoding="utf-8") as file:
                json.dump(told, file)
            break
        except FileExistsError:
            if worker := _holder(path):
                raise ValueError(
                    f"{path}: shard {shard} is in the hands of {worker}. Take another one, or wait; if that worker is "
                    "dead, remove this file."
                ) from None
            stale = path.with_name(f".{path.name}.{token}")
            with contextlib.suppress(FileNotFoundError):  # of several that find it, one moves it away
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
        while not stop.wait(_BEAT):
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
    """Who holds a claim, in words; nothing where nobody does, or who did is dead."""
    try:
        age = _now(path) - path.stat().st_mtime
        held = json.loads(path.read_bytes())
        host, process, begun, token = held["host"], int(held["process"]), held["begun"], held["token"]
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError):  # being written, or cut off by a full disk
        return "" if age > _SILENT else "another worker"
    gone = host == socket.gethostname() and not (token in _OURS if process == os.getpid() else _alive(process))
    return "" if gone or age > _SILENT else f"process {process} on {host} since {begun}"


def _now(path: Path) -> float:
    """The time by the clock of the machine whose disk it is: workers' clocks may differ by minutes."""
    probe = path.with_name(f".{secrets.token_hex(8)}.now")
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if os.name == "nt":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        pass
    return True
