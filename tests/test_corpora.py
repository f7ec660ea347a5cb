import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from speechrnn import audio
from speechrnn.data import manifest
from speechrnn.data.check import check
from speechrnn.data.corpora import (
    CORPORA,
    an4,
    common_voice,
    fsdd,
    kaldi,
    librispeech,
    ljspeech,
    prepare_function,
    table,
)
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults
from speechrnn.text import Vocabulary
from tests.recordings import write_an4

TONE = 0.1 * np.sin(np.arange(1600))


def record(path, seconds=0.1, rate=16000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.resize(TONE, round(seconds * rate)), rate, **options)


def ids(examples):
    return [example.id for example in examples]


def subjects(examples):
    return {example.subject for example in examples}


@pytest.fixture
def an4_tree(tmp_path):
    return write_an4(tmp_path / "an4")


def test_an4(an4_tree, tmp_path):
    splits = an4.prepare(an4_tree, tmp_path / "out")
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 30, "test": 6}
    first = splits["train"][0]
    assert (first.id, first.text, first.subject, first.duration) == ("an0-strain0-b", "rubout g m", "strain0", 0.1)
    for name, examples in splits.items():
        again = manifest.read(tmp_path / "out" / f"{name}.jsonl")
        assert [vars(e) for e in again] == [vars(e) for e in examples]
    assert ids(an4.prepare(tmp_path, tmp_path / "parent")["test"]) == ids(splits["test"])


@pytest.mark.parametrize(("byte_order", "kind"), [("big", ">i2"), ("little", "<i2")])
def test_an4_headerless(an4_tree, tmp_path, byte_order, kind):
    for path in an4_tree.glob("wav/*/*/*.flac"):
        samples, _ = soundfile.read(path, dtype="int16")
        path.with_suffix(".raw").write_bytes(samples.astype(kind).tobytes())
        path.unlink()
    example = an4.prepare(an4_tree, tmp_path / "out", byte_order=byte_order)["train"][0]
    assert example.duration == 0.1
    signal, rate = audio.read(example.path, encoding=example.encoding)
    assert rate == 16000
    np.testing.assert_allclose(signal, TONE, atol=2**-14)


def test_an4_sphere(an4_tree, tmp_path):
    for path in an4_tree.glob("wav/*/*/*.flac"):
        audio.write(path.with_suffix(".sph"), TONE, 16000)
        path.unlink()
    assert len(an4.prepare(an4_tree, tmp_path / "out")["train"]) == 30


def test_validation_speakers_are_taken_out_of_training(an4_tree, tmp_path):
    splits = an4.prepare(an4_tree, tmp_path / "out", valid_fraction=0.2, seed=3)
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 24, "test": 6, "valid": 6}
    assert not subjects(splits["train"]) & subjects(splits["valid"])
    assert ids(manifest.read(tmp_path / "out/valid.jsonl")) == ids(splits["valid"])
    again = an4.prepare(an4_tree, tmp_path / "out", valid_fraction=0.2, seed=3, overwrite=True)
    assert ids(again["valid"]) == ids(splits["valid"])


def spoil(root):
    """Each kind of fault a folder can have, in the first training recordings; returns their kinds."""
    paths = sorted(root.glob("wav/an4_clstk/*/*.flac"))
    paths[0].unlink()
    paths[1].write_bytes(b"")
    paths[2].write_text("not found")
    transcripts = root / "etc/an4_train.transcription"
    lines = transcripts.read_text().splitlines(keepends=True)
    lines[3], lines[4] = "", "<s> </s> " + lines[4][lines[4].index("(") :]
    transcripts.write_text("".join(lines) + "no name here\n")
    return {"missing": 1, "empty": 1, "undecodable": 1, "without a transcript": 2, "bad lines": 1}


def test_what_is_wrong_is_counted_and_the_rest_done(an4_tree, tmp_path):
    expected = spoil(an4_tree)
    faults = Faults()
    splits = an4.prepare(an4_tree, tmp_path / "out", faults=faults)
    assert faults.counts() == expected
    assert len(splits["train"]) == 25 and len(splits["test"]) == 6


def test_without_a_collector_the_first_fault_is_an_error_and_nothing_is_written(an4_tree, tmp_path):
    (an4_tree / "wav/an4_clstk/strain3/an1-strain3-b.flac").write_bytes(b"")
    with pytest.raises(ValueError, match=r"an1-strain3-b.*is empty"):
        an4.prepare(an4_tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wrong_folder_is_told(an4_tree, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such folder.*speechrnn download an4"):
        an4.prepare(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        an4.prepare(an4_tree / "etc/an4_test.fileids", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="Give the folder that holds AN4's"):
        an4.prepare(an4_tree / "wav", tmp_path / "out")
    shutil.rmtree(an4_tree / "wav")
    with pytest.raises(ValueError, match="No example of the split 'train' can be used"):
        an4.prepare(an4_tree, tmp_path / "out", faults=Faults())


def test_nothing_is_overwritten_unasked(an4_tree, tmp_path):
    (tmp_path / "test.jsonl").write_text("mine")
    with pytest.raises(FileExistsError, match=r"test\.jsonl: exists already"):
        an4.prepare(an4_tree, tmp_path)
    assert (tmp_path / "test.jsonl").read_text() == "mine" and not (tmp_path / "train.jsonl").exists()
    an4.prepare(an4_tree, tmp_path, overwrite=True)
    assert len(manifest.read(tmp_path / "test.jsonl")) == 6


@pytest.fixture
def libri_tree(tmp_path):
    for subset, suffix in (("train-clean-5", "ogg"), ("dev-clean", "flac")):
        for speaker in ("19", "26", "32"):
            chapter = tmp_path / "LibriSpeech" / subset / speaker / "198"
            names = [f"{speaker}-198-000{i}" for i in range(2)]
            for name in names:
                record(chapter / f"{name}.{suffix}", 0.5)
            (chapter / f"{speaker}-198.trans.txt").write_text("".join(f"{n} IT'S A BOY\n" for n in names))
    return tmp_path / "LibriSpeech"


def test_librispeech(libri_tree, tmp_path):
    splits = librispeech.prepare(libri_tree, tmp_path / "out")
    assert {name: len(examples) for name, examples in splits.items()} == {"dev-clean": 6, "train-clean-5": 6}
    assert vars(splits["dev-clean"][0]).items() >= {"text": "it's a boy", "subject": "19", "id": "19-198-0000"}.items()
    one = librispeech.prepare(libri_tree / "dev-clean", tmp_path / "one")
    assert list(one) == ["dev-clean"] and (tmp_path / "one/dev-clean.jsonl").exists()
    some = librispeech.prepare(tmp_path, tmp_path / "some", subsets=["train-clean-5"], valid_fraction=0.3)
    assert {name: len(examples) for name, examples in some.items()} == {"train-clean-5": 4, "valid": 2}
    with pytest.raises(ValueError, match=r"a subset must be one of .*Received: 'dev-claen'\. Did you mean `dev-clean`"):
        librispeech.prepare(libri_tree, tmp_path / "x", subsets=["dev-claen"])
    with pytest.raises(ValueError, match="Give LibriSpeech's folder"):
        librispeech.prepare(libri_tree / "dev-clean/19/198", tmp_path / "x")


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_fsdd(tmp_path, suffix):
    for digit in (0, 7):
        for speaker in ("theo", "lucas", "george"):
            for index in range(7):
                record(tmp_path / "fsdd/recordings" / f"{digit}_{speaker}_{index}.{suffix}", rate=8000)
    (tmp_path / "fsdd/recordings/README.md").touch()
    splits = fsdd.prepare(tmp_path / "fsdd", tmp_path / "out")
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 12, "test": 30}
    assert {e.id.rsplit("_", 1)[1] for e in splits["train"]} == {"5", "6"}
    assert {(e.label, e.text) for e in splits["test"]} == {(0, "zero"), (7, "seven")}
    splits = fsdd.prepare(tmp_path / "fsdd/recordings", tmp_path / "by", by="speaker", held_out=["theo"])
    assert subjects(splits["test"]) == {"theo"} and subjects(splits["train"]) == {"lucas", "george"}
    for options, message in (
        ({"by": "speaker"}, "`held_out` names"), ({"held_out": ["theo"]}, "`held_out` names"),
        ({"by": "age"}, "`by` must"),
        ({"by": "speaker", "held_out": ["teho"]}, "Did you mean `theo`"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            fsdd.prepare(tmp_path / "fsdd", tmp_path / "x", **options)


def test_ljspeech(tmp_path):
    lines = []
    for book in range(1, 5):
        record(tmp_path / f"LJSpeech-1.1/wavs/LJ00{book}-0001.wav", rate=22050)
        lines.append(f'LJ00{book}-0001|in "1992," he said|in "nineteen ninety-two," he said\n')
    (tmp_path / "LJSpeech-1.1/metadata.csv").write_text("".join(lines) + "nonsense\n")
    faults = Faults()
    splits = ljspeech.prepare(tmp_path, tmp_path / "out", valid_fraction=0.25, faults=faults)
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 3, "valid": 1}
    assert splits["train"][0].text == "in nineteen ninety two he said"
    assert faults.counts() == {"bad lines": 1} and next(iter(faults)).where.endswith("metadata.csv:5")


def test_common_voice(tmp_path):
    header = "client_id\tpath\tsentence_id\tsentence\tup_votes\n"
    for split in ("train", "dev", "test", "validated"):
        (tmp_path / f"{split}.tsv").write_text(f'{header}c{split}\t{split}1.mp3\tx\t"Grüß Gott", sagte er.\t2\n')
        record(tmp_path / "clips" / f"{split}1.mp3", 1.0, rate=32000, format="MP3")
    with (tmp_path / "train.tsv").open("a") as file:
        file.write("c2\tgone\tx\tHallo\t2\nc3\ttoo few\n")
    faults = Faults()
    splits = common_voice.prepare(tmp_path, tmp_path / "out", faults=faults)
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 1, "dev": 1, "test": 1}
    example = splits["train"][0]
    assert (example.text, example.subject, example.duration) == ("grüß gott sagte er", "ctrain", 1.0)
    assert faults.counts() == {"bad lines": 1, "missing": 1}
    assert list(common_voice.prepare(tmp_path, tmp_path / "v", splits=["validated"])) == ["validated"]
    with pytest.raises(FileNotFoundError, match=r"other\.tsv: is missing. Tables there: dev, test, train, validated"):
        common_voice.prepare(tmp_path, tmp_path / "v", splits=["other"])


def kaldi_folder(folder, **tables):
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in tables.items():
        (folder / name.replace("_", ".")).write_text(lines)


def test_kaldi(tmp_path):
    for name in ("a", "b", "c"):
        record(tmp_path / f"wav/{name}.wav", 1.0)
    kaldi_folder(
        tmp_path / "train",
        wav_scp="a wav/a.wav\nb\twav/b.wav\nc sox wav/c.wav -t wav - |\nd wav/none.wav\nd wav/b.wav\ne wav/a.wav\n",
        text="a  It's TWENTY-ONE\nb YES\nc NO\nd NO\n",
        utt2spk="a ann\nb bob\nc cy\nd cy\n",
    )
    faults = Faults()
    (examples,) = kaldi.prepare(tmp_path / "train", tmp_path / "out", faults=faults).values()
    assert [(e.id, e.text, e.subject) for e in examples] == [("a", "it's twenty one", "ann"), ("b", "yes", "bob")]
    assert faults.counts() == {
        "bad lines": 1, "commands instead of files": 1, "without a transcript": 1, "missing": 1,
    }  # fmt: skip
    assert "c is a command, which is not run: 'sox wav/c.wav -t wav - |'" in next(
        fault.message for fault in faults if fault.kind.startswith("commands")
    )


def test_kaldi_segments_of_long_recordings(tmp_path):
    record(tmp_path / "data/long.wav", 3.0)
    kaldi_folder(
        tmp_path / "kaldi/dev",
        wav_scp="long long.wav\n",
        text="u1 one\nu2 two\nu3 three\nu4 four\nu5 five\n",
        segments="u1 long 0.5 1.25\nu2 long 2 -1\nu3 long 2 9\nu4 long 2 1\nu5 short 0 1\n",
    )
    faults = Faults()
    splits = kaldi.prepare(tmp_path / "kaldi", tmp_path / "out", faults=faults, root=str(tmp_path / "data"))
    assert [(e.id, e.offset, e.duration) for e in splits["dev"]] == [("u1", 0.5, 0.75), ("u2", 2.0, 1.0)]
    assert faults.counts() == {"bad lines": 1, "missing": 1, "shorter than their segment": 1}
    with pytest.raises(ValueError, match="has no `wav.scp`, in it or one folder down"):
        kaldi.prepare(tmp_path / "data", tmp_path / "out")


def test_kaldi_channels_of_a_recording(tmp_path):
    soundfile.write(tmp_path / "call.wav", np.full((24000, 2), 0.1), 8000)
    kaldi_folder(
        tmp_path / "cut",
        wav_scp="call ../call.wav\n",
        text="u1 one\nu2 two\nu3 three\n",
        segments="u1 call 0 1 0\nu2 call 0 1 1\nu3 call 0 1 left\n",
    )
    faults = Faults()
    (examples,) = kaldi.prepare(tmp_path / "cut", tmp_path / "out", faults=faults).values()
    assert [(e.id, e.channel) for e in examples] == [("u1", 0), ("u2", 1)]
    assert "the channel of u3 must be a number from 0. Received: 'left'" in str(next(iter(faults)))
    kaldi_folder(tmp_path / "sides", wav_scp="c-A ../call.wav\nc-B ../call.wav\n", text="c-A one\nc-B two\n")
    (tmp_path / "sides" / "reco2file_and_channel").write_text("c-A call A\nc-B call B\n")
    (examples,) = kaldi.prepare(tmp_path / "sides", tmp_path / "out").values()
    assert [(e.id, e.channel) for e in examples] == [("c-A", 0), ("c-B", 1)]
    kaldi_folder(tmp_path / "apart", wav_scp="c-B ../call.wav\n", text="c-B two\n")  # a file that is one side
    (tmp_path / "apart" / "reco2file_and_channel").write_text("c-B call B\n")
    (examples,) = kaldi.prepare(tmp_path / "apart", tmp_path / "out").values()
    assert [(e.id, e.channel) for e in examples] == [("c-B", None)]


def test_table(tmp_path):
    for name in ("a/1.wav", "b/1.wav", "b/2.wav"):
        record(tmp_path / name)
    rows = 'file;what;who;set\na/1.wav;"Yes; no";ann;train\nb/1.wav;Two;bob;train\nb/2.wav;Three;cy;test set\n'
    (tmp_path / "t.csv").write_text("\ufeff" + rows.replace("test set", "test"), encoding="utf-8")
    names = {"path_column": "file", "text_column": "what", "subject_column": "who"}
    splits = table.prepare(tmp_path / "t.csv", tmp_path / "out", **names)
    assert ids(splits["t"]) == ["a/1", "b/1", "2"]
    assert [e.text for e in splits["t"]] == ["yes no", "two", "three"]
    splits = table.prepare(tmp_path / "t.csv", tmp_path / "by", split_column="set", normalize=False, **names)
    assert [e.text for e in splits["train"]] == ["Yes; no", "Two"] and ids(splits["test"]) == ["2"]
    (tmp_path / "u.csv").write_text(rows)
    with pytest.raises(ValueError, match="Cannot name a split 'test set'"):
        table.prepare(tmp_path / "u.csv", tmp_path / "u", split_column="set", **names)
    with pytest.raises(ValueError, match=r"has no column `fiel`. Did you mean `file`\? Columns: file, what"):
        table.prepare(tmp_path / "t.csv", tmp_path / "u", **{**names, "path_column": "fiel"})


def test_columns_of_a_table_that_are_called_as_in_a_manifest_are_used(tmp_path):
    soundfile.write(tmp_path / "call.wav", np.full((8000, 2), 0.1), 8000)
    (tmp_path / "t.csv").write_text(
        "path,channel,text,subject,split\ncall.wav,0,one,ann,train\ncall.wav,1,two,bob,test\ncall.wav,2,three,cy,train\n"
        "call.wav,left,four,di,train\ncall.wav,,five,ed,train\n"
    )
    faults = Faults()
    splits = table.prepare(tmp_path / "t.csv", tmp_path / "out", faults=faults)
    found = [(name, e.id, e.channel, e.text, e.subject) for name, part in splits.items() for e in part]
    assert found == [
        ("train", "call-0", 0, "one", "ann"), ("train", "call", None, "five", "ed"), ("test", "call-1", 1, "two", "bob")
    ]  # fmt: skip
    assert faults.counts() == {"bad lines": 1, "lacking the channel": 1}
    assert "t.csv:5: the column `channel` must hold channels" in str(next(iter(faults)))
    (tmp_path / "s.csv").write_text("path,start,text\ncall.wav,0_0,one\n")
    with pytest.raises(ValueError, match="`start` must hold seconds. Received: '0_0'"):
        table.prepare(tmp_path / "s.csv", tmp_path / "s", offset_column="start")


def test_table_of_segments_and_labels(tmp_path):
    record(tmp_path / "long.wav", 3.0)
    (tmp_path / "t.tsv").write_text(
        "path\tstart\tlen\tclass\nlong.wav\t0.5\t1.0\tyes\nlong.wav\t2\t0.5\tno\n"
        "long.wav\t2.5\t1.0\tno\nlong.wav\tnow\t1.0\tno\nlong.wav\t-1\t1.0\tno\n\t1\t1\tno\n"
    )
    faults = Faults()
    (examples,) = table.prepare(
        tmp_path / "t.tsv", tmp_path / "out", text_column=None, label_column="class", offset_column="start",
        duration_column="len", faults=faults,
    ).values()  # fmt: skip
    assert [(e.id, e.offset, e.duration, e.label) for e in examples] == [
        ("long-0.5", 0.5, 1.0, "yes"), ("long-2", 2.0, 0.5, "no"),
    ]  # fmt: skip
    assert faults.counts() == {"bad lines": 2, "shorter than their segment": 1, "invalid": 1}
    (tmp_path / "c.csv").write_text("path,class\nlong.wav,yes\n")
    ((example,),) = table.prepare(tmp_path / "c.csv", tmp_path / "classes", label_column="class").values()
    assert (example.label, example.text) == ("yes", None)
    with pytest.raises(ValueError, match="has no column `said`"):
        table.prepare(tmp_path / "c.csv", tmp_path / "x", text_column="said", label_column="class")
    (tmp_path / "u.csv").write_text("path,text,offset,duration\nlong.wav,one,0.5,1\nlong.wav,two,2,0.5\n")
    (examples,) = table.prepare(tmp_path / "u.csv", tmp_path / "segments").values()
    assert [(e.offset, e.duration, e.text) for e in examples] == [(0.5, 1.0, "one"), (2.0, 0.5, "two")]
    with pytest.raises(ValueError, match="name their `offset_column`"):
        table.prepare(tmp_path / "t.tsv", tmp_path / "x", text_column=None, duration_column="len")


def test_segments_of_a_table_by_their_ends(tmp_path):
    record(tmp_path / "long.wav", 3.0)
    (tmp_path / "t.csv").write_text("path,text,start,end\nlong.wav,one,0.5,1.5\nlong.wav,two,2,2.5\nlong.wav,no,2,1\n")
    faults = Faults()
    (examples,) = table.prepare(tmp_path / "t.csv", tmp_path / "out", faults=faults).values()
    assert [(e.offset, e.duration, e.text) for e in examples] == [(0.5, 1.0, "one"), (2.0, 0.5, "two")]
    assert faults.counts() == {"shorter than their segment": 1}
    (tmp_path / "u.csv").write_text("path,text,from,end,till\nlong.wav,one,0.5,1.5,2\n")
    for columns, seconds in (({}, 1.0), ({"end_column": "till"}, 1.5), ({"duration_column": "end"}, 1.5)):
        (examples,) = table.prepare(
            tmp_path / "u.csv", tmp_path / "out", offset_column="from", overwrite=True, **columns
        ).values()
        assert [(e.offset, e.duration) for e in examples] == [(0.5, seconds)]
    with pytest.raises(ValueError, match="say the same of segments"):
        table.prepare(
            tmp_path / "u.csv", tmp_path / "x", offset_column="from", end_column="end", duration_column="till"
        )


def test_a_list_of_texts_is_not_one_text(tmp_path):
    with pytest.raises(
        TypeError, match=r"`splits` must be a list of texts. Received: 'train'. Write splits=\['train'\]"
    ):
        common_voice.prepare(tmp_path, tmp_path / "out", splits="train")


def test_a_table_has_a_test_split_and_says_which_option_is_wrong(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    names = [f"{word}_{who}" for word in ("yes", "no") for who in "abcd"]
    for name in names:
        record(clips / f"{name}.wav", 0.2)
    rows = "".join(f"{name}.wav,{name[:-2]},{name[-1]}\n" for name in names)
    (tmp_path / "t.csv").write_text(f"file,word,who\n{rows}")
    columns = {"path_column": "file", "label_column": "word", "subject_column": "who"}
    fractions = {"valid_fraction": 0.25, "test_fraction": 0.25}
    splits = table.prepare(tmp_path / "t.csv", tmp_path / "out", root=clips, **columns, **fractions)
    people = {name: {example.subject for example in examples} for name, examples in splits.items()}
    assert {name: len(found) for name, found in people.items()} == {"train": 2, "valid": 1, "test": 1}
    assert set.union(*people.values()) == set("abcd")
    assert set(table.prepare(tmp_path / "t.csv", tmp_path / "two", root=clips, **columns, test_fraction=0.5)) == {
        "train", "test",
    }  # fmt: skip
    (tmp_path / "odd.csv").write_text("file,word,who\nyes_a.wav,yes ,a \nno_a.wav, ,a\n")
    faults = Faults()
    ((example,),) = table.prepare(tmp_path / "odd.csv", tmp_path / "odd", root=clips, faults=faults, **columns).values()
    assert (example.label, example.subject) == ("yes", "a") and faults.counts() == {"without a class": 1}
    with pytest.raises(ValueError, match="no column `path`. Columns: file, word, who. Name another with `path_column`"):
        table.prepare(tmp_path / "t.csv", tmp_path / "x", label_column="word")
    with pytest.raises(
        ValueError, match=r"none of its 8 recordings is there: no such file as .*or from another `root`"
    ):
        table.prepare(tmp_path / "t.csv", tmp_path / "x", faults=Faults(), **columns)


def test_parts_of_one_recording_are_never_in_two_splits(tmp_path):
    rows = ["path,label,offset,duration"]
    for number in range(6):
        record(tmp_path / f"{number}.wav", 2.0)
        rows += [f"{number}.wav,{'ab'[part % 2]},{part * 0.5},0.5" for part in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    splits = table.prepare(tmp_path / "t.csv", tmp_path / "out", label_column="label", valid_fraction=0.34)
    train, valid = ({example.path for example in splits[name]} for name in ("train", "valid"))
    assert (len(train), len(valid), train & valid) == (4, 2, set())
    assert {example.label for example in splits["valid"]} == {"a", "b"}
    (tmp_path / "one.csv").write_text("\n".join(rows[:5]) + "\n")
    with pytest.raises(ValueError, match=r"No class has two recordings, .* Received: recordings: 1, examples: 4"):
        table.prepare(tmp_path / "one.csv", tmp_path / "x", label_column="label", valid_fraction=0.34)


@pytest.mark.parametrize(("name", "mark"), [("tab", "\t"), ("space", " "), ("|", "|")])
def test_a_separator_is_named_as_in_tables_of_signals(name, mark, tmp_path):
    record(tmp_path / "a.wav", 0.5)
    (tmp_path / "t.txt").write_text(f"path{mark}text\na.wav{mark}yes\n")
    ((example,),) = table.prepare(tmp_path / "t.txt", tmp_path / "out", delimiter=name).values()
    assert example.text == "yes"
    with pytest.raises(ValueError, match="`delimiter` must be one character, `tab` or `space`. Received: 'tabs'"):
        table.prepare(tmp_path / "t.txt", tmp_path / "x", delimiter="tabs")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column `path`"), (b"path,path,text\n", "more than one column `path`"),
        (b"path,text\n", "has no row that can be used"), (b"path,text\n\xff,a\n", "t.csv:2: must be text in UTF-8"),
        (b"path,text\na.wav\n", r"t\.csv:2: should have 2 columns. Received: 1"),
        (b"path,text\n\nnone.wav,a\n", "no such file"),
        (b'path,text\na.wav,"one\nb.wav,two\n', r"t\.csv:2: has a quotation mark that none closes"),
        (b'path,text\na.wav,"one" two\n', r"t\.csv:2: .*Check its quotation marks"),
    ],
)  # fmt: skip
def test_bad_tables(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        table.prepare(tmp_path / "t.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_table_without_a_row_that_can_be_used_says_why(tmp_path):
    (tmp_path / "t.csv").write_text("path,text\na.wav,two, three\nb.wav,one, four\n")
    with pytest.raises(ValueError, match=r"no row .* First: .*t\.csv:2: should have 2 columns. Received: 3"):
        table.prepare(tmp_path / "t.csv", tmp_path / "out", faults=Faults())


def test_every_corpus_has_its_function():
    for name in CORPORA:
        module = {"uea": "ucr"}.get(name, name)  # which read one format
        assert prepare_function(name).__module__ == f"speechrnn.data.corpora.{module}"
    with pytest.raises(ValueError, match=r"no corpus 'an5'\. Did you mean `an4`"):
        prepare_function("an5")


def test_data_modules_import_neither_tensorflow_nor_librosa():
    names = ["audio", "files", "faults", "text", "data.manifest", "data.check", "data.download"]
    names += [f"data.corpora.{name}" for name in CORPORA]
    code = f"import sys, {', '.join('speechrnn.' + n for n in names)}\nprint([m for m in sys.modules if m in "
    code += "('tensorflow', 'keras', 'librosa', 'scipy')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.fixture
def mixed(tmp_path):
    """Examples of which only the first is sound, with the kinds of fault of each."""
    record(tmp_path / "good.wav", 1.0)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("hello")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    record(tmp_path / "cut.wav", 1.0)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:9999])
    for name in ("odd", "brief", "long", "blank"):
        record(tmp_path / f"{name}.wav", 1.0)
    cases = [
        ("good", "yes", []), ("gone", "yes", ["missing"]), ("empty", "yes", ["empty"]),
        ("text", "yes", ["undecodable"]), ("good", "yes", ["duplicate"]),
        ("silent", "yes", ["silent"]), ("nan", "yes", ["not finite"]), ("cut", "yes", ["truncated"]),
        ("odd", "yés!", ["outside the vocabulary"]), ("brief", "yes" * 40, ["too short for their text"]),
        ("long", "yes", ["of another duration"]), ("blank", " ", ["without a transcript"]),
    ]  # fmt: skip
    examples = [
        Example(str(tmp_path / f"{name}.wav"), 2.0 if name == "long" else 1.0, text=text, subject=name[0])
        for name, text, _ in cases
    ]
    return examples, [kind for _, _, kinds in cases for kind in kinds]


def test_check_finds_every_kind_of_fault(mixed):
    examples, kinds = mixed
    done = []
    report = check(examples, vocabulary=Vocabulary(" esy"), progress=done.append)
    assert sorted(fault.kind for fault in report.faults) == sorted(kinds)
    assert all(count == 1 for count in report.counts.values())
    assert (report.examples, report.usable, sum(done)) == (12, 1, 12)
    assert report.hours == pytest.approx(13 / 3600) and report.usable_hours == pytest.approx(1 / 3600)
    assert not report.ok and check(examples[:1]).ok
    assert "12 examples, 0.00 h" in str(report) and "1 silent" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["counts"]["missing"] == 1
    for fault in report.faults:
        assert re.search(r"[.:]", fault.message), fault


def test_check_says_exactly_when_a_text_cannot_fit(tmp_path):
    record(tmp_path / "a.wav", (400 + 160 * 9) / 16000)  # ten frames
    for text, stride, fits in (
        ("abcdefghij", 1, True), ("abcdefghijk", 1, False), ("aabbcc", 1, True), ("aabbccd", 1, True),
        ("aabbccdd", 1, False), ("abcde", 2, True), ("abcdef", 2, False), ("abcd", 3, True), ("abcde", 3, False),
    ):  # fmt: skip
        example = Example(str(tmp_path / "a.wav"), (400 + 160 * 9) / 16000, text=text)
        assert check([example], stride=stride).ok is fits, (text, stride)
        assert check([example], stride=stride, frame_count=lambda n: 10).ok is fits


def test_check_takes_segments_channels_and_unreadable_lines(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([np.resize(TONE, 32000), np.zeros(32000)], axis=1), 16000)
    whole = Example(str(tmp_path / "a.wav"), 1.0, text="a", id="1")
    faults = Faults()
    faults.add("m.jsonl:3", "bad lines", "m.jsonl:3: is not JSON.")
    report = check(
        [whole, Example(whole.path, 0.5, offset=1.5, id="2"), Example(whole.path, 1.0, offset=1.5, id="3"),
         Example(whole.path, 1.0, channel=1, id="4"), Example(whole.path, 1.0, channel=2, id="5")],
        faults=faults,
    )  # fmt: skip
    assert [(f.where, f.kind) for f in report.faults] == [
        ("m.jsonl:3", "bad lines"), ("3", "shorter than their segment"), ("4", "silent"), ("5", "lacking the channel"),
    ]  # fmt: skip
    assert report.examples == 6 and report.usable == 2


def test_the_real_an4(data_dir, tmp_path):
    splits = an4.prepare(data_dir / "an4", tmp_path, valid_fraction=0.1)
    assert {name: len(e) for name, e in splits.items() if name == "test"} == {"test": 130}
    assert len(splits["train"]) + len(splits["valid"]) == 948
    assert len(subjects(splits["train"]) | subjects(splits["valid"])) == 74
    assert sum(len(e.text.split()) for e in splits["test"]) == 773
    assert check(splits["valid"], vocabulary=Vocabulary.from_texts(e.text for e in splits["train"])).ok


def test_the_real_librispeech_and_fsdd(data_dir, tmp_path):
    clips = librispeech.prepare(data_dir / "LibriSpeech", tmp_path / "l", subsets=["dev-clean-5"])["dev-clean-5"]
    assert len(subjects(clips)) == 4 and 0.55 < sum(e.duration for e in clips) / 3600 < 0.57
    digits = fsdd.prepare(data_dir / "fsdd", tmp_path / "f", by="speaker", held_out=["theo", "lucas"])
    assert (len(digits["train"]), len(digits["test"])) == (2000, 1000)


def test_the_real_speechocean_common_voice_and_lj_speech(data_dir, tmp_path):
    ocean = kaldi.prepare(data_dir / "speechocean762", tmp_path / "s")
    assert {name: len(e) > 1000 for name, e in ocean.items()} == {"test": True, "train": True}
    assert sum(map(len, ocean.values())) == 2560
    voices = common_voice.prepare(data_dir / "common_voice/en", tmp_path / "c", splits=["validated"])["validated"]
    assert len(voices) == 713 and len(subjects(voices)) == 176
    assert len(ljspeech.prepare(data_dir / "LJSpeech-1.1", tmp_path / "l")["train"]) == 385
