"""A server of models: HTTP, WebSockets and Wyoming in, text, classes and forecasts out, and a page for the browser.

`speechrnn serve` starts it; `speechrnn.serving.app.make` gives the ASGI application for another server. It needs the
extra `server`.
"""
