"""What the server refuses, and how that is reported; each protocol writes it in a form of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


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


def invalid(message: str, param: str) -> Refusal:
    """What is said of a parameter that has a value it cannot have."""
    return Refusal(400, message, code="invalid_value", param=param)


def of_json(text: str | bytes, what: str) -> dict[str, Any]:
    """An object that a client sent.

    Raises:
        Refusal: It is none; `what` begins the message.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"{what} must be JSON. {error}", code="invalid_json") from error
    if not isinstance(found, dict):
        raise Refusal(400, f"{what} must be an object of JSON. Received: {text[:60]!r}.", code="invalid_json")
    return found


class Stopped(Exception):  # noqa: N818 - it is no fault
    """Nobody waits any more for what is being worked on."""
