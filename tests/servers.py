"""A real server on this machine for tests, and what is asked of it."""

import contextlib
import threading
import time
from pathlib import Path

import numpy as np

from speechrnn import audio
from speechrnn.models import loading
from speechrnn.serving import running
from speechrnn.serving.options import ServeOptions
from speechrnn.serving.service import Service

ROOT = Path(__file__).resolve().parents[1]
FIRST = Path(__file__).resolve().parent / "first_edition"
CLIPS = sorted((ROOT / "data" / "spoken_numbers" / "test").glob("*.opus"))[::9][:10]
SMALL = str(FIRST / "recognizer.onnx")


@contextlib.contextmanager
def running_server(models, *, decoding=None, **options):
    """A server on a free port of this machine; gives its address, and the service."""
    chosen = ServeOptions(port=0, **options)
    sock = running.listening(chosen)
    service = Service(models, options=chosen, decoding=decoding)
    configuration = running.configuration(service)
    server = service.server = running.Server(configuration, service)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        service.wyoming_port = getattr(configuration.app.state, "wyoming_port", None)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}", service
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        sock.close()


def speech(path, rate=16000):
    """A recording as 16-bit samples at a rate."""
    return np.round(audio.read(path, sample_rate=rate)[0] * 32767).astype("<i2")


def streamed(samples, rate=16000):
    """What `speechrnn stream` writes of 16-bit samples: the words."""
    session = loading.load_session("english", streaming=True)
    signal = audio.resample(samples.astype(np.float32) / 32768, rate, session.sample_rate)
    return [*session.push(signal).words, *session.finish().words]
