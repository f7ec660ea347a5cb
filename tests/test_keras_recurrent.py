"""Keras's own tests of its recurrent layers, with ours put in their place: being a drop-in is what ours promise.

The files are those of the installed Keras, read where they are, so that a new Keras brings its new tests. Only the
names `layers.LSTM`, `layers.GRU` and `layers.SimpleRNN` mean something else in them. Tests of other backends are left
out.
"""

import importlib.util
import types
import unittest
from pathlib import Path

import keras
import pytest

from speechrnn import layers

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning"),
]

FOLDER = Path(keras.__file__).parent / "src" / "layers" / "rnn"
FILES = ["lstm_test", "gru_test", "simple_rnn_test", "bidirectional_test"]
OURS = {name: getattr(layers, name) for name in ("LSTM", "GRU", "SimpleRNN")}


def keras_tests(name):
    """The test cases of one of Keras's files, which finds our layers under Keras's names."""
    path = FOLDER / f"{name}.py"
    if not path.exists():
        return []
    spec = importlib.util.spec_from_file_location(f"keras_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.layers = types.SimpleNamespace(**{**vars(module.layers), **OURS})
    cases = [
        value for value in vars(module).values() if isinstance(value, type) and issubclass(value, unittest.TestCase)
    ]
    loaded = [case for kind in cases for case in unittest.defaultTestLoader.loadTestsFromTestCase(kind)]
    names = [case.id().rpartition(".")[2] for case in loaded]
    return [
        pytest.param(case, id=f"{name}.{test}")
        for case, test in zip(loaded, names, strict=True)
        if test != "test_session" and not test.startswith(("test_torch", "test_jax"))
    ]


CASES = [case for name in FILES for case in keras_tests(name)]


def test_keras_ships_its_tests():
    assert len(CASES) >= 30, f"no tests of recurrent layers in {FOLDER}"


@pytest.mark.parametrize("case", CASES)
def test_ours_pass(case):
    result = unittest.TestResult()
    case.run(result)
    for _, trace in [*result.errors, *result.failures]:
        pytest.fail(trace)
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    assert result.testsRun == 1
