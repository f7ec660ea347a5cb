"""Errors of requests, which each protocol reports in its own form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Refusal(Exception):  # noqa: N818 - it is an answer
    """The refusal of a request, with its reason.

    Args:
        status: HTTP status.
        message: What was required, what was received, and what to do.
        code: Machine-readable code, such as `audio_too_long`.
        param: The invalid parameter.
        headers: Headers of the response.
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
        """Type of the error for OpenAI's clients."""
        known = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
        return known.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")

    def to_dict(self) -> dict[str, Any]:
        """Convert to the JSON format of OpenAI's clients."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


def invalid(message: str, param: str) -> Refusal:
    """The refusal of an invalid value of a parameter."""
    return Refusal(400, message, code="invalid_value", param=param)


def parse_json(text: str | bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object of a client.

    Raises:
        Refusal: It is not a JSON object; `what` begins the message.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"{what} must be JSON. {error}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise Refusal(400, f"{what} must be an object of JSON. Received: {text[:60]!r}.", code="invalid_json")
    return value


class Cancelled(Exception):  # noqa: N818 - it is not an error
    """The job was cancelled: the client has disconnected, or the time limit is over."""
