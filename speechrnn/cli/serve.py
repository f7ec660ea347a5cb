"""Serve models over HTTP, WebSockets and Wyoming, with a page for the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from speechrnn.cli import decoding, terminal
from speechrnn.cli.options import Group
from speechrnn.cli.verb import Verb

_EPILOG = """\
The server has OpenAI's /v1/audio/transcriptions, /v1/models and /v1/realtime, whisper.cpp's /inference, Vosk's
WebSocket at / and /vosk, Wyoming on its own port, /v1/classify and /v1/forecast, a page for the browser at /, and
/healthz, /readyz and /metrics. Ctrl-C or SIGTERM stops the server once current requests are answered. It needs
speechrnn[server].
"""


def verb(words: Sequence[str]) -> Verb:
    """The verb."""
    options = Group("speechrnn.serving.options:ServeOptions", "the server")
    return Verb("serve", serve, {"options": (options,), "search": decoding.groups()}, _EPILOG)


def serve(
    *,
    options: Mapping[str, Any],
    search: Mapping[str, Any],
    model: Annotated[tuple[str, ...], "MODEL"] = (),
    streaming_model: Annotated[str | None, "MODEL"] = None,
    threads: int | None = None,
) -> int:
    """Serve models over HTTP, WebSockets and Wyoming, with a page for the browser.

    Args:
        options: Options of the server.
        search: Options of the search of recognizers.
        model: Recognizers, classifiers and forecasters, .onnx or .keras, or names of included models; by default
            `english`.
        streaming_model: Recognizer for streams; by default the first recognizer, through windows if need be.
        threads: Processor threads of each model; by default those that this process may run on, up to eight.
    """
    from speechrnn.serving.options import ServeOptions

    chosen = ServeOptions(**options)
    try:
        from speechrnn.serving import running, service
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("speechrnn"):
            raise
        raise ModuleNotFoundError(
            f"The server needs {error.name}. Install it: pip install 'speechrnn[server]'", name=error.name
        ) from error
    sock = running.listening(chosen)  # before the models are opened, which takes seconds

    def create() -> service.Service:
        for source in (*model, search.get("rescore")):
            terminal.start_tensorflow_for(source)
        return service.Service(model, streaming=streaming_model, options=chosen, threads=threads, decoding=dict(search))

    running.run(sock, create)
    return 0
