import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechrnn import files
from speechrnn.data import manifest
from speechrnn.data.manifest import Example, split_by_subject
from speechrnn.faults import Faults

TEXT = st.text(max_size=20)
NAME = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXT, children, max_size=3),
    max_leaves=5,
)
EXAMPLES = st.builds(
    Example,
    path=st.lists(NAME, min_size=1, max_size=3).map(lambda parts: "/nowhere/" + "/".join(parts)),
    duration=st.floats(min_value=1e-6, max_value=1e6),
    text=st.none() | TEXT.map(lambda text: text.replace("\0", "")),
    label=st.none() | TEXT | st.integers(),
    labels=st.none() | st.lists(st.tuples(st.integers(), st.integers(), TEXT) | st.integers(), max_size=3).map(tuple),
    offset=st.floats(min_value=0, max_value=1e6),
    channel=st.none() | st.integers(0, 7),
    subject=st.none() | TEXT,
    id=st.none() | TEXT,
    extra=st.dictionaries(TEXT, JSON, max_size=3),
)


@given(st.lists(EXAMPLES, min_size=1, max_size=4, unique_by=lambda e: e.id))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_round_trip(tmp_path_factory, examples):
    path = tmp_path_factory.mktemp("m") / "m.jsonl"
    manifest.write(path, examples)
    assert manifest.read(path) == examples


def test_a_folder_with_its_manifest_can_be_moved(tmp_path):
    (tmp_path / "a").mkdir()
    manifest.write(
        tmp_path / "a" / "m.jsonl", [Example(tmp_path / "a" / "wav" / "x.wav", 1), Example("/else/y.wav", 1)]
    )
    written = [json.loads(line)["path"] for line in (tmp_path / "a" / "m.jsonl").read_text().splitlines()]
    assert written == ["wav/x.wav", "/else/y.wav"]
    (tmp_path / "a").rename(tmp_path / "b")
    assert [e.path for e in manifest.read(tmp_path / "b" / "m.jsonl")] == [str(tmp_path / "b/wav/x.wav"), "/else/y.wav"]


def test_a_relative_manifest_gives_paths_that_open_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest.write("deep/m.jsonl", [Example("deep/x.wav", 1), Example("y.wav", 1)])
    assert [e.path for e in manifest.read("deep/m.jsonl")] == ["deep/x.wav", str(tmp_path / "y.wav")]


def test_defaults_are_not_written(tmp_path):
    manifest.write(tmp_path / "m.jsonl", [Example(tmp_path / "x.wav", 1.5)])
    assert json.loads((tmp_path / "m.jsonl").read_text()) == {"path": "x.wav", "duration": 1.5, "id": "x"}


GOOD = '{"path": "a.wav", "duration": 1.0}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": "b.wav", "duration": -1.0}', "`duration` must be positive. Received: -1.0."),
        ('{"path": "b.wav", "duration": 0}', "`duration` must be positive. Received: 0."),
        ('{"path": "b.wav", "duration": "1"}', "`duration` must be positive. Received: '1'."),
        ('{"path": "b.wav", "duration": true}', "`duration` must be positive. Received: True."),
        ('{"path": "b.wav", "duration": null}', "`duration` must be positive. Received: None."),
        ('{"path": "b.wav", "duration": NaN}', "numbers must be finite. Received: NaN."),
        ('{"path": "b.wav", "duration": 1e999}', "`duration` must be positive. Received: inf."),
        ('{"path": "b.wav", "duration": 1' + "0" * 400 + "}", "`duration` must be positive."),
        ('{"path": "b.wav"}', "lacks `duration`."),
        ('{"duration": 1}', "lacks `path`."),
        ('{"path": "", "duration": 1}', "`path` must be a file name. Received: ''."),
        ('{"path": 3, "duration": 1}', "`path` must be a file name. Received: 3."),
        ('{"path": "../b.wav", "duration": 1}', "`path` may not lead out of the manifest's folder."),
        ('{"path": "x/../../b.wav", "duration": 1}', "`path` may not lead out of the manifest's folder."),
        ('{"path": "b.wav", "duration": 1, "offset": -0.5}', "`offset` must be zero or more. Received: -0.5."),
        ('{"path": "b.wav", "duration": 1, "channel": 1.5}', "`channel` must be a whole number from 0."),
        ('{"path": "b.wav", "duration": 1, "text": 5}', "`text` must be a string. Received: 5."),
        (r'{"path": "b.wav", "duration": 1, "text": "a\ud800"}', "`text` must be whole characters"),
        ('{"path": "b.wav", "duration": 1, "labels": "N"}', "`labels` must be a list."),
        ('{"path": "b.wav", "duration": 1, "labels": [[0, "x", 1]]}', "`labels` must be classes, or stretches ["),
        ('{"path": "b.wav", "duration": 1, "labels": ["a", ["0", 1, "x"]]}', "`labels` must be classes, or stretches"),
        ('{"path": "b.wav", "duration": 1, "labels": [[0, 1]]}', "`labels` must be classes, or stretches"),
        ('{"path": "https://x.org/b.wav", "duration": 1}', "`path` must be a file. Download it"),
        ('{"path": "b.wav", "duration": 1, "text": "a\\u0000b"}', "`text` must be text without zeros."),
        ('{"path": "b.wav", "duration": 1, "label": 1.5}', "`label` must be a string or a whole number."),
        ('{"path": "b.wav", "duration": 1, "extra": []}', "`extra` must be an object"),
        ('{"path": "b.wav", "durtion": 1}', "unknown key `durtion`. Did you mean `duration`?"),
        ('{"audio_filepath": "b.wav", "duration": 1}', "unknown key `audio_filepath`. Did you mean `path`?"),
        ('{"path": "b.wav", "duration": 1, "speaker": "x"}', "unknown key `speaker`. Did you mean `subject`?"),
        ('{"path": "b.wav", "duration": 1, "zzz": 1}', "unknown key `zzz`. Anything else belongs under `extra`."),
        ('{"path": "b.wav", "duration": 1, "path": "c.wav"}', "has the key `path` twice."),
        ('{"path": "b.wav", "duration": 1', "is not JSON: "),
        ("[1, 2]", "must be one JSON object. Received: b'[1, 2]'."),
        ("[" * 100_000, "is nested too deeply"),
        ('{"path": "b.wav", "duration": 1, "extra": {"n": 1' + "0" * 5000 + "}}", "has a number of 5,001 digits"),
        (GOOD, "the id 'a' is that of line 1."),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_the_rest_is_read(tmp_path, line, message):
    path = tmp_path / "train.jsonl"
    path.write_text(f'{GOOD}\n\n{line}\n{{"path": "z.wav", "duration": 2}}\n')
    with pytest.raises(ValueError, match=f"^{re.escape(f'{path}:3: {message}')}"):
        manifest.read(path)
    faults = Faults()
    assert [e.id for e in manifest.read(path, faults=faults)] == ["a", "z"]
    (fault,) = faults
    assert fault.where == f"{path}:3"
    assert fault.message.startswith(f"{path}:3: {message}")


def test_the_first_of_many_bad_lines_comes_with_their_number(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b"\xff\xfe\n{}\nx\n")
    with pytest.raises(ValueError, match=r"m\.jsonl:1: is not UTF-8: .* \(and 2 more\)$"):
        manifest.read(tmp_path / "m.jsonl")


def test_a_table_is_told_from_a_manifest(tmp_path):
    (tmp_path / "m.csv").write_text("path,text\na.wav,yes\n")
    faults = Faults()
    assert manifest.read(tmp_path / "m.csv", faults=faults) == []
    assert ["speechrnn prepare table" in fault.message for fault in faults] == [True, False]


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\r\n")
    assert len(manifest.read(tmp_path / "m.jsonl")) == 1


def test_missing_directory_and_empty_manifests(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"m\.jsonl: there is no such manifest"):
        manifest.read(tmp_path / "m.jsonl")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        manifest.read(tmp_path)
    (tmp_path / "m.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="has no examples"):
        manifest.read(tmp_path / "m.jsonl")
    faults = Faults()
    assert manifest.read(tmp_path / "m.jsonl", faults=faults) == []
    assert faults.counts() == {"empty": 1}


def test_numpy_numbers_are_taken(tmp_path):
    example = Example("/x.wav", np.float32(1.5), label=np.int64(3), channel=np.int32(0))
    assert (type(example.duration), type(example.label), type(example.channel)) == (float, int, int)
    manifest.write(tmp_path / "m.jsonl", [example])


def test_a_file_name_that_is_not_utf8_survives(tmp_path):
    example = Example(os.fsdecode(b"/x/\xff.wav"), 1.0)
    manifest.write(tmp_path / "m.jsonl", [example])
    assert manifest.read(tmp_path / "m.jsonl") == [example]


def test_nothing_is_overwritten_unasked(tmp_path):
    path = tmp_path / "m.jsonl"
    manifest.write(path, [Example("/a.wav", 1)])
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"m\.jsonl: exists already.*--overwrite"):
        manifest.write(path, [Example("/b.wav", 1)])
    assert path.read_bytes() == before
    manifest.write(path, [Example("/b.wav", 1)], overwrite=True)
    assert manifest.read(path)[0].id == "b"
    with pytest.raises(IsADirectoryError, match="a folder is there"):
        manifest.write(tmp_path, [], overwrite=True)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([Example("/a.wav", 1), Example("/b/a.wav", 1)], "two examples have the id 'a'"),
        ([Example("/a.wav", 1, extra={"x": {1, 2}})], "a: cannot be written as JSON"),
        ([Example("/a.wav", 1, extra={"x": float("nan")})], "a: cannot be written as JSON"),
    ],
)
def test_a_failed_write_leaves_nothing(tmp_path, examples, message):
    with pytest.raises(ValueError, match=message):
        manifest.write(tmp_path / "m.jsonl", examples)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file_and_no_partial_one(tmp_path, monkeypatch):
    path = tmp_path / "m.jsonl"
    manifest.write(path, [Example("/a.wav", 1)])

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        manifest.write(path, [Example("/b.wav", 1)], overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["m.jsonl"]
    assert manifest.read(path)[0].id == "a"


def test_an_unwritable_folder_says_so():
    with pytest.raises(OSError, match="/proc"):
        manifest.write("/proc/m.jsonl", [Example("/a.wav", 1)])


def test_a_written_file_has_the_usual_permissions(tmp_path):
    manifest.write(tmp_path / "m.jsonl", [Example("/a.wav", 1)])
    (tmp_path / "plain").touch()
    assert (tmp_path / "m.jsonl").stat().st_mode == (tmp_path / "plain").stat().st_mode


def speakers(count, clips=5, seconds=2.0):
    return [Example(f"/{s}/{s}-{i}.wav", seconds, subject=f"s{s}") for s in range(count) for i in range(clips)]


@given(st.integers(2, 40), st.floats(0.02, 0.98), st.integers(0, 5))
@settings(deadline=None)
def test_split_by_subject_shares_no_subject_and_loses_nothing(count, fraction, seed):
    examples = speakers(count)
    left, held = split_by_subject(examples, fraction=fraction, seed=seed)
    assert left and held
    assert not {e.subject for e in left} & {e.subject for e in held}
    assert sorted(map(repr, left + held)) == sorted(map(repr, examples))
    if 1 / count <= fraction <= 1 - 1 / count:
        assert abs(len(held) / len(examples) - fraction) <= 0.5 / count + 1e-9


def test_split_by_subject_is_stable():
    examples = speakers(30)
    _, held = split_by_subject(examples, fraction=0.2, seed=1)
    _, again = split_by_subject(examples[::-1], fraction=0.2, seed=1)
    _, other = split_by_subject(examples, fraction=0.2, seed=2)
    assert {e.subject for e in held} == {e.subject for e in again} != {e.subject for e in other}


def test_split_by_subject_by_another_key():
    left, held = split_by_subject(speakers(2, clips=10), fraction=0.2, key=lambda e: Path(e.path).stem[-1])
    assert {Path(e.path).stem[-1] for e in left}.isdisjoint({Path(e.path).stem[-1] for e in held})


@pytest.mark.parametrize(
    ("examples", "fraction", "message"),
    [
        (speakers(3), 0.0, "must lie between 0 and 1"),
        (speakers(1), 0.5, "at least two subjects"),
        ([Example("/a.wav", 1)], 0.5, "a: has no subject"),
    ],
)
def test_split_by_subject_refuses(examples, fraction, message):
    with pytest.raises(ValueError, match=message):
        split_by_subject(examples, fraction=fraction)


def test_a_file_that_is_no_text_is_refused_once_and_a_damaged_first_line_is_one_line(tmp_path):
    path, good = tmp_path / "a.jsonl", b'{"path": "a.wav", "duration": 1.0}\n'
    path.write_bytes(b"RIFF\x24\xfa\x00\x00WAVE\n\x81\n\x82\n")
    with pytest.raises(ValueError, match=r"a\.jsonl: is no text: it begins with b'RIFF.*one JSON object per line"):
        manifest.read(path, faults=Faults())
    path.write_bytes(b"\x8f" + good + good)
    faults = Faults()
    assert len(manifest.read(path, faults=faults)) == 1 and len(faults) == 1
