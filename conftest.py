"""What every docstring example may use without importing it."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _numpy(doctest_namespace):
    doctest_namespace["np"] = np
