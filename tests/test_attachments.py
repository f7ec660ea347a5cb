"""A model that carries its lexicon and language model: words without options, and what is damaged is told."""

import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from speechrnn import cli
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.decoding.lm import kneser_ney
from speechrnn.export.writing import onnx_bytes
from speechrnn.models.loading import load
from speechrnn.runtime import onnxfile
from speechrnn.tasks.recognition import attachments, phones, priors
from speechrnn.tasks.recognition.building import for_manifest
from speechrnn.tasks.recognition.evaluation import evaluate
from speechrnn.tasks.recognition.streaming import StreamingSession
from speechrnn.tasks.recognition.transcript import spell
from speechrnn.text import Lexicon, lexicons
from speechrnn.text.packed import PACKED

WORDS = Lexicon({"sea": [(("S", "IY"), 1.0)], "see": [(("S", "IY"), 1.0)], "dee": [(("D", "IY"), 1.0)]})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    model = for_manifest([], vocabulary=WORDS.vocabulary(), units=4, layers=1, convolutions=1)
    (folder / "m.onnx").write_bytes(onnx_bytes(model))
    WORDS.write(folder / "w.lexicon")
    kneser_ney.train(["dee see"] * 5 + ["see dee", "sea"], order=2).write(folder / "w.lm")
    return folder


@pytest.fixture
def packed(plain, tmp_path):
    out = tmp_path / "packed.onnx"
    attachments.attach(
        plain / "m.onnx", out, lexicon=plain / "w.lexicon", lm=plain / "w.lm", lm_weight=1.0, word_bonus=0.25
    )
    return out


def said(phones):
    """Logits in which phones are said."""
    ids = [i for phone in WORDS.vocabulary().encode(phones) for i in (phone, 0)]
    return 9.0 * np.eye(len(WORDS.vocabulary()))[ids]


def text(model, logits, **given):
    path = attachments.decoder(model, **given)(logits)
    return " ".join(word.word for word in spell(path, model.vocabulary, frame_period=0.04))


def test_a_packed_model_writes_words_and_a_plain_one_phones(plain, packed, tmp_path):
    logits = said("D IY S IY")
    assert text(load(packed), logits) == "dee see"  # which the language model tells from "dee sea"
    assert text(load(plain / "m.onnx"), logits) == "D IY S IY"
    options = attachments.attached_options(load(packed))
    assert (options["lm_weight"], options["word_bonus"]) == (1.0, 0.25)
    assert attachments.attached_options(load(plain / "m.onnx")) == {}
    np.testing.assert_array_equal(
        load(packed).logits([np.zeros(4000, "f4")])[0], load(plain / "m.onnx").logits([np.zeros(4000, "f4")])[0]
    )


def test_what_is_given_takes_the_place_of_what_is_carried(plain, packed, tmp_path):
    model = load(packed)
    assert attachments.decoder(model, lm_weight=0.1).lm_weight == 0.1
    kneser_ney.train(["dee sea"] * 5 + ["see"], order=2).write(tmp_path / "other.lm")
    other = attachments.decoder(model, lm=tmp_path / "other.lm")
    assert other.language_model.order == 2 and other.word_bonus == 0.0
    assert text(model, said("D IY S IY"), lm=tmp_path / "other.lm") == "dee sea"
    (tmp_path / "words.txt").write_text("sea\ndee\n")
    alone = attachments.decoder(model, words=tmp_path / "words.txt")
    assert alone.language_model is None
    assert text(model, said("S IY D IY"), words=tmp_path / "words.txt") == "sea dee"


def test_a_lexicon_that_was_packed_as_text_gives_the_same_words(plain, packed, tmp_path):
    content = packed.read_bytes()
    assert onnxfile.without_attachments(content) == (plain / "m.onnx").read_bytes()
    before = onnxfile.with_attachments(b"", {"lm": b"1"}) + (plain / "m.onnx").read_bytes()
    assert onnxfile.without_attachments(before) == before  # not where they are put
    parts = {name: bytes(part) for name, part in onnxfile.attachments(content).items()}
    assert set(parts) == {"tree", "lm", "search"}
    del parts["tree"]
    parts["lexicon"] = zlib.compress((plain / "w.lexicon").read_bytes())
    (tmp_path / "old.onnx").write_bytes(onnxfile.with_attachments((plain / "m.onnx").read_bytes(), parts))
    old, new = load(tmp_path / "old.onnx"), load(packed)
    for said_phones in ("D IY S IY", "S IY D IY", "IY S"):
        ours, theirs = (
            attachments.decoder(new).n_best(said(said_phones)),
            attachments.decoder(old).n_best(said(said_phones)),
        )
        assert ours == theirs
    held = [lexicons.load(attachments.attached_options(model)["lexicon"]) for model in (old, new)]
    assert dict(held[0]) == dict(held[1]) == dict(WORDS)


def test_a_manifest_is_checked_against_the_words_of_a_packed_model(packed, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=16000) * 0.1, 16000)
    manifest.write(tmp_path / "good.jsonl", [Example(tmp_path / "a.wav", 1.0, text="dee see")])
    assert cli.main(["check-manifest", str(tmp_path / "good.jsonl"), "--model", str(packed)]) == 0
    assert cli.main(["doctor", str(tmp_path / "good.jsonl"), "--model", str(packed)]) == 0
    assert "1 examples, 1 usable" in capsys.readouterr().out
    manifest.write(tmp_path / "bad.jsonl", [Example(tmp_path / "a.wav", 1.0, text="dee bee")])
    assert cli.main(["check-manifest", str(tmp_path / "bad.jsonl"), "--model", str(packed)]) == 1
    assert "has words outside the vocabulary: ['bee']" in capsys.readouterr().out


def test_only_numbers_of_the_search_are_taken_from_a_file(plain, tmp_path):
    hostile = {"search": json.dumps({"lm": "/etc/passwd", "grammar": "x", "beam": 7}).encode()}
    (tmp_path / "h.onnx").write_bytes(onnxfile.with_attachments((plain / "m.onnx").read_bytes(), hostile))
    assert attachments.attached_options(load(tmp_path / "h.onnx")) == {"beam": 7}


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"search": b"{"}, "its lexicon or language model is damaged"),
        ({"lexicon": b"no zlib"}, "its lexicon is damaged"),
        ({"lexicon": b"x\x9c"}, "its lexicon is cut off"),
        ({"lexicon": zlib.compress(b"\xff")}, "cannot be read"),
        ({"lm": b"no model"}, "is no binary language model"),
        ({"tree": b"no tree"}, "must have a lexicon of this version"),
        ({"tree": PACKED + b"x\x9c"}, "its lexicon is cut off"),
    ],
)
def test_what_is_damaged_is_told(plain, tmp_path, parts, told):
    (tmp_path / "d.onnx").write_bytes(onnxfile.with_attachments((plain / "m.onnx").read_bytes(), parts))
    with pytest.raises(ValueError, match=rf"d\.onnx: {told}"):
        attachments.attached_options(load(tmp_path / "d.onnx"))


def test_lexicon_pack(plain, tmp_path, capsys):
    words = ["lexicon", "pack", "--model", str(plain / "m.onnx"), "--lexicon", str(plain / "w.lexicon"), "--lm"]
    assert cli.main([*words, str(plain / "w.lm"), "--beam", "9", "--out", str(tmp_path / "p.onnx")]) == 0
    assert "p.onnx: 0." in capsys.readouterr().out
    assert attachments.attached_options(load(tmp_path / "p.onnx"))["beam"] == 9
    (tmp_path / "w.arpa").write_text("\\data\\\n")
    assert cli.main([*words, str(tmp_path / "w.arpa"), "--out", str(tmp_path / "q.onnx")]) == 2
    assert "must be a binary language model" in capsys.readouterr().err
    (tmp_path / "x.txt").write_text("sea S IH\n")
    words[5] = str(tmp_path / "x.txt")
    assert cli.main([*words[:6], "--out", str(tmp_path / "q.onnx")]) == 2
    assert "phones that the model cannot write: IH, the first in 'sea'" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"A packed model has no option `lm_wieght`\. Did you mean `lm_weight`"):
        attachments.attach(plain / "m.onnx", tmp_path / "q.onnx", lexicon=plain / "w.lexicon", lm_wieght=1)


def test_evaluation_says_which_words_cannot_be_right(plain, packed, tmp_path, caplog):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16000)
    examples = [Example(str(tmp_path / "a.wav"), 0.5, text=text, id=text) for text in ("see dee", "see it")]
    assert len(evaluate(load(packed), examples).utterances) == 2
    assert "1 of 2 texts have words that the lexicon lacks ('it'); they count as errors." in caplog.text
    assert "normalize" not in caplog.text
    evaluate(load(packed), [replace(examples[0], text="SEE, Dee!")])
    assert "('Dee!' 'SEE,'); they count as errors. With `normalize` (--normalize-texts) 0 have." in caplog.text
    caplog.clear()
    evaluate(load(plain / "m.onnx"), examples)
    assert "2 of 2 texts have words, where the model writes phones, since it has no lexicon" in caplog.text


@pytest.fixture(scope="module")
def listener(plain):
    sizes = {"units": 4, "layers": 1, "bidirectional": False, "features": {"normalize": None}}
    model = for_manifest([], vocabulary=WORDS.vocabulary(), **sizes)
    (plain / "s.onnx").write_bytes(onnx_bytes(model, streaming=True))
    attachments.attach(
        plain / "s.onnx", plain / "words.onnx", lexicon=plain / "w.lexicon", lm=plain / "w.lm", lm_weight=1.0
    )
    return plain / "words.onnx"


def heard(session, monkeypatch):
    """The words of a stream in which D IY S IY is said, pushed in three parts, and what was likely before the end."""
    logits = iter([*np.array_split(said("D IY S IY"), 3), said("D IY")[:0]])
    monkeypatch.setattr(session, "advance", lambda samples: next(logits))
    monkeypatch.setattr(session, "flush", lambda: next(logits))
    updates = [session.push(np.zeros(1, "f4")) for _ in range(3)]
    words = [*(word for update in updates for word in update.words), *session.finish().words]
    return [word.word for word in words], words, updates[-1].partial


def test_a_stream_writes_the_words_of_the_whole(listener, plain, monkeypatch):
    session = StreamingSession(listener)
    words, timed, partial = heard(session, monkeypatch)
    assert words == ["dee", "see"] and partial.endswith("see")
    whole = spell(
        attachments.decoder(session)(said("D IY S IY")), session.vocabulary, frame_period=session.frame_period
    )
    assert [w.word for w in timed] == [w.word for w in whole]
    # Frames about a phone are its own only where what follows is known.
    assert all(a.start <= b.start and b.end <= a.end for a, b in zip(whole, timed, strict=True))
    monkeypatch.undo()
    phones = StreamingSession(plain / "s.onnx")
    assert heard(phones, monkeypatch)[0] == ["D", "IY", "S", "IY"]
    monkeypatch.undo()
    phones.search(lexicon=plain / "w.lexicon")
    assert heard(phones, monkeypatch)[0][0] == "dee"
    monkeypatch.undo()
    with pytest.raises(ValueError, match="searched only with a lexicon"):
        phones.search(beam=8)


def test_stream_takes_a_lexicon(plain, listener, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=16000) * 0.1, 16000)
    words = ["stream", "--model", str(plain / "s.onnx"), "--lexicon", str(plain / "w.lexicon"), str(tmp_path / "a.wav")]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert set(out.split()) <= set(WORDS) and "writes phones" not in err
    assert cli.main(["stream", "--model", str(plain / "s.onnx"), "--beam", "8", str(tmp_path / "a.wav")]) == 2
    assert "searched only with a lexicon" in capsys.readouterr().err
    for model, told in (("s.onnx", True), ("m.onnx", True), ("words.onnx", False)):
        assert cli.main(["stream", "--model", str(plain / model), str(tmp_path / "a.wav")]) == 0
        assert ("The model writes phones. To write words, it needs a lexicon" in capsys.readouterr().err) == told


def test_align_takes_words_by_the_lexicon_that_the_model_carries(plain, packed, tmp_path, capsys):
    logits = said("D IY S IY")
    path = phones.align_words(logits, "dee sea", WORDS, WORDS.vocabulary())
    assert [(w.word, w.start, w.end) for w in spell(path, WORDS.vocabulary(), frame_period=1.0)] == [
        ("dee", 0.0, 3.0),
        ("sea", 4.0, 7.0),
    ]
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=16000) * 0.1, 16000)
    assert cli.main(["align", "--model", str(packed), str(tmp_path / "a.wav"), "Dee see!"]) == 0
    found = json.loads(capsys.readouterr().out)["words"]
    assert [word["word"] for word in found] == ["dee", "see"] and found[0]["end"] <= found[1]["start"]
    words = ["align", "--model", str(plain / "m.onnx"), "--lexicon", str(plain / "w.lexicon"), str(tmp_path / "a.wav")]
    assert cli.main([*words, "sea dog"]) == 2
    assert "'dog'" in capsys.readouterr().err


def test_priors_are_taken_out_of_the_logits(tmp_path):
    model = for_manifest([], vocabulary=WORDS.vocabulary(), units=4, layers=1)
    before = model.logits([np.random.default_rng(0).normal(size=8000).astype("f4")])
    found = priors.log_priors(before)
    assert np.exp(found).sum() == pytest.approx(1)
    np.testing.assert_allclose(
        np.exp(found)[0], (np.exp(before[0]) / np.exp(before[0]).sum(1, keepdims=True))[:, 0].mean()
    )
    priors.subtract(model, found, scale=0.5)
    after = model.logits([np.random.default_rng(0).normal(size=8000).astype("f4")])
    np.testing.assert_allclose(after[0], before[0] - 0.5 * found, atol=1e-4)
    with pytest.raises(ValueError, match="fit the bias"):
        priors.subtract(model, found[1:], scale=0.5)
    with pytest.raises(ValueError, match="Received none"):
        priors.log_priors([])
