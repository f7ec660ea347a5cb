"""Synthesis: voices that read texts aloud, trained on recordings of one speaker."""

import lazy_loader as _lazy

from speechrnn.models.kinds import Kind

KIND = Kind(
    name="synthesizer",
    noun="voice",
    method="speak",
    primitive="frames",
    model="speechrnn.tasks.synthesis.model:SpeechSynthesizer",
    sessions={"synthesizer": "speechrnn.tasks.synthesis.session:SynthesizerSession"},
    run="speechrnn.tasks.synthesis.speaking:outcomes",
    training="speechrnn.tasks.synthesis.training:SynthesizerTask",
    evaluate="speechrnn.tasks.synthesis.evaluation:evaluate",
    export="speechrnn.tasks.synthesis.export:SynthesizerExporter",
    build="speechrnn.tasks.synthesis.building:for_manifest",
    command="speechrnn.tasks.synthesis.command:SpeakCommand",
)

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "alignment": ["aligned"],
        "evaluation": ["VoiceReport", "distortion", "evaluate"],
        "model": ["SpeechSynthesizer"],
        "network": ["voice_network"],
        "options": ["SpeakingOptions", "SynthesizerTraining", "VoiceNetwork"],
        "phones": ["SILENCE", "Pronouncer"],
        "session": ["SynthesizerSession"],
        "speaking": ["Speech"],
        "text_normalization": ["sentences", "spelled_out"],
    },
)
__all__ += ["KIND"]
