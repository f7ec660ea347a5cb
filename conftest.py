"""What every docstring example may use without importing it, and what all processes of a run of the tests share."""

import os
import shutil
import tempfile

import numpy as np
import pytest


def pytest_configure(config):
    """Let the processes of a run share what XLA compiles, so that a kernel is compiled once and not in each of them."""
    if hasattr(config, "workerinput"):
        return  # what started this process has set it
    folder = tempfile.mkdtemp(prefix="speechrnn-xla-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    given = os.environ.get("TF_XLA_FLAGS", "")
    os.environ["TF_XLA_FLAGS"] = f"{given} --tf_xla_persistent_cache_directory={folder}".strip()


@pytest.fixture(autouse=True)
def _numpy(doctest_namespace):
    doctest_namespace["np"] = np
