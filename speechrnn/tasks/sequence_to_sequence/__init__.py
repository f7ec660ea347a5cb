"""Sequence to sequence: attention encoder-decoders of symbols, such as letters to phones or one language to another."""

import lazy_loader as _lazy

from speechrnn.models.kinds import Kind

KIND = Kind(
    name="sequence to sequence",
    noun="encoder-decoder",
    method="translate",
    primitive="step",
    model="speechrnn.tasks.sequence_to_sequence.model:SequenceToSequence",
    sessions={"sequence to sequence": "speechrnn.tasks.sequence_to_sequence.session:SequenceSession"},
    run="speechrnn.tasks.sequence_to_sequence.translation:outcomes",
    training="speechrnn.tasks.sequence_to_sequence.training:SequenceTask",
    evaluate="speechrnn.tasks.sequence_to_sequence.evaluation:evaluate",
    export="speechrnn.tasks.sequence_to_sequence.export:SequenceExporter",
    build="speechrnn.tasks.sequence_to_sequence.building:for_manifest",
    command="speechrnn.tasks.sequence_to_sequence.command:SequenceCommand",
    read="speechrnn.tasks.sequence_to_sequence.pairs:read",
    classes=("speechrnn.tasks.sequence_to_sequence.layers:AttentionDecoder",),
)

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "evaluation": ["SequenceReport", "evaluate"],
        "layers": ["AttentionDecoder"],
        "model": ["SequenceToSequence"],
        "network": ["attention_network"],
        "options": ["SearchOptions", "SequenceTraining"],
        "pairs": ["Pair"],
        "search": ["Hypothesis", "beam_search"],
        "session": ["SequenceSession"],
        "translation": ["Translation"],
    },
)
__all__ += ["KIND"]
