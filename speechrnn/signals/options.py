"""What a table does not say of itself and nobody may guess."""

import codecs
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from speechrnn.faults import check_choice, suggestion


@dataclass(frozen=True)
class TableOptions:
    """How to read a CSV, TSV, text or Parquet table that can be read in more than one way.

    What is left out is read from the table; where the table allows several readings, it is refused with the option
    that decides.
    """

    delimiter: str | None = None
    """What separates cells: a character, `tab` or `space`."""
    decimal: Literal[".", ","] | None = None
    """Decimal mark of numbers."""
    thousands: str | None = None
    """Thousands separator of numbers."""
    header: bool | None = None
    """Whether the first line names the columns."""
    encoding: str | None = None
    """Encoding of the text, such as `latin-1`; UTF-8 and UTF-16 are recognized."""
    missing: Sequence[str] = ()
    """Words and numbers that stand for a missing value, such as `ERR` or `-9999`."""
    time_columns: Sequence[str] = ()
    """The column of times, or the two columns of dates and of times of day."""
    time_unit: Literal["s", "ms", "us", "ns", "min", "h", "d"] | None = None
    """Unit of times that are numbers."""
    day_first: bool | None = None
    """Whether 01/02/2024 is the first of February."""
    date_format: str | None = None
    """Format of dates in the codes of `strptime`, such as `%d/%m/%y %H:%M`."""
    time_zone: str | None = None
    """Time zone of times without one, such as `Europe/Berlin` or `UTC`."""

    def __post_init__(self) -> None:
        for name in ("missing", "time_columns"):  # hashable, since what was read is remembered by its options
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", delimiter(self.delimiter))
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"`decimal` must be '.' or ','. Received: {self.decimal!r}.")
        if self.time_unit is not None:
            check_choice("time_unit", self.time_unit, UNITS)
        if len(self.time_columns) > 2:
            raise ValueError(f"`time_columns` must be one or two names. Received: {list(self.time_columns)}.")
        if self.time_zone is not None:
            zone(self.time_zone)
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError as error:
                raise ValueError(f"`encoding` must be one that Python knows. Received: {self.encoding!r}.") from error

    @classmethod
    def of(cls, given: "TableOptions | Mapping[str, Any] | None") -> "TableOptions":
        """Options as they are, or from their names and values, such as `extra["table"]` of a manifest.

        Raises:
            ValueError: There is no such option.
        """
        if isinstance(given, TableOptions):
            return given
        known = [field.name for field in fields(cls)]
        for name in given or {}:
            if name not in known:
                raise ValueError(f"`table` has no option `{name}`.{suggestion(name, known, 'Options')}")
        return cls(**(given or {}))

    def to_dict(self) -> dict[str, Any]:
        """Those that were given, as JSON can hold them."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {name: value for name, value in plain.items() if value not in (None, [])}


def delimiter(name: str) -> str:
    """The character between cells, of its name or as it is.

    Raises:
        ValueError: It is not one character.
    """
    character = {"tab": "\t", "space": " ", "\\t": "\t"}.get(name, name)
    if len(character) != 1 or character in "\"'\n\r":
        raise ValueError(f"`delimiter` must be one character, `tab` or `space`. Received: {name!r}.")
    return character


UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Seconds of each unit of time."""


def zone(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of a name.

    Raises:
        ValueError: There is none.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"`time_zone` must be a name such as Europe/Berlin or UTC. Received: {name!r}.") from error
