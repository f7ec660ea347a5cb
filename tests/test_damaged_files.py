"""Kinds of faults that the campaigns found: each is refused by name, and what is whole is read."""

import gzip
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

from speechrnn import audio, faults, files, signals
from speechrnn.data import corpora
from speechrnn.decoding import rules
from speechrnn.decoding.automata import Grammar
from speechrnn.decoding.lm import kneser_ney, ngram
from speechrnn.faults import Faults
from speechrnn.metrics.calibration import Calibration
from speechrnn.models import loading
from speechrnn.text import Vocabulary

FIRST = Path(__file__).parent / "first_edition"

LETTERS = Vocabulary(" abcdefghijklmnopqrstuvwxyz'")


def test_a_text_file_that_is_not_utf8_is_named_with_its_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntw\xff\n")
    with pytest.raises(ValueError, match=r"a\.txt:2: must be text in UTF-8"):
        faults.read_text(path)
    path.write_text("one\r\nt\u2028wo\x85\n", newline="", encoding="utf-8-sig")
    assert faults.read_lines(path) == ["one", "t\u2028wo\x85"]
    path.write_bytes(b"")
    assert faults.read_lines(path) == []


@pytest.mark.parametrize(
    ("corpus", "name"),
    [("kaldi", "wav.scp"), ("ljspeech", "metadata.csv"), ("cinc2017", "REFERENCE.csv"),
     ("an4", "etc/an4_train.fileids"), ("nab", "labels/combined_windows.json"), ("hapt", "RawData/labels.txt")],
)  # fmt: skip
def test_a_list_of_a_corpus_that_is_no_text_is_refused_by_name(tmp_path, corpus, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"a\xff')
    for other in ("text", "etc/an4_train.transcription", "etc/an4_test.fileids"):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_bytes(b"\xff")
    with pytest.raises((ValueError, OSError), match=path.parent.name):
        corpora.prepare_function(corpus)(tmp_path, tmp_path / "out", faults=Faults())


def test_a_transcript_without_a_recording_is_counted(tmp_path):
    audio.write(tmp_path / "a.wav", np.zeros(800), 8000)
    (tmp_path / "wav.scp").write_text("a a.wav\n")
    (tmp_path / "text").write_text("a yes\nb no\n")
    faults = Faults()
    corpora.prepare_function("kaldi")(tmp_path, tmp_path / "out", faults=faults)
    assert [fault.where for fault in faults] == ["b"] and "wav.scp: has no line for b" in next(iter(faults)).message


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "[]", "null", '{"slope": NaN, "offset": 0}', '{"slope": 1e999, "offset": 0}', "{}",
     '{"slope": "1", "offset": 0}', '{"slope": true, "offset": 0}', '{"slope": -1, "offset": 0}',
     '{"slope": 1%s, "offset": 0}' % ("0" * 400)],
)  # fmt: skip
def test_a_calibration_without_numbers_is_refused_by_name(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"c\.json: "):
        Calibration.read(path)


def test_gzip_data_are_checked_to_their_end(tmp_path):
    path = tmp_path / "a.arpa.gz"
    kneser_ney.train(["yes no", "no yes"], order=2).write(path)
    whole = path.read_bytes()
    assert gzip.decompress(whole).endswith(b"\\end\\\n")
    for damaged in (whole[:-4], whole[:-8] + bytes(4) + whole[-4:]):  # cut off within the checksum, and another one
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.arpa\.gz: is cut off"):
            ngram.load(path, cache=False)


def test_thousands_of_words_make_an_automaton_in_time_that_grows_with_them():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 6)) for _ in range(6000)]
    grammar = Grammar.words(LETTERS, words)  # took minutes, with the square of the words
    assert grammar.allows(LETTERS.encode(f"{words[0]} {words[-1]}")) and not grammar.allows(LETTERS.encode("abcdefg"))


def test_a_choice_of_texts_allows_what_it_did():
    grammar = Grammar.parse(LETTERS, "(go | go on | (stop | halt)+ now | go)* [please]")
    for text, allowed in {
        "go": True, "go on": True, "go go on": True, "stop halt now go please": True, "": True, "please": True,
        "stop": False, "on": False, "go now": False, "goon": False,
    }.items():  # fmt: skip
        assert grammar.allows(LETTERS.encode(text)) == allowed, text


def test_an_automaton_that_would_take_too_long_is_refused_early():
    begun = time.process_time()
    with pytest.raises(ValueError, match="takes too long"):
        Grammar.parse(LETTERS, "(yes | no)* yes " + "(yes | no) " * 40)
    with pytest.raises(ValueError, match="too many groups"):
        rules.parse("(" * 50_000 + "yes" + ")" * 50_000)
    assert time.process_time() - begun < 60


def test_a_sphere_header_that_lost_its_count_is_damaged(tmp_path):
    path = tmp_path / "a.sph"
    soundfile.write(path, np.zeros(4000), 16000, format="NIST", subtype="PCM_16")
    whole = path.read_bytes()
    for lost in (b"sample_count -i 4000\n", b"end_head\n"):
        assert lost in whole
        path.write_bytes(whole.replace(lost, b"\n" * len(lost)))
        with pytest.raises(ValueError, match=r"a\.sph: its header is damaged"):
            audio.read(path)


def test_more_recordings_in_a_file_than_are_read_are_refused_and_not_left_out(tmp_path, monkeypatch):
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.zeros(4000), 16000, format="MP3", subtype="MPEG_LAYER_III")
    path.write_bytes(path.read_bytes() * 4)
    assert len(audio.read(path)[0]) >= 16000
    monkeypatch.setattr("speechrnn.audio.containers._MAX_PARTS", 3)
    with pytest.raises(ValueError, match="more than 3 recordings"):
        audio.read(path)


def test_a_graph_whose_outputs_are_others_is_refused_by_name(tmp_path):
    model = onnx.load(FIRST / "recognizer.onnx")
    for node in model.graph.node:
        node.output[:] = ["other" if name == "frames" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("ReduceSum", ["other"], ["frames"], keepdims=0))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"m\.onnx: its output `frames` must have a row for each"):
        loading.load(path).logits([np.zeros(8000, "float32")])


def test_a_damaged_state_of_training_is_named(tmp_path):
    from speechrnn.training.callbacks import RunState

    for content in ("{", json.dumps({"epoch": 1, "other": 2}), "[]"):
        (tmp_path / "state.json").write_text(content)
        with pytest.raises(ValueError, match=r"state\.json: cannot be read"):
            RunState.read(tmp_path)


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "W64", "CAF", "FLAC"])
def test_a_tag_behind_a_recording_is_no_audio(tmp_path, form):
    path = tmp_path / f"a.{form.lower()}"
    soundfile.write(path, np.full(4000, 0.25), 16000, format=form, subtype="PCM_16")
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    found, _ = audio.read(path)
    assert len(found) == 4000 and (found == 0.25).all()


def test_years_above_fractions_may_name_columns_and_are_asked_about(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("2019,2020,2021\n" + "0.5,0.25,1.5\n" * 3)
    with pytest.raises(ValueError, match=r"t\.csv: begins with a line that may name columns.*Say `header`"):
        signals.probe(path, rate=1.0)
    assert signals.read(path, rate=1.0, table={"header": True})[0].shape == (3, 3)
    path.write_text("3,1,2\n" + "0.5,0.25,1.5\n" * 3)
    assert signals.read(path, rate=1.0)[0].shape == (4, 3)


@pytest.mark.parametrize("at_once", [True, False], ids=["in one step", "where the system has none"])
def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, at_once):
    if at_once and not sys.platform.startswith(("linux", "darwin")):
        pytest.skip("this system cannot exchange folders")
    target, absent = tmp_path / "m", []
    target.mkdir()
    (target / "old").touch()
    replace = os.replace

    def watched(*names):
        absent.append(not target.exists())
        replace(*names)
        absent.append(not target.exists())

    monkeypatch.setattr(os, "replace", watched)
    if not at_once:
        monkeypatch.setattr(files, "_exchanged", lambda *names: False)
    with files.replacing_folder(target) as made:
        (made / "new").touch()
        assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in target.iterdir()] == ["new"] and any(absent) != at_once
    with pytest.raises(ValueError, match="no"), files.replacing_folder(target) as made:
        raise ValueError("no")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("classifier", "classes", "[]"), ("classifier", "classes", '["x"]'), ("classifier", "classes", "[1, 2, 3]"),
        ("classifier", "classes", '"xyz"'), ("classifier", "classes", '["x", "x", "z"]'), ("classifier", "card", "[]"),
        ("classifier", "task", '"frames"'), ("classifier", "task", '"none"'), ("classifier", "channels", "0"),
        ("classifier", "channels", '"two"'), ("classifier", "sample_rate", "1e999"), ("forecaster", "horizon", "0"),
        ("forecaster", "quantiles", "[0.9, 0.5]"), ("forecaster", "quantiles", "[]"), ("forecaster", "scale", "[0, 1]"),
        ("forecaster", "scale", "[1]"), ("forecaster", "context", "1.5"),
    ],
)  # fmt: skip
def test_what_a_model_says_of_itself_and_cannot_be_is_refused_by_name(tmp_path, kind, name, value):
    model = onnx.load(FIRST / f"{kind}.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**properties, f"speechrnn.{name}": value})
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"m\.onnx: "):
        loading.load(tmp_path / "m.onnx")
