"""Beam search, language models, alignment and calibration from the command line, with a model that spells."""

import itertools
import json

import numpy as np
import pytest
from fakes import Speller, Unsure, record, stand_in, transcribed

from speechrnn import cli
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.decoding import BeamSearch, textgrid
from speechrnn.decoding.options import decoder
from speechrnn.decoding.tuning import tune
from speechrnn.metrics import edits
from speechrnn.metrics.calibration import Calibration
from speechrnn.tasks.recognition.transcript import Word, shift_times


@pytest.fixture(params=[Unsure])
def model(request, monkeypatch):
    made = request.param()
    stand_in(monkeypatch, made)
    return made


@pytest.fixture
def audio(tmp_path):
    return record(tmp_path / "one.wav", "bad cab")


@pytest.fixture
def lm(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("Bad cab!\nbad a cab\n\nCAB bad\n")
    assert (
        cli.main(["lm", "train", str(tmp_path / "text.txt"), "--order", "2", "--out", str(tmp_path / "lm.arpa")]) == 0
    )
    assert "from 3 sentences" in capsys.readouterr().out
    return str(tmp_path / "lm.arpa")


def out_of(capsys, words, code=0):
    assert cli.main(words) == code
    return capsys.readouterr().out.strip()


def test_the_best_path_is_taken_where_nothing_asks_for_more(model, audio, capsys):
    assert out_of(capsys, ["transcribe", audio]) == "bbd cbb"


@pytest.mark.parametrize("options", [[], ["--beam", "8"], ["--lm-weight", "1"]])
def test_with_a_language_model_what_makes_sense_is_heard(options, model, audio, lm, capsys):
    assert out_of(capsys, ["transcribe", audio, "--lm", lm, *options]) == "bad cab"


def test_hotwords_are_heard(model, audio, capsys):
    assert out_of(capsys, ["transcribe", audio, "--hotwords", "bad", "cab"]) == "bad cab"
    assert out_of(capsys, ["transcribe", audio, "--hotwords", "bad cab"]) == "bad cab"
    unmoved = out_of(capsys, ["transcribe", audio, "--beam", "64"])
    assert out_of(capsys, ["transcribe", audio, "--hotwords", "bad", "--hotword-bonus", "0"]) == unmoved != "bad cab"


def test_one_hotword_is_not_taken_for_its_letters(model):
    with pytest.raises(
        TypeError, match=r"`hotwords` must be a list of texts. Received: 'bad'. Write hotwords=\['bad'\]"
    ):
        decoder(model.vocabulary, hotwords="bad")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"hotwords": {"bad": 3.0}}, r"`hotwords` must be a list of texts\. Received: \{'bad': 3\.0\}"),
        ({"hotwords": b"bad"}, "must be a list of texts"),
        ({"hotwords": ["bad", 1]}, "must be a list of texts"),
        ({"beam": 2.5}, r"`beam` must be a whole number\. Received: 2\.5"),
        ({"beam": "8"}, "must be a whole number. Received: '8'"),
        ({"beam": True}, "must be a whole number. Received: True"),
        ({"beam": 8, "word_bonus": "2"}, "`word_bonus` must be a number. Received: '2'"),
    ],
)
def test_options_of_other_types_are_refused(model, given, said):
    with pytest.raises(TypeError, match=said):
        decoder(model.vocabulary, **given)


def test_words_are_the_path_of_a_file(model):
    with pytest.raises(TypeError, match=r"`words` and `grammar` are paths of text files. Received: \['bad'\]"):
        decoder(model.vocabulary, words=["bad"])


def test_words_of_recordings_of_one_name_are_told_apart(model, tmp_path, capsys):
    for folder in "ab":
        (tmp_path / folder).mkdir()
    paths = [record(tmp_path / folder / "one.wav", "bad") for folder in "ab"]
    rows = out_of(capsys, ["transcribe", *paths, "--format", "ctm"]).splitlines()
    assert [row.split(" ")[0] for row in rows] == ["a_one.wav", "b_one.wav"]
    parts = [Example(paths[0], 0.3, offset=at, id=name) for name, at in (("first", 0.0), ("second", 0.1))]
    manifest.write(tmp_path / "parts.jsonl", parts)
    rows = out_of(capsys, ["transcribe", str(tmp_path / "parts.jsonl"), "--format", "ctm"]).splitlines()
    assert sorted({row.split(" ")[0] for row in rows}) == ["first", "second"]
    rows = out_of(capsys, ["transcribe", str(tmp_path / "parts.jsonl"), "--json"]).splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["first", "second"]
    assert "id" not in json.loads(out_of(capsys, ["transcribe", paths[0], "--json"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["transcribe", "a.wav", "--format", "srt", "--cue-seconds", "0"], "`cue_seconds` must be positive"),
        (["speak", "hello", "--pause", "-1"], "`pause` must be in [0, 60]"),
    ],
)
def test_how_answers_are_written_is_checked_before_there_is_one(words, said, monkeypatch, capsys):
    monkeypatch.setattr(cli.terminal, "load_any", lambda *_: pytest.fail("the model was loaded"))
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


def test_a_wrong_encoding_is_refused_once(model, audio, capsys):
    assert cli.main(["transcribe", audio, audio, "--encoding", "pcm16"]) == 2
    assert capsys.readouterr().err.count("an encoding is written like 's16be@16000'") == 1


def test_a_beam_wider_than_memory_is_an_error_without_a_traceback(model, audio, capsys):
    assert cli.main(["transcribe", audio, "--beam", "100000000000"]) == 2
    assert "there is too little memory" in capsys.readouterr().err


def test_a_word_list_or_a_grammar_closes_the_vocabulary(model, audio, tmp_path, capsys):
    (tmp_path / "words").write_text("bad\n\ncab\njig\n")
    assert out_of(capsys, ["transcribe", audio, "--words", str(tmp_path / "words")]) == "bad cab"
    (tmp_path / "grammar").write_text("# what is asked\nasked = bad <what>;\nwhat = (cab | jig)\n")
    assert out_of(capsys, ["transcribe", audio, "--grammar", str(tmp_path / "grammar")]) == "bad cab"


def test_words_have_the_times_they_have_without_a_search(model, audio):
    (plain,) = transcribed(Speller(), [audio])
    for search in (BeamSearch(Speller.vocabulary), decoder(Speller.vocabulary, beam=4)):
        (found,) = transcribed(Speller(), [audio], decoder=search)
        assert [(w.word, w.start, w.end) for w in found.words] == [(w.word, w.start, w.end) for w in plain.words]
        assert [w.confidence for w in found.words] == pytest.approx([w.confidence for w in plain.words])


def test_files_that_begin_with_the_mark_of_windows_are_read(model, audio, tmp_path, capsys):
    for name in ("words", "grammar"):
        (tmp_path / name).write_text("bad\ncab" if name == "words" else "bad cab", encoding="utf-8-sig")
        assert out_of(capsys, ["transcribe", audio, f"--{name}", str(tmp_path / name)]) == "bad cab"
    (tmp_path / "t.txt").write_text("bad cab", encoding="utf-8-sig")
    assert (
        json.loads(out_of(capsys, ["align", "--model", "m.keras", audio, f"@{tmp_path / 't.txt'}"]))["text"]
        == "bad cab"
    )
    lm = [
        "lm",
        "train",
        str(tmp_path / "t.txt"),
        "--no-normalize-texts",
        "--order",
        "1",
        "--out",
        str(tmp_path / "lm.arpa"),
    ]
    assert "5 1-grams" in out_of(capsys, lm)
    assert out_of(
        capsys, ["lm", "perplexity", "--model", lm[-1], str(tmp_path / "t.txt"), "--no-normalize-texts"]
    ).endswith("unknown")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hotwords", "xyz"], "boosted phrase must be written with"),
        (["--lm", "gone.arpa"], "no such language model"),
        (["--words", "gone"], "gone: there is no such file"),
        (["--beam", "0"], "width=0"),
        (["--words", "w", "--grammar", "g"], "Received both"),
        (["--words", "/dev/null"], "at least one word or sentence"),
        (["--hotwords", "a", "--hotword-bonus", "nan"], "must be finite"),
    ],
)
def test_what_cannot_be_searched_with_is_said_with_exit_code_2(options, said, model, audio, capsys):
    assert cli.main(["transcribe", audio, *options]) == 2
    assert said in capsys.readouterr().err


def test_evaluate_takes_the_same_options(model, audio, lm, tmp_path, capsys):
    manifest.write(tmp_path / "m.jsonl", [Example(audio, 0.9, text="bad cab")])
    words = ["evaluate", "--model", "x.keras", str(tmp_path / "m.jsonl"), "--json"]
    assert json.loads(out_of(capsys, words))["wer"] == 1.0
    assert json.loads(out_of(capsys, [*words, "--lm", lm]))["wer"] == 0.0


def test_perplexity_of_what_was_learned_is_less(lm, tmp_path, capsys):
    (tmp_path / "new.txt").write_text("jig jig jig\n")
    known = json.loads(out_of(capsys, ["lm", "perplexity", "--model", lm, str(tmp_path / "text.txt"), "--json"]))
    new = json.loads(out_of(capsys, ["lm", "perplexity", "--model", lm, str(tmp_path / "new.txt"), "--json"]))
    assert known["perplexity"] < new["perplexity"]
    assert (known["unknown"], new["unknown"], new["words"]) == (0, 3, 4)
    assert "3 of 4 words are unknown" in out_of(capsys, ["lm", "perplexity", "--model", lm, str(tmp_path / "new.txt")])


def test_a_manifest_and_a_gzipped_file_are_texts(audio, tmp_path, capsys):
    import gzip

    manifest.write(tmp_path / "m.jsonl", [Example(audio, 0.9, text="bad cab")])
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(b"jig\n"))
    words = [
        "lm",
        "train",
        str(tmp_path / "m.jsonl"),
        str(tmp_path / "t.txt.gz"),
        "--out",
        str(tmp_path / "lm.arpa.gz"),
    ]
    assert "from 2 sentences" in out_of(capsys, words)
    assert out_of(capsys, words, code=2) == ""  # it is there already


def test_tuning_finds_weights_that_hear_what_was_said(model, audio, lm, tmp_path, capsys):
    manifest.write(tmp_path / "m.jsonl", [Example(audio, 0.9, text="bad cab")])
    found = out_of(capsys, ["lm", "tune", "--model", "x.keras", str(tmp_path / "m.jsonl"), "--lm", lm])
    assert found.startswith("--lm-weight ")
    assert "WER 0.00 %" in found
    flags = found.splitlines()[0].split()
    assert out_of(capsys, ["transcribe", audio, "--lm", lm, *flags]) == "bad cab"


def test_where_weights_make_no_difference_the_least_are_taken():
    from lm_texts import model_of

    from speechrnn.text import Vocabulary

    logits = [30.0 * np.eye(4)[[0, 2, 0, 1, 3, 0]]]
    best = tune(BeamSearch(Vocabulary(" ab"), width=8, language_model=model_of(2)), logits, ["a b"])[0]
    assert (best.words.errors, best.lm_weight, best.word_bonus) == (0, 0.0, 0.0)


def test_tuning_runs_the_model_once(model, audio, lm, tmp_path, capsys):
    manifest.write(tmp_path / "m.jsonl", [Example(audio, 0.9, text="bad cab")])
    out_of(capsys, ["lm", "tune", "--model", "x.keras", str(tmp_path / "m.jsonl"), "--lm", lm, "--json"])
    assert len(model.batches) == 1


def test_the_best_trial_is_the_best_of_all_that_were_made(rng):
    from lm_texts import model_of

    from speechrnn.text import Vocabulary

    vocabulary = Vocabulary(" ab")
    logits = [rng.normal(size=(12, 4), scale=2) for _ in range(4)]
    search = BeamSearch(vocabulary, width=8, language_model=model_of(2))
    trials = tune(search, logits, ["a b", "b", "ab a", "ba"])
    assert [t.rank for t in trials] == sorted(t.rank for t in trials)
    best = trials[0]
    again = BeamSearch(
        vocabulary,
        width=8,
        language_model=model_of(2),
        lm_weight=best.lm_weight,
        word_bonus=best.word_bonus,
    )
    errors = sum(
        sum(a != b for a, b in t.pairs)
        for t in (
            edits.align(r.split(), again.n_best(x, 1)[0].text.split())
            for r, x in zip(["a b", "b", "ab a", "ba"], logits, strict=True)
        )
    )
    assert errors == best.words.errors


def test_tuning_needs_texts_and_a_language_model(rng):
    with pytest.raises(ValueError, match="Tuning needs"):
        tune(BeamSearch(Speller.vocabulary), [], [])


# Alignment


def test_align_finds_the_words_of_a_known_text(model, audio, capsys):
    found = json.loads(out_of(capsys, ["align", "--model", "x.keras", audio, "Bad, cab!"]))
    (plain,) = transcribed(Speller(), [audio])
    assert found["text"] == "bad cab"
    assert [(w["start"], w["end"]) for w in found["words"]] == [
        (round(w.start, 3), round(w.end, 3)) for w in plain.words
    ]


def test_align_writes_textgrid_and_ctm_and_shifts(model, audio, tmp_path, capsys):
    out = tmp_path / "one.TextGrid"
    (tmp_path / "said.txt").write_text("bad cab\n")
    words = ["align", "--model", "x.keras", audio, f"@{tmp_path / 'said.txt'}"]
    assert cli.main([*words, "--format", "textgrid", "--out", str(out)]) == 0
    tiers = textgrid.read(out)
    assert [label for *_, label in tiers["words"]] == ["bad", "cab"]
    ctm = [line.split() for line in out_of(capsys, [*words, "--format", "ctm"]).splitlines()]
    assert [(row[0], row[1], row[4]) for row in ctm] == [("one", "1", "bad"), ("one", "1", "cab")]
    later = [line.split() for line in out_of(capsys, [*words, "--format", "ctm", "--shift", "-0.02"]).splitlines()]
    np.testing.assert_allclose([float(r[2]) for r in later], [float(r[2]) - 0.02 for r in ctm], atol=1.1e-3)
    apart = json.loads(out_of(capsys, [*words, "--shift", "-0.02", "0.01"]))["words"]
    ends = [float(r[2]) + float(r[3]) + 0.01 for r in ctm]
    np.testing.assert_allclose([word["end"] for word in apart], ends, atol=2.1e-3)
    assert cli.main([*words, "--shift", "1", "2", "3"]) == 2
    assert "one for starts and one for ends. Received: 3" in capsys.readouterr().err


def test_words_that_are_moved_stay_in_order_and_in_the_recording():
    words = [Word("a", 0.02, 0.1, 0.5), Word("b", 0.12, 0.3, 0.5), Word("c", 0.3, 0.9, 0.5)]
    found = shift_times(words, 0.95, start=-0.06, end=0.1)
    assert [(round(w.start, 3), round(w.end, 3)) for w in found] == [(0, 0.13), (0.13, 0.32), (0.32, 0.95)]
    assert [w.word for w in found] == ["a", "b", "c"] and found[0].confidence == 0.5
    backwards = shift_times(words[:1], 1.0, start=0.2)
    assert (backwards[0].start, backwards[0].end) == pytest.approx((0.22, 0.23))


@pytest.mark.parametrize("shift", [{"start": 0.5, "end": -0.5}, {"start": -2, "end": -2}, {"start": 3, "end": 3}])
def test_no_word_that_is_moved_is_left_without_time(shift):
    words = [Word(name, 0.1 * i, 0.1 * i + 0.04, 0.5) for i, name in enumerate("abcdef")]
    found = shift_times(words, 0.56, **shift)
    tier = textgrid.write({"words": [(w.start, w.end, w.word) for w in found]}, 0.56)
    assert [line.strip()[8:-1] for line in tier.splitlines() if 'text = "' in line and '""' not in line] == list(
        "abcdef"
    )
    assert all(0 <= a.start < a.end <= b.start + 1e-9 for a, b in itertools.pairwise(found)) and found[-1].end <= 0.56


@pytest.mark.parametrize(
    ("text", "said"),
    [("bad cab " * 40, "must fit the audio"), ("quix", "lacks \\['q'")],
)
def test_a_text_that_cannot_align_is_said_with_exit_code_2(text, said, model, audio, capsys):
    import re

    assert cli.main(["align", "--model", "x.keras", audio, text]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_file_of_text_that_is_none_is_named(model, audio, tmp_path, capsys):
    (tmp_path / "t.txt").write_bytes(b"\xff\xfeb")
    assert cli.main(["align", "--model", "x.keras", audio, f"@{tmp_path / 't.txt'}"]) == 2
    assert "t.txt:1: must be text in UTF-8" in capsys.readouterr().err


def test_an_empty_text_aligns_to_nothing(model, audio, capsys):
    assert json.loads(out_of(capsys, ["align", "--model", "x.keras", audio, ""]))["words"] == []
    assert out_of(capsys, ["align", "--model", "x.keras", audio, "", "--format", "ctm"]) == ""


# Confidence


def test_calibrated_confidences_reach_the_transcript(model, tmp_path, capsys):
    files = [record(tmp_path / f"{i}.wav", text) for i, text in enumerate(["jig", "a", "bad", "dig", "c", "jig"])]
    texts = ["jig", "a", "bad", "dig", "c", "jig"]
    examples = [Example(f, 0.06 + 0.12 * len(t), text=t) for f, t in zip(files, texts, strict=True)]
    manifest.write(tmp_path / "m.jsonl", examples)
    out = str(tmp_path / "c.json")
    said = out_of(capsys, ["calibrate", "--model", "x.keras", str(tmp_path / "m.jsonl"), "--out", out])
    assert "6 words, 66.7% right" in said
    (word,) = json.loads(out_of(capsys, ["transcribe", files[0], "--json", "--calibration", out]))["words"]
    (plain,) = json.loads(out_of(capsys, ["transcribe", files[0], "--json"]))["words"]
    assert word["confidence"] == pytest.approx(Calibration.read(out)(np.array([plain["confidence"]]))[0], abs=2e-3)
    assert word["confidence"] != plain["confidence"]


@pytest.mark.parametrize("tunes", [False, True])
def test_examples_without_a_text_are_counted_as_failed(model, audio, lm, tmp_path, capsys, tunes):
    lines = [{"path": audio, "duration": 0.9, "text": "bad cab"}, {"path": audio, "duration": 0.9, "id": "b"}]
    lines.append({"path": "none.wav", "duration": 0.9, "text": "a"})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    words = ["lm", "tune", "--lm", lm] if tunes else ["calibrate", "--out", str(tmp_path / "c.json")]
    assert cli.main([*words, "--model", "x.keras", str(tmp_path / "m.jsonl")]) == 1
    said = capsys.readouterr().err
    assert f"{audio}: has no `text` to compare with" in said
    assert "3 of 4 utterances failed: 1 bad lines, 1 missing, 1 without a text." in said


def test_nothing_recognized_cannot_be_calibrated(model, tmp_path, capsys):
    silence = record(tmp_path / "0.wav", "", gap=0.5)
    manifest.write(tmp_path / "m.jsonl", [Example(silence, 0.5, text="bad")])
    assert (
        cli.main(["calibrate", "--model", "x.keras", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "c.json")]) == 2
    )
    assert "needs recognized words" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lm", "trian"], "unknown verb `lm trian`. Did you mean `lm train`?"),
        (["lm", "tune", "--model", "m", "n"], "--lm LM or --rescore LM is needed"),
        (["align", "--model", "m", "a.wav"], "TEXT is required"),
        (
            ["align", "--model", "m", "a.wav", "t", "--format", "srt"],
            '"srt" for --format. Choose from: "json", "ctm", "textgrid"',
        ),
        (
            ["align", "--model", "m", "a.wav", "t", "--shift", "nan"],
            "--shift must be finite numbers of seconds. Received: nan",
        ),
    ],
)
def test_wrong_usage_is_said(words, said, capsys):
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


def test_options_with_nothing_to_act_on_are_refused(model, audio, capsys):
    for words, message in ((["--lm-weight", "2"], "Give one: `lm` (--lm)"), (["--word-bonus", "1"], "`beam` (--beam)")):
        assert cli.main(["transcribe", audio, "--model", "any.onnx", *words]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["transcribe", audio, "--model", "any.onnx", "--beam", "4", "--word-bonus", "1"]) == 0
