"""Recognition: speech to text, with CTC."""

import lazy_loader as _lazy

from speechrnn.models.kinds import Kind

KIND = Kind(
    name="recognizer",
    noun="recognizer",
    method="transcribe",
    verb="transcribe",
    primitive="logits",
    model="speechrnn.tasks.recognition.model:SpeechRecognizer",
    sessions={
        "recognizer": "speechrnn.tasks.recognition.session:RecognizerSession",
        "streaming recognizer": "speechrnn.tasks.recognition.streaming:StreamingSession",
    },
    run="speechrnn.tasks.recognition.transcription:outcomes",
    training="speechrnn.tasks.recognition.training:Recognition",
    evaluate="speechrnn.tasks.recognition.evaluation:evaluate",
    export="speechrnn.tasks.recognition.export:RecognizerExporter",
    command="speechrnn.tasks.recognition.command:RecognizerCommand",
    build="speechrnn.tasks.recognition.building:for_manifest",
)

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "evaluation": ["evaluate", "print_report"],
        "model": ["SpeechRecognizer"],
        "network": ["recurrent_ctc"],
        "options": ["RecognizerTraining"],
        "session": ["RecognizerSession"],
        "streaming": ["StreamingSession"],
        "transcript": ["Transcript", "Word"],
        "front": ["transcribe"],
    },
)
__all__ += ["KIND"]
