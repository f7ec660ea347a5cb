"""Build a voice for recordings of one speaker."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from speechrnn.data.manifest import Example
from speechrnn.faults import Faults, check_options
from speechrnn.features import LogMel
from speechrnn.tasks.synthesis.alignment import phones_and_ends
from speechrnn.tasks.synthesis.analysis import analyzer, levels_of
from speechrnn.tasks.synthesis.model import SpeechSynthesizer
from speechrnn.tasks.synthesis.network import voice_network
from speechrnn.tasks.synthesis.phones import SILENCE
from speechrnn.tasks.synthesis.sound import Sound
from speechrnn.text import Phones

_LOOKED_AT = 50
"""Number of recordings from which the means of spectrum, pitch and level are computed."""


def for_manifest(
    examples: Sequence[Example], *, features: dict[str, Any] | None = None, **network: Any
) -> SpeechSynthesizer:
    """Build an untrained voice for the phones of aligned recordings.

    Args:
        examples: Aligned recordings, see `speechrnn.tasks.synthesis.aligned`.
        features: Options of `Sound`, such as `sample_rate` and `hop`.
        **network: Options of `voice_network`.

    Raises:
        ValueError: No example is aligned, or none can be read, or they are of several speakers; or an option is out of
            its range.
    """
    faults = Faults()
    subjects = sorted({example.subject for example in examples if example.subject})
    if len(subjects) > 1:
        raise ValueError(
            f"A voice is one speaker's. Received: {len(subjects)} of them: {', '.join(subjects):.80}. Keep one."
        )
    check_options(features or {}, list(Sound.__dataclass_fields__), "features")
    sound = Sound(**(features or {}))
    layer = LogMel(**vars(sound))
    phones = {SILENCE}
    for example in examples:
        try:
            phones.update(phones_and_ends(example)[0])
        except ValueError as error:
            faults.add_error(example.id, error)
    analyses, analyzed = [], analyzer(layer)
    for example in examples[:: max(1, len(examples) // _LOOKED_AT)]:
        try:
            analyses.append(analyzed(example))
        except (OSError, ValueError) as error:
            faults.add_error(example.id, error)
    if not analyses:
        first = next(iter(faults), "no example")
        raise ValueError(f"A voice needs aligned recordings that can be read. Received none; {first}")
    vocabulary = Phones(sorted(phones))
    mean = np.concatenate([one.spectrum for one in analyses]).mean(0)
    network_built = voice_network(
        vocabulary_size=len(vocabulary), num_features=layer.num_features, mean=mean.tolist(), **network
    )
    return SpeechSynthesizer(network_built, vocabulary, layer, levels_of(analyses))
