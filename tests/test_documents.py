"""The documents do what they say: the Python blocks of README and docs run as they stand, page by page, and so do the
commands of the pages for beginners, in a folder with small models and recordings."""

import contextlib
import re
import shlex
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import speechrnn as sr
from speechrnn import cli, signals
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.decoding.lm import kneser_ney
from tests.recordings import write_an4, write_edf, write_hypnogram, write_wfdb

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly:UserWarning"),
]

ROOT = Path(__file__).resolve().parents[1]
MADE = ("docs/_build", "docs/reference/generated")
FIRST = ROOT / "tests" / "first_edition"
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Page:
    """How a page is run."""

    cheaper: Mapping[str, str] = field(default_factory=dict)
    """Sizes, and others in their place, with what these ask for; each must occur."""
    given: Mapping[str, object] = field(default_factory=dict)
    """What the page says that its reader has; a function is called in the page's folder."""
    exempt: Mapping[str, str] = field(default_factory=dict)
    """First lines of what is not run, and why."""
    commands: bool = False
    """Whether its commands are run as well."""


def noise(*shape):
    return RNG.normal(size=shape).astype("float32")


def a_network():
    """A network as anyone has one: 3 features, an LSTM, one output."""
    import keras

    from speechrnn.layers import LSTM

    model = keras.Sequential([keras.Input((6, 3)), LSTM(2), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def a_classifier():
    """A classifier of the stage's records that is trained at once."""
    import keras

    from speechrnn.layers import LengthMask, MaskedPooling

    features = sr.RawSignal(50, window=1, hop=1, channels=2, normalize="utterance")
    values, frames = keras.Input((None, 2), name="features"), keras.Input((), dtype="int32", name="frames")
    pooled = MaskedPooling("mean")(values, mask=LengthMask()(frames, values))
    network = keras.Model([values, frames], keras.layers.Dense(2, dtype="float32")(pooled))
    return sr.SequenceClassifier(features, network, ["x", "y"])


def a_layer():
    import keras

    class MyScale(keras.layers.Layer):
        pass

    return MyScale


def pairs():
    from speechrnn.tasks.sequence_to_sequence import Pair

    return [Pair("mellow", "M EH L OW"), Pair("fellow", "F EH L OW")]


NUMBERS = {
    "--units 128 --layers 2": "--units 4 --layers 1",
    "--filters 16 --num-mels 64": "--filters 4 --num-mels 16",
    "--epochs 36 --validate-every 6": "--epochs 1",
    "units=128, layers=2, convolutions=2, filters=16": "units=4, layers=1, convolutions=2, filters=4",
    "epochs=36, learning_rate=5e-3, validate_every=6": "epochs=1",
}
ONE_EPOCH = {'augment="speech", out=': 'augment="speech", options=sr.TrainingOptions(epochs=1), out='}

PAGES = {
    "README.md": Page(cheaper={"units=256, layers=3": "units=4, layers=1, convolutions=2, filters=4"} | ONE_EPOCH),
    "docs/index.md": Page(),
    "docs/start/transcribe.md": Page(commands=True),
    "docs/start/recognizer.md": Page(cheaper=NUMBERS, commands=True),
    "docs/start/classify.md": Page(
        cheaper={
            "np.arange(0, 3, 0.01)": "np.arange(0, 0.6, 0.01)",
            "--units 32 --epochs 15 --batch-size 8": "--units 4 --epochs 1 --batch-size 32",
        },
        commands=True,
    ),
    "docs/start/forecast.md": Page(
        cheaper={"--units 64 --epochs 40 --batch-size 32": "--units 4 --epochs 1 --batch-size 256"}, commands=True
    ),
    "docs/start/stream.md": Page(
        commands=True, exempt={"speechrnn stream --mic": "there may be no microphone; test_cli.py has one"}
    ),
    "docs/howto/own_corpus.md": Page(commands=True),
    "docs/howto/own_language.md": Page(),
    "docs/explain/ctc.md": Page(),
    "docs/explain/padding.md": Page(),
    "docs/classifiers.md": Page(
        cheaper={"convolutions=5": "convolutions=1, units=4", 'class_weights="sqrt"': 'class_weights="sqrt", epochs=1'},
        given={
            "examples": lambda: manifest.read("ecg.jsonl")[:4],
            "valid": lambda: manifest.read("ecg.jsonl")[4:],
            "signal": noise(300, 1),
        },
        exempt={
            "model = classification.kernel_classifier": "of a training set that it does not name; its tests have some",
            "from speechrnn.tasks.classification import Spotter": "needs a classifier of sounds; its tests have one",
        },
    ),
    "docs/decoding.md": Page(),
    "docs/evaluation.md": Page(
        cheaper={"examples, 5, out": "examples, 2, out", "(examples, 5, seed": "(examples, 2, seed"},
        given={
            "answer": SimpleNamespace(
                probabilities=np.full((20, 2), 0.5), classes=("x", "y"), frame_period=0.04, path="r.hea"
            ),
            "signal": noise(40, 2),
            "rate": 50,
            "build": lambda: a_classifier,
            "with_copies": lambda: list,
            "OPTIONS": lambda: sr.ClassifierTraining(epochs=1, batch_size=8),
        },
        exempt={
            'settings = {"plain"': "trains 16 models; tests/test_cross_validation.py holds the same promises",
            "model = speechrnn.averaged": "needs three trained models; tests/test_classifier.py has some",
        },
    ),
    "docs/forecasting.md": Page(
        cheaper={
            'channels=7, context=720, horizon=96, segment=48, decoder="recurrent"': (
                'channels=7, context=24, horizon=12, segment=12, units=4, decoder="recurrent"'
            ),
            "context=720, quantiles": "context=24, quantiles",
            "epochs=10, batch_size=256": "epochs=1, batch_size=64",
        },
        given={"series": noise(24, 7)},
    ),
    "docs/gradients.md": Page(
        cheaper={"LSTM(64,": "LSTM(4,"},
        given={
            "model": a_network,
            "x": noise(8, 6, 3),
            "y": noise(8, 1),
            "batch": noise(4, 6, 3),
            "sequences": [noise(60, 80) for _ in range(8)],
            "targets": [noise(60, 1) for _ in range(8)],
        },
    ),
    "docs/report.md": Page(),
    "docs/runtime.md": Page(given={"MyScale": a_layer}),
    "docs/sequences.md": Page(
        cheaper={
            ", ...]": ", *others]",
            "units=128": "units=4",
            "epochs=20": "epochs=1, batch_size=4",
            'translate("mellow").text': 'translate("mellow", on_error="collect").text',
        },
        exempt={"from speechrnn.report.plots import plot_attention": "test_sequence_to_sequence.py draws one"},
        given={"others": pairs, "held_out": pairs},
    ),
    "docs/serving.md": Page(exempt={"from openai import OpenAI": "needs a server that runs; its tests speak to one"}),
    "docs/signals.md": Page(given={"array": noise(100, 3), "row": noise(1000)}),
    "docs/streaming.md": Page(given={"microphone": [noise(400) for _ in range(10)]}),
    "docs/subwords.md": Page(
        cheaper={"size=200": "size=16"},
        given={"texts": ["lights on", "lights off", "turn the lights off", "turn it on", "turning it off"]},
    ),
    "docs/symbols.md": Page(
        exempt={
            "import speechrnn as sr": "its texts are left out; tests/test_texts.py has some",
            "from speechrnn.tasks.language import": "its sessions are left out; the tests of next items have some",
        }
    ),
    "docs/transcribe.md": Page(),
    "docs/transducers.md": Page(
        cheaper={
            "units=224, layers=3, joint=128": "units=4, layers=1, joint=4",
            'valid=test, out="t.keras"': 'valid=test, options=sr.RecognizerTraining(epochs=1), out="t.keras"',
        }
    ),
    "docs/voice.md": Page(
        exempt={"from speechrnn.data import manifest": "aligns and trains; tests/test_synthesis.py does both"}
    ),
    "docs/words.md": Page(
        cheaper={
            "units=256, layers=3, convolutions=2": "units=4, layers=1, convolutions=2, filters=4",
            "RecognizerTraining(lex": "RecognizerTraining(epochs=1, lex",
        }
    ),
}


def documents():
    """README and the pages of the site that somebody wrote."""
    pages = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
    return ["README.md", *(page for page in pages if not page.startswith(MADE))]


def blocks(page, *languages):
    """The fenced blocks of a page that are in one of these languages: the language, and the text."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    return [(language, text) for language, text in found if language in languages]


# The stage


@pytest.fixture(scope="module", autouse=True)
def _not_compiled():
    """Functions run as they are written: compiling them is most of what tiny networks take, and tested elsewhere."""
    tf = pytest.importorskip("tensorflow")
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Everything that the pages say their reader has."""
    folder = tmp_path_factory.mktemp("stage")
    with contextlib.chdir(folder):
        _recordings()
        _records()
        _texts()
        _models()
    return folder


def _recordings():
    for name in ("talk.mp3", "talk.wav", "clip.wav", "a.wav", "b.flac"):
        soundfile.write(name, 0.1 * noise(12000), 16000)
    Path("clips").mkdir()
    for number in range(8):
        soundfile.write(f"clips/{number}.wav", 0.1 * noise(8000), 16000)
    rows = [f"clips/{number}.wav,{('yes', 'no')[number % 2]},{'abcd'[number // 2]}\n" for number in range(8)]
    Path("clips.csv").write_text("file,sentence,person\n" + "".join(rows))
    write_an4(Path("data/an4"), text="RUBOUT ERASE G M", seconds=0.8, utterances=1)
    numbers = Path("data/spoken_numbers")
    (numbers / "test").mkdir(parents=True)
    shutil.copy(ROOT / numbers / "test/flite-rms-07.opus", numbers / "test")
    for split in ("train", "valid", "test"):
        commands = [example for example in manifest.read(ROOT / numbers / f"{split}.jsonl") if example.text == "start"]
        manifest.write(numbers / f"{split}.jsonl", commands[:4])
    for split in ("train", "dev", "test"):
        speech = [Example(f"clips/{n}.wav", 0.5, text="a cab", subject=f"{split}{n}") for n in range(4)]
        manifest.write(f"{split}.jsonl", speech)


def _records():
    wave = (1024 + 200 * np.sin(np.arange(360 * 16) / 20)).astype(int)
    write_wfdb(Path("100"), np.stack([wave, wave], 1), marks=[(5, "+"), (300, "N"), (700, "N")])
    write_wfdb(Path("r"), np.stack([wave, wave], 1)[:200], rate=50)
    write_edf(Path("night.edf"), [wave[:300], wave[:30]], [100, 10], ["EEG Fpz-Cz", "Temp"])
    write_hypnogram(Path("night-Hypnogram.edf"), [(0.0, 30630.0, "Sleep stage W")])
    signals.write("ecg.npz", noise(600, 1), 300.0)
    ecg = [Example("ecg.npz", 0.3, label="ANO~"[n % 4], subject=str(n), id=f"ecg{n}") for n in range(6)]
    manifest.write("ecg.jsonl", ecg)
    Path("new.csv").write_text("time (s),a,b\n" + "".join(f"{n},{n % 7},{n % 5}\n" for n in range(40)))
    Path("manifests/series").mkdir(parents=True)
    signals.write("hourly.npz", noise(96, 7), 1 / 3600)
    for name, first, count in (("train", 0, 60), ("valid", 60, 36)):
        part = Example("hourly.npz", count * 3600.0, offset=first * 3600.0)
        manifest.write(f"manifests/series/{name}.jsonl", [part])


def _texts():
    Path("digits.txt").write_text("one\ntwo\nthree\n")
    Path("english.lexicon").write_text("#speechrnn-lexicon 1 AH K AE B\na\t1.0\tAH\ncab\t1.0\tK AE B\n")
    model = kneser_ney.train(["a cab", "a cab a", "cab cab"], order=2)
    model.write("lm.arpa")
    model.write("english.lm")


def _models():
    for name, here in {
        "recognizer.keras": "an4.keras",
        "recognizer.onnx": "a.onnx b.onnx an4.onnx",
        "streaming.onnx": "m.onnx",
        "classifier.onnx": "ecg.onnx af.onnx",
        "forecaster.onnx": "load.onnx",
        "language.onnx": "lm.onnx",
    }.items():
        for copy in here.split():
            shutil.copy(FIRST / name, copy)
    from speechrnn.text import lexicons

    vocabulary = lexicons.read("english.lexicon").vocabulary()
    phones = sr.SpeechRecognizer.for_manifest([], vocabulary=vocabulary, units=4, layers=1, features={"num_mels": 16})
    phones.export("phones.onnx")
    _voice()


def _voice():
    """A voice that carries a lexicon of the words on its page."""
    from speechrnn.tasks.recognition import attachments
    from speechrnn.tasks.synthesis import SILENCE, SpeechSynthesizer, voice_network
    from speechrnn.tasks.synthesis.sound import Sound
    from speechrnn.text import Lexicon, Phones

    words = ["good", "morning", "it", "is", "seven", "o'clock", "late"]
    Lexicon({word: [(("AH", "M"), 1.0)] for word in words}).write("voice.lexicon")
    sizes = {"embedding": 2, "encoder_units": 2, "encoder_layers": 1, "units": 2, "layers": 1, "filters": 0}
    network = voice_network(vocabulary_size=4, num_features=80, **sizes)
    usual = {"pitch": (5.0, 0.2), "energy": (-5.0, 1.0)}
    voice = SpeechSynthesizer(network, Phones(["AH", "M", SILENCE]), sr.LogMel(**vars(Sound())), usual)
    voice.export("bare.onnx")
    attachments.attach("bare.onnx", "voice.onnx", lexicon="voice.lexicon")


def at_hand(stage, page, folder):
    """A copy of the stage for one page, without what the page makes itself."""
    shutil.copytree(stage, folder, dirs_exist_ok=True)
    if page == "README.md":
        Path(folder, "an4.keras").unlink()
        Path(folder, "an4.onnx").unlink()
    if page == "docs/sequences.md":
        Path(folder, "phones.onnx").unlink()
    if page == "docs/evaluation.md":  # whose manifests are of records, as r.hea is one
        where = [{"offset": n % 2, "label": "xy"[n % 2], "subject": str(n // 2), "id": f"r{n}"} for n in range(8)]
        for split in ("train", "test"):
            records = [Example(str(Path(folder, "r.hea")), 1.0, **more) for more in where]
            manifest.write(Path(folder, f"{split}.jsonl"), records, overwrite=True)
    return folder


# The tests


def test_every_page_with_python_has_an_entry_and_every_entry_a_page():
    assert {page for page in documents() if blocks(page, "python")} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_runs(page, stage, tmp_path, monkeypatch):
    how = PAGES[page]
    monkeypatch.chdir(at_hand(stage, page, tmp_path))
    namespace = {"__name__": page}
    for name, value in how.given.items():
        namespace[name] = value() if callable(value) else value
    unused, not_run = set(how.cheaper), set(how.exempt)
    for language, text in blocks(page, *(("python", "") if how.commands else ("python",))):
        unused -= {size for size in how.cheaper if size in text}
        for size, small in how.cheaper.items():
            text = text.replace(size, small)
        for part in [text] if language else commands(text):
            first = part.partition("\n")[0]
            skipped = {line for line in how.exempt if first.startswith(line)}
            not_run -= skipped
            if skipped:
                continue
            if language:
                exec(compile(part, f"{page}: {first}", "exec"), namespace)
            else:
                run(part)
    assert unused == set(), "sizes that the page no longer has"
    assert not_run == set(), "exempt, but not in the page"


def commands(text):
    """The commands of a block, one a line."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("speechrnn ")]


def run(command):
    words = shlex.split(command, comments=True)[1:]
    with contextlib.redirect_stdout(Silent()):
        assert cli.main(words) == 0, textwrap.shorten(command, 100)


class Silent:
    """Standard output that nobody reads."""

    encoding = "utf-8"

    def write(self, text):
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False
