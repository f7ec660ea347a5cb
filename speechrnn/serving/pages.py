"""The page for the browser: static files in the package, which load nothing from other servers."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from speechrnn.serving.refusals import Refusal

_FOLDER = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Only the page's own scripts run, and no other server is contacted."""


def routes() -> list[Route]:
    """Routes of the page at `/` and its files."""
    files = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}

    def answer(name: str) -> Response:
        headers = {
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "no-referrer",
            "Permissions-Policy": "microphone=(self)",
            "Cache-Control": "no-cache",
        }
        return Response(files[name], media_type=_TYPES[Path(name).suffix], headers=headers)

    async def page(request: Request) -> Response:
        return answer("index.html")

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise Refusal(404, f"There is nothing at {request.url.path}.")
        return answer(name)

    return [Route("/", page), Route("/page/{name}", file)]
