"""Who may ask, how many at once, and how often."""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from speechrnn.serving.refusals import Refusal

_MOST_CLIENTS = 10_000
"""Clients whose requests are counted; the one that has not asked for longest is forgotten."""


class Gate:
    """Lets so many in at once, and tells the others when to come again.

    Args:
        most: How many.
        at_once: How many of them are worked on at the same time.
        what: What messages call them.
        on_change: Called with the number of those inside.
    """

    def __init__(self, most: int, *, at_once: int, what: str, on_change: Callable[[int], object] | None = None) -> None:
        self._most, self._at_once, self._what, self._on_change = most, at_once, what, on_change
        self._inside, self._seconds = 0, 1.0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """For as long as one is inside.

        Raises:
            Refusal: 429, it is full.
        """
        if self._inside >= self._most:
            wait = min(60, max(1, math.ceil(self._inside * self._seconds / self._at_once)))
            raise _later(wait, f"This server takes {self._most} {self._what} at once", "server_is_busy")
        self._count(1)
        start = time.monotonic()
        try:
            yield
        finally:
            self._count(-1)
            self._seconds += 0.1 * (time.monotonic() - start - self._seconds)

    def _count(self, change: int) -> None:
        self._inside += change
        if self._on_change:
            self._on_change(self._inside)


class Rate:
    """So many requests per minute for each client; each begins with as many as a quarter of a minute allows.

    Args:
        per_minute: How many; 0 for any number.
        clock: Seconds.

    Example:
    >>> now = 0.0
    >>> rate = Rate(60, clock=lambda: now)
    >>> [rate.wait("a") for _ in range(16)][-2:], rate.wait("b")
    ([0.0, 1.0], 0.0)
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._most = per_minute / 60, max(1.0, per_minute / 4)
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until a client may ask; 0 where it may now, and then the request is counted."""
        if not self._per_second:
            return 0.0
        now = self._clock()
        left, then = self._clients.pop(client, (self._most, now))
        left = min(self._most, left + (now - then) * self._per_second)
        wait = 0.0 if left >= 1 else (1 - left) / self._per_second
        self._clients[client] = (left if wait else left - 1, now)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return wait

    def check(self, client: str) -> None:
        """Count a request.

        Raises:
            Refusal: 429, there were too many.
        """
        if wait := math.ceil(self.wait(client)):
            raise _later(wait, "Too many requests in a minute", "rate_limit_exceeded")


class Keys:
    """API keys, of which only digests are held.

    Args:
        keys: The keys; without any everybody may ask.

    Example:
    >>> keys = Keys(["hush-hush-hush-hush"])
    >>> keys.name("hush-hush-hush-hush") == keys.name("other"), bool(Keys([]))
    (False, False)
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Keys:
        """Those in a file, one per line; empty lines and what begins with `#` are skipped.

        Raises:
            OSError: It cannot be read.
            ValueError: It has none, or one that is too short to be a secret.
        """
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        short = next((number for number, line in enumerate(lines, 1) if line in keys and len(line) < 16), None)
        if not keys or short is not None:
            where = "has no key" if short is None else f"has a key of fewer than 16 characters in line {short}"
            raise ValueError(
                f"{os.fspath(path)}: {where}. Write keys such as `python -c 'import secrets; "
                "print(secrets.token_urlsafe(32))'` prints, one per line."
            )
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def name(self, key: str | None) -> str | None:
        """What logs and limits call the owner of a key; None for one that is not known."""
        digest = hashlib.sha256((key or "").encode("utf-8", "replace")).digest()
        found = [hmac.compare_digest(digest, known) for known in self._digests]  # all of them: time tells nothing
        return f"key {found.index(True) + 1}" if any(found) else None


def _later(seconds: int, why: str, code: str) -> Refusal:
    """What is said of a request that may be made again after some seconds."""
    told = f"{why}. Try again in {seconds} s."
    return Refusal(429, told, code=code, headers={"Retry-After": str(seconds)})
