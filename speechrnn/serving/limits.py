"""API keys, and limits of concurrent requests and of their rate."""

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

_MAX_CLIENTS = 10_000
"""Clients whose requests are counted; the least recent one is dropped."""


class Gate:
    """Limits the number of concurrent requests or streams; the others are told when to retry.

    Args:
        limit: Maximum number of requests.
        at_once: Number of requests processed at the same time.
        what: Name of the requests in messages.
        on_change: Called with the current number.
    """

    def __init__(self, limit: int, *, at_once: int, what: str, on_change: Callable[[int], None] | None = None) -> None:
        self._limit, self._at_once, self._what, self._on_change = limit, at_once, what, on_change
        self._inside, self._seconds = 0, 1.0

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Context of one request.

        Raises:
            Refusal: 429, the limit is reached.
        """
        if self._inside >= self._limit:
            wait = min(60, max(1, math.ceil(self._inside * self._seconds / self._at_once)))
            raise _retry_later(wait, f"This server takes {self._limit} {self._what} at once", "server_is_busy")
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
    """Limits requests per minute for each client (token bucket); the burst is a quarter of a minute's number.

    Args:
        per_minute: Requests per minute; 0 for no limit.
        clock: Function that returns seconds.

    Example:
    >>> now = 0.0
    >>> rate = Rate(60, clock=lambda: now)
    >>> [rate.wait("a") for _ in range(16)][-2:], rate.wait("b")
    ([0.0, 1.0], 0.0)
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst = per_minute / 60, max(1.0, per_minute / 4)
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until a client may send a request; if 0, the request is counted."""
        if not self._per_second:
            return 0.0
        now = self._clock()
        tokens, last = self._clients.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - last) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._clients[client] = (tokens if wait else tokens - 1, now)
        if len(self._clients) > _MAX_CLIENTS:
            self._clients.popitem(last=False)
        return wait

    def check(self, client: str) -> None:
        """Count a request.

        Raises:
            Refusal: 429, there were too many.
        """
        if wait := math.ceil(self.wait(client)):
            raise _retry_later(wait, "Too many requests in a minute", "rate_limit_exceeded")


class Keys:
    """API keys, stored as digests.

    Args:
        keys: The keys; without any, everyone has access.

    Example:
    >>> keys = Keys(["hush-hush-hush-hush"])
    >>> keys.name("hush-hush-hush-hush") == keys.name("other"), bool(Keys([]))
    (False, False)
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Keys:
        """Read a file of keys, one per line; empty lines and those that begin with `#` are skipped.

        Raises:
            OSError: It cannot be read.
            ValueError: It has no key, or one that is too short.
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
        """Name of a key in logs and limits; None if it is unknown."""
        digest = hashlib.sha256((key or "").encode("utf-8", "replace")).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]  # all of them, against timing attacks
        return f"key {matches.index(True) + 1}" if any(matches) else None


def _retry_later(seconds: int, why: str, code: str) -> Refusal:
    """The refusal of a request that may be retried after some seconds."""
    message = f"{why}. Try again in {seconds} s."
    return Refusal(429, message, code=code, headers={"Retry-After": str(seconds)})
