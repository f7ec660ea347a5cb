"""Options of the server, in a module that does not import the server."""

from __future__ import annotations

from dataclasses import dataclass

from speechrnn.faults import require


@dataclass(frozen=True)
class ServeOptions:
    """Addresses, limits and logging of a server."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all of this machine."""
    port: int = 8000
    """Port of HTTP and of WebSockets; 0 for any that is free."""
    wyoming_port: int | None = None
    """Port of Wyoming, the protocol of Home Assistant, such as 10300; it has no API keys. Closed by default."""
    keys: str | None = None
    """File of API keys, one per line; without it everyone can use the server."""
    cors: tuple[str, ...] = ()
    """Other sites whose pages may use the server, such as https://example.org."""
    at_once: int = 32
    """Requests processed at once; others wait."""
    queue: int = 128
    """Most requests that are processed or waiting; any more get 429 with Retry-After."""
    streams: int = 100
    """Most streams at once, over WebSockets and Wyoming."""
    streams_together: int = 16
    """Most streams whose blocks run as one batch, with a float32 model; 1 runs each alone."""
    connections: int = 1000
    """Most connections; any more get 503, and beyond twice as many no answer."""
    gather: float = 0.01
    """Seconds to wait for signals of other requests, to run them as one batch."""
    batch_seconds: float = 60.0
    """Seconds of signal in a batch, padding counted."""
    most_megabytes: float = 100.0
    """Largest upload."""
    most_minutes: float = 120.0
    """Longest recording, and longest stream."""
    upload_seconds: float = 60.0
    """Time in which an upload must have arrived."""
    request_seconds: float = 600.0
    """Time in which a request must be answered."""
    idle_seconds: float = 60.0
    """Time after which a stream that sends nothing is closed."""
    requests_per_minute: int = 0
    """Requests and streams per minute for each key, or without keys for each address; 0 for no limit."""
    grace_seconds: float = 30.0
    """Time to finish current requests when the server is stopped."""
    log_text: bool = False
    """Write recognized text into the log; by default neither audio nor text is stored."""

    def __post_init__(self) -> None:
        """Raises: ValueError: A number is out of its range."""
        counts = "at_once", "queue", "streams", "streams_together", "connections", "batch_seconds", "most_megabytes"
        limits = "most_minutes", "upload_seconds", "request_seconds", "idle_seconds"
        require(self, "positive", lambda value: value > 0, *counts, *limits)
        require(self, "0 or more", lambda value: value >= 0, "gather", "requests_per_minute", "grace_seconds")
        require(self, "from 0 to 65535", lambda port: port is None or 0 <= port <= 65535, "port", "wyoming_port")
        for origin in self.cors:
            if origin == "*" or not origin.startswith(("http://", "https://")) or origin.endswith("/"):
                raise ValueError(f"`cors` must name origins such as https://example.org. Received: {origin!r}.")
