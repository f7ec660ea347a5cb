"""A server for models over HTTP, WebSockets and Wyoming, with a page for the browser.

`speechrnn serve` starts it; `speechrnn.serving.app.make` creates the ASGI application for another server. It needs the
extra `server`.
"""
