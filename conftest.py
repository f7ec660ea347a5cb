"""What docstring examples may use without importing it, what processes of a run share, and which files come first."""

import collections
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


def pytest_collection_modifyitems(items):
    """Run files with many slow tests first, so that no process ends with a long one while the others have nothing."""
    slow = collections.Counter()
    for item in items:
        notebook = item.path.suffix == ".ipynb"
        slow[item.path] += 3 * notebook + (item.get_closest_marker("slow") is not None)
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def _numpy(doctest_namespace):
    doctest_namespace["np"] = np
