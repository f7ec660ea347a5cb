"""The front door: what a user types first, in a fresh process, and files of the first edition."""

import ast
import importlib
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import speechrnn as sr
from speechrnn import audio
from speechrnn.data import manifest
from speechrnn.decoding import BeamSearch
from speechrnn.models import kinds, registration

FIRST = Path(__file__).parent / "first_edition"
SHIPPED = "english_letters_numbers"


def fresh(code, **options):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of six short recordings of two people, and their folder."""
    folder, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    lines = ["file,sentence,person"]
    for number in range(8):
        audio.write(folder / f"{number}.wav", (0.1 * rng.normal(size=8000)).astype("float32"), 16000)
        lines.append(f"{number}.wav,{'yes' if number % 2 else 'no'},{'ab'[number // 4]}")
    (folder / "all.csv").write_text("\n".join(lines) + "\n")
    return folder


# Loading and answers


def test_importing_the_package_imports_neither_tensorflow_nor_keras():
    assert fresh("import sys, speechrnn; print([m for m in ('tensorflow', 'keras') if m in sys.modules])") == "[]"


@pytest.mark.parametrize("package", ["speechrnn", *kinds.KINDS])
def test_every_name_that_a_package_offers_is_there(package):
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if getattr(module, name, None) is None] == []


def test_what_is_named_by_a_string_is_there():
    named = set()
    for path in Path(sr.__file__).parent.rglob("*.py"):
        texts = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
        named |= {text for text in texts if isinstance(text, str) and re.fullmatch(r"speechrnn(\.\w+)+:\w+", text)}
    assert len(named) > 60
    for reference in sorted(named):
        assert kinds.resolve(reference) is not None


def test_the_shipped_model_transcribes_without_tensorflow(tmp_path):
    audio.write(tmp_path / "silence.wav", np.zeros(16000, "float32"), 16000)
    code = (
        "import sys, speechrnn as sr\n"
        f"found = sr.transcribe({str(tmp_path / 'silence.wav')!r})\n"
        "words = ' '.join(word.word for word in found.words)\n"
        "print(found.text == words, found.duration, found.ok, 'tensorflow' in sys.modules)"
    )
    assert fresh(code) == "True 1.0 True False"


def test_one_path_gives_one_result_and_a_list_an_iterator(tmp_path):
    path = tmp_path / "silence.wav"
    audio.write(path, np.zeros(16000, "float32"), 16000)
    model = sr.load(SHIPPED)
    assert isinstance(model.transcribe(path), sr.Transcript) and isinstance(model.transcribe(str(path)), sr.Transcript)
    found = model.transcribe([path, tmp_path / "gone.wav"], on_error="collect")
    assert iter(found) is found
    good, bad = found
    assert good.ok and good.error is None and good.path == str(path)
    assert not bad.ok and bad.text == "" and "gone.wav: there is no such file" in bad.error
    assert not model.transcribe(tmp_path / "gone.wav", on_error="collect").ok


def test_samples_in_memory_are_read_as_their_file_is(tmp_path, rng):
    path, model = tmp_path / "noise.wav", sr.load(SHIPPED)
    audio.write(path, rng.normal(0, 0.1, 16000).astype("float32").clip(-1, 1), 8000)
    signal, rate = audio.read(path)
    expected = [round(score, 4) for score in scores(model.transcribe(path))]
    whole = np.rint(signal * 32768).astype("int16")
    stereo = np.stack([signal, signal], 1)
    for given in ((signal, rate), (signal.astype("float64"), np.int64(rate)), (whole, rate), (stereo, rate)):
        assert [round(score, 4) for score in scores(model.transcribe(given))] == expected
    found = model.transcribe([(signal, rate), (signal * np.nan, rate), (signal[:0], rate)], on_error="collect")
    assert [one.ok for one in found] == [True, False, False]
    with pytest.raises(ValueError, match="positive integer, in Hz. Received: '8000'"):
        model.transcribe((signal, "8000"))
    with pytest.raises(ValueError, match="floating point, full scale at 1, or int16.*Received: int32"):
        model.transcribe((whole.astype("int32"), rate))
    with pytest.raises(ValueError, match="transpose"):
        model.transcribe((stereo.T, rate))


def scores(transcript):
    return [transcript.duration, *(word.confidence for word in transcript.words), *map(ord, transcript.text)]


def test_kinds_without_streams_say_what_takes_signals_in_memory():
    with pytest.raises(TypeError, match="a path or an `Example`.*Received: tuple. What is in memory.*`probabilities`"):
        sr.load(FIRST / "classifier.onnx").classify((np.zeros(9), 8000))


@pytest.mark.parametrize(
    "sources",
    [{"array": np.zeros(9), "sampling_rate": 8000}, (8000, np.zeros(9)), ([0.0] * 9, 8000), io.StringIO("RIFF")],
    ids=["mapping", "rate first", "list", "text"],
)
def test_what_looks_like_samples_is_refused_at_once(sources):
    with pytest.raises(TypeError, match=r"Samples need their rate: `\(samples, sample_rate\)`|open for reading bytes"):
        sr.load(SHIPPED).transcribe(sources)


def test_a_calibration_may_be_its_file(tmp_path, rng):
    (tmp_path / "c.json").write_text('{"slope": 0.0, "offset": 0.0}')
    noise = rng.normal(0, 0.1, 32000).clip(-1, 1), 16000
    found = sr.load(SHIPPED).transcribe(noise, calibration=tmp_path / "c.json")
    assert {word.confidence for word in found.words} <= {0.5}


@pytest.mark.parametrize("given", ["a.wav", {"path": "a.wav", "duration": 1.0, "text": "a"}], ids=["path", "mapping"])
def test_what_is_no_example_is_not_evaluated(given):
    with pytest.raises(TypeError, match=f"measured on examples, or on the manifest at a path.* {type(given).__name__}"):
        sr.load(SHIPPED).evaluate([given])


def test_samples_that_cannot_be_read_end_no_batch(rng):
    good = rng.normal(0, 0.1, 16000).clip(-1, 1)
    given = [(good[None], 16000), (good * 32768, 16000), (good, "16000"), (good, 16000)]
    found = list(sr.load(SHIPPED).transcribe(given, on_error="collect"))
    assert [one.ok for one in found] == [False, False, False, True]
    assert "transpose" in found[0].error and "Divide samples that were 16-bit integers by 32768" in found[1].error


@pytest.mark.parametrize("sources", [None, 5, b"a.wav", np.zeros(9)], ids=["nothing", "number", "bytes", "samples"])
def test_what_is_no_source_is_refused_by_its_type(sources):
    model = sr.load(SHIPPED)
    for given in (sources, [sources]):
        with pytest.raises(TypeError, match=f"must be a path, .*Received: {type(sources).__name__}"):
            next(iter(model.transcribe(given)))


def test_what_is_no_option_is_refused_with_what_is_meant():
    model = sr.load(SHIPPED)
    with pytest.raises(TypeError, match=r"no option `sample_rate`. Samples are given with it: `\(samples, sample_rate"):
        model.transcribe(np.zeros(16000, "float32"), sample_rate=16000)
    with pytest.raises(
        TypeError, match=r"no option `alternative`. Did you mean `alternatives`\? Known: alternatives, batch_seconds"
    ):
        model.transcribe("a.wav", alternative=3)


def test_the_first_fault_is_raised_as_what_it_is(tmp_path):
    model = sr.load(SHIPPED)
    with pytest.raises(FileNotFoundError, match=r"gone\.wav: there is no such file"):
        model.transcribe(tmp_path / "gone.wav")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        list(model.transcribe([tmp_path]))
    (tmp_path / "empty.wav").touch()
    with pytest.raises(ValueError, match=r"empty\.wav: is empty"):
        sr.transcribe(tmp_path / "empty.wav")
    with pytest.raises(ValueError, match="`on_error` must be one of raise, collect. Received: on_error='"):
        model.transcribe(tmp_path / "empty.wav", on_error="ignore")
    with pytest.raises(TypeError, match=r"`transcribe` has no option `hotword`\. Did you mean `hotwords`\?"):
        model.transcribe(tmp_path / "empty.wav", hotword=["a"])


@pytest.mark.parametrize("model", [SHIPPED, FIRST / "streaming.onnx", FIRST / "streaming.keras"], ids=str)
def test_a_recognizer_that_listens_is_loaded_in_the_same_way(model):
    session = sr.load(model, streaming=True)
    update = session.push(np.zeros(session.sample_rate // 2, "float32"))
    found = [*update.words, *session.finish().words]  # of silence, and of untrained models
    assert all(word.word for word in found) and session.latency > 0


def test_a_search_that_is_made_already_serves_as_well(tmp_path):
    model = sr.load(SHIPPED)
    audio.write(tmp_path / "tone.wav", 0.1 * np.sin(np.arange(16000) / 5).astype("float32"), 16000)
    search = BeamSearch(model.vocabulary, width=8, word_bonus=3.0)
    found = model.transcribe(tmp_path / "tone.wav", decoder=search)
    assert found == model.transcribe(tmp_path / "tone.wav", beam=8, word_bonus=3.0)
    with pytest.raises(ValueError, match="`decoder` is made already, so that beam cannot be given"):
        model.transcribe(tmp_path / "tone.wav", decoder=search, beam=8)


def test_models_that_are_not_there_are_named():
    with pytest.raises(FileNotFoundError, match=r"gone\.keras: no such model file"):
        sr.load("gone.keras")
    with pytest.raises(FileNotFoundError, match="Did you mean `english_letters_numbers`"):
        sr.load("english_letter_numbers")
    with pytest.raises(ValueError, match="must be a classifier. Received: a recognizer, see `speechrnn transcribe`"):
        sr.load(SHIPPED, kind="classifier")


# From a corpus to a model


def manifest_of(examples, folder):
    manifest.write(folder / "some.jsonl", examples)
    return folder / "some.jsonl"


def test_from_a_table_to_a_trained_model_and_back(table, tmp_path):
    splits = sr.prepare(
        "table", table / "all.csv", out=tmp_path / "m", path_column="file", text_column="sentence",
        subject_column="person",
    )  # fmt: skip
    splits = dict(zip(("train", "valid"), (splits["all"][:4], splits["all"][4:]), strict=True))
    model = sr.SpeechRecognizer.for_manifest(splits["train"], cell="gru", units=4, layers=1)
    run = sr.train(
        model, splits["train"], valid=splits["valid"], augment="speech", out=tmp_path / "m.keras", verbose=False,
        options=sr.TrainingOptions(epochs=1, batch_size=4),
    )  # fmt: skip
    assert isinstance(run.model, sr.SpeechRecognizer) and run.model is run.model

    kept = sr.load(tmp_path / "m.keras")
    report = kept.evaluate(splits["valid"])
    assert str(report) == str(kept.evaluate(manifest_of(splits["valid"], tmp_path))) and "WER" in str(report)
    assert kept.export(tmp_path / "m.onnx", int8=True) == str(tmp_path / "m.onnx")
    with pytest.raises(TypeError, match=r"`export` has no option `int_8`\. Did you mean `int8`"):
        kept.export(tmp_path / "n.onnx", int_8=True)
    assert kept.export(tmp_path / "LOUD.ONNX") == str(tmp_path / "LOUD.ONNX")
    session = sr.load(tmp_path / "m.onnx")
    assert type(session) is not type(kept)
    one, other = (m.transcribe(table / "0.wav") for m in (kept, session))
    assert one.path == other.path and one.duration == other.duration
    assert str(session.evaluate(splits["valid"])).startswith("WER")
    session.export(tmp_path / "copy.onnx")
    assert (tmp_path / "copy.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    with pytest.raises(ValueError, match=r"must end in \.onnx, since this model was exported already"):
        session.export(tmp_path / "m.tflite")


def test_unknown_options_are_refused_by_name(table, tmp_path):
    with pytest.raises(TypeError, match=r"`table` has no option `text_colum`\. Did you mean `text_column`\?"):
        sr.prepare("table", table / "all.csv", out=tmp_path, text_colum="sentence")
    with pytest.raises(ValueError, match="There is no corpus 'an5'. Did you mean `an4`"):
        sr.prepare("an5", table, out=tmp_path)
    with pytest.raises(ValueError, match="`augment` must be one of speech, sensor, or an Augmentation"):
        sr.train(sr.load(FIRST / "recognizer.keras"), [], out=tmp_path / "m.keras", augment="spech")


# Keras


def test_keras_itself_reads_our_files_after_the_import():
    for order in ("import speechrnn, keras", "import keras, speechrnn"):
        code = (
            f"{order}\n"
            f"models = [keras.saving.load_model(rf'{FIRST}/{{name}}.keras') for name in ('recognizer', 'classifier')]\n"
            "print(*(type(model).__name__ for model in models))"
        )
        assert fresh(code).splitlines()[-1] == "SpeechRecognizer SequenceClassifier"


def test_keras_reads_a_network_of_somebody_with_our_layers(tmp_path):
    import keras

    from speechrnn.layers import LSTM, ZeroPadding

    inputs = keras.Input((None, 3))
    keras.Model(inputs, ZeroPadding()(LSTM(2, return_sequences=True)(inputs))).save(tmp_path / "m.keras")
    code = f"import speechrnn, keras; print(type(keras.saving.load_model(r'{tmp_path}/m.keras').layers[1]).__module__)"
    assert fresh(code).splitlines()[-1] == "speechrnn.layers.recurrent"


def test_every_registered_class_has_its_placeholder():

    code = (
        "import keras\n"
        "from speechrnn.models import kinds, registration\n"
        "import speechrnn.training.optimizer\n"
        "modules = [*registration.CLASSES, *(kind.model.split(':')[0] for kind in kinds.kinds())]\n"
        "[__import__(module) for module in modules]\n"
        "print(*(name for name in keras.saving.get_custom_objects() if name.startswith('speechrnn>')))"
    )
    of_training = {"TokenErrorRate", "Accuracy"}  # metrics: nothing that is saved holds them
    ours = {name.removeprefix("speechrnn>") for name in fresh(code).splitlines()[-1].split()}
    known = {name for names in registration.CLASSES.values() for name in names}
    known |= {reference.split(":")[1] for kind in kinds.kinds() for reference in (kind.model, *kind.classes)}
    assert ours - of_training == known


def test_evaluate_and_export_are_still_those_of_keras(tmp_path):
    model = sr.load(FIRST / "classifier.keras")
    model.compile()
    values = np.load(FIRST / "values.npz")
    batch = {"signal": values["records"][None], "length": np.array([40], "int32")}
    assert model.evaluate(batch, np.array([1], "int32"), verbose=0) is not None
    model.export(tmp_path / "served")
    assert (tmp_path / "served" / "saved_model.pb").exists()


# Files of the first edition


def answers(name, model):
    values = np.load(FIRST / "values.npz")
    if name in ("recognizer", "streaming"):
        return model.logits([values["speech"]])[0], values[name]
    if name == "classifier":
        return model.probabilities([values["records"]])[0], values[name]
    if name == "forecaster":
        return model.predict_quantiles([values["records"]])[0], values[name]
    return model.scores(["abc", "a b"]), values[name]


@pytest.mark.parametrize("name", ["recognizer", "streaming", "classifier", "forecaster", "language"])
@pytest.mark.parametrize("ending", [".keras", ".onnx", ".tflite"])
def test_files_of_the_first_edition_answer_as_they_did(name, ending):
    path = FIRST / f"{name}{ending}"
    if not path.exists():
        pytest.skip("only the streaming model was written as .tflite")
    model = sr.load(path)
    assert model.card["name"] == name and kinds.of(model).name == sr.load(FIRST / f"{name}.keras").kind
    assert ending == ".keras" or f"{name}{ending}" in repr(model)
    found, expected = answers(name, model)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
