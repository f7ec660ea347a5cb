"""What runs without TensorFlow: the session, its answers and its report."""

from dataclasses import dataclass

import numpy as np

from speechrnn.data.examples import read_whole
from speechrnn.faults import Fault, kind_of
from speechrnn.models.answers import Answer, ModelMethods
from speechrnn.runtime.session import Session


@dataclass(frozen=True)
class Level(Answer):
    level: float = 0.0


class Measures(ModelMethods):
    def measure(self, sources, *, on_error="raise"):
        return self._answer(Level, sources, on_error)


class LevelSession(Measures, Session):
    file_kind = noun = "level meter"

    def levels(self, signals):
        return np.stack(self._run(["level"], signals)[0])


def outcomes(model, sources, *, progress=None):
    for source in sources:
        path = getattr(source, "path", source)
        try:
            yield Level(str(path), float(model.levels([read_whole(source, int(model.sample_rate))])[0]))
        except (OSError, ValueError) as error:
            yield Fault(str(path), kind_of(error), str(error))


def evaluate(model, examples, **options):
    found = [model.measure(example).level - example.extra["level"] for example in examples]
    return f"mean error {np.abs(found).mean():.3f}"
