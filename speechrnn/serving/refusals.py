"""What the server refuses, and how that is said; each protocol writes it in a form of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Refusal", "Stopped"]


class Refusal(Exception):  # noqa: N818 - it is an answer
    """A request that gets no answer but a reason.

    Args:
        status: Of HTTP.
        message: What was required, what was received, and what to do.
        code: A word for programs, such as `audio_too_long`.
        param: The parameter that is to blame.
        headers: Of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    @property
    def type(self) -> str:
        """What OpenAI's clients call it."""
        known = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        return known.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def to_dict(self) -> dict[str, Any]:
        """As OpenAI's clients read it."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class Stopped(Exception):  # noqa: N818 - it is no fault
    """Nobody waits any more for what is being worked on."""
