"""Recognition: speech to text, with CTC, a transducer, or CTC and attention together."""

import lazy_loader as _lazy

from speechrnn.models.kinds import Kind

KIND = Kind(
    name="recognizer",
    noun="recognizer",
    method="transcribe",
    primitive="logits",
    model="speechrnn.tasks.recognition.model:SpeechRecognizer",
    sessions={
        "recognizer": "speechrnn.tasks.recognition.session:RecognizerSession",
        "streaming recognizer": "speechrnn.tasks.recognition.streaming:StreamingSession",
        "transducer": "speechrnn.tasks.recognition.multipart_sessions:TransducerSession",
        "recognizer with attention": "speechrnn.tasks.recognition.multipart_sessions:AttentionSession",
        "streaming transducer": "speechrnn.tasks.recognition.multipart_sessions:StreamingTransducerSession",
    },
    listening={"recognizer": "speechrnn.tasks.recognition.windows:WindowedSession"},
    run="speechrnn.tasks.recognition.transcription:outcomes",
    training="speechrnn.tasks.recognition.training:recognizer_task",
    evaluate="speechrnn.tasks.recognition.evaluation:evaluate",
    export="speechrnn.tasks.recognition.export:exporter",
    command="speechrnn.tasks.recognition.command:RecognizerCommand",
    streams=True,
    build="speechrnn.tasks.recognition.building:for_manifest",
    classes=(
        "speechrnn.tasks.recognition.attention:AttentionRecognizer",
        "speechrnn.tasks.recognition.transducer:TransducerRecognizer",
        "speechrnn.tasks.recognition.transducer:Joiner",
    ),
)

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "attention": ["AttentionRecognizer"],
        "evaluation": ["evaluate", "print_report"],
        "model": ["SpeechRecognizer"],
        "network": ["recurrent_ctc"],
        "options": ["RecognizerTraining"],
        "session": ["RecognizerSession"],
        "streaming": ["StreamingSession"],
        "transcript": ["Transcript", "Word"],
        "windows": ["WindowedSession"],
        "transducer": ["Joiner", "TransducerRecognizer", "symbol_predictor"],
        "shortcut": ["transcribe"],
    },
)
__all__ += ["KIND"]
