"""Functions compiled by numba on first use, and kept where there is a place for them.

This module imports numba, and is imported by modules of compiled functions alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

_log = logging.getLogger(__name__)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator as `numba.njit(**options)`, without the interpreter's lock and kept for the next process.

    In a read-only installation of a user without a home there is no place to keep anything: functions are compiled
    by every process, which the log says once.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError as error:  # numba finds no folder that it may write into
            _tell(str(error))
            return numba.njit(nogil=True, **options)(function)

    return decorate


_told: set[str] = set()


def _tell(reason: str) -> None:
    if "unkept" in _told:
        return
    _told.add("unkept")
    _log.info("compiled functions cannot be kept, and are compiled anew: set NUMBA_CACHE_DIR to a folder. (%s)", reason)


class _Compiling(event.Listener):
    """Says, once, that a search is being compiled: a first transcript otherwise waits without a word."""

    def on_start(self, event: event.Event) -> None:
        if "compiling" not in _told:
            _told.add("compiling")
            _log.warning("compiling the search for this processor: about half a minute, once for an installation")

    def on_end(self, event: event.Event) -> None:
        """The next message is of the work itself."""


event.register("numba:compile", _Compiling())
