"""Fixtures that many tests share."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real recordings; tests that need it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("SPEECHRNN_DATA") or default).resolve()
    if not folder.is_dir():
        pytest.skip(f"no recordings in {folder}: set SPEECHRNN_DATA to the folder that holds an4, LibriSpeech and fsdd")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _cache_of_models(tmp_path_factory):
    """Exported models go to a folder of this run, and not to the user's."""
    os.environ["SPEECHRNN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _gpu_where_it_is_needed(request):
    """Tests marked `gpu` are skipped where there is none, and never pass there by comparing a processor with itself."""
    if request.node.get_closest_marker("gpu"):
        tf = pytest.importorskip("tensorflow")
        if not tf.config.list_physical_devices("GPU"):
            pytest.skip("TensorFlow sees no GPU here")


@pytest.fixture
def rng():
    """Random numbers that are the same in every run."""
    return np.random.default_rng(0)
