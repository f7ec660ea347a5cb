"""Corpora of signals as they are published become manifests, and what is wrong with them is counted."""

import json

import numpy as np
import pytest
import scipy.io
import soundfile
from recordings import write_wfdb

import speechrnn.cli
from speechrnn import signals
from speechrnn.data import manifest
from speechrnn.data.check import check
from speechrnn.data.corpora import (
    bonn,
    cinc2017,
    csv,
    esc10,
    hapt,
    heartbeats,
    mitdb,
    prepare_function,
    series,
    speech_commands,
    ucr,
)
from speechrnn.data.examples import read_example
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults

RATE = 360
BEAT = 200 * np.exp(-((np.arange(-40, 41) / 8.0) ** 2))


def ecg(positions, heights, *, length, wander=0.0):
    """int `(length, 2)`: a bump at every beat, half as high in the second lead, on a baseline that wanders."""
    line = np.zeros(length + 200)
    for position, height in zip(positions, heights, strict=True):
        line[position + 60 : position + 141] += height * BEAT
    line = line[100:-100] + wander * np.sin(2 * np.pi * 0.1 * np.arange(length) / RATE)
    return np.rint(np.stack([line, 0.5 * line], axis=1)).astype(int)


def heart(path, symbols, *, names=("MLII", "V1"), past=0, marked=True, wander=0.0):
    """A record of one beat a symbol: V comes early and is twice as high."""
    gaps = [0] + [200 if symbol == "V" else 300 for symbol in symbols[1:]]
    positions = 200 + np.cumsum(gaps)
    length = int(positions[-1]) + 300
    signal = ecg(positions, [2.0 if s == "V" else 1.0 for s in symbols], length=length, wander=wander)
    marks = [(40, "+"), *zip(positions.tolist(), symbols, strict=True)]
    marks += [(length + 100 * (i + 1), "N") for i in range(past)]
    if names[0] != "MLII":
        signal = signal[:, ::-1]
    write_wfdb(path, signal, names=names, baseline=0, marks=marks if marked else None)
    return positions


def test_mitdb_writes_beats_with_their_classes_and_patients(tmp_path):
    heart(tmp_path / "in" / "101", "NNLNVNRNAN" * 7)
    heart(tmp_path / "in" / "201", "NNNVNNFNNN")
    heart(tmp_path / "in" / "202", "NNNVNNQNNN", names=("V1", "MLII"))
    heart(tmp_path / "in" / "102", "////////")
    splits = mitdb.prepare(tmp_path / "in", tmp_path / "out")
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 3, "test": 1}
    first, rest, other = splits["train"]
    assert (first.id, first.subject, first.offset, first.duration) == ("101-0000", "101", 0, 64)
    assert (rest.offset, rest.duration) == (64, 6)
    assert first.labels + rest.labels == tuple("NNNNVNNNSN" * 7)
    assert other.subject == splits["test"][0].subject == "201"  # the same man
    again = manifest.read(tmp_path / "out/train.jsonl")
    signal, rate = read_example(again[1], channels=heartbeats.NUM_FEATURES, sample_rate=1)
    assert signal.shape == (6, heartbeats.NUM_FEATURES) and rate == 1
    whole, _ = signals.read(tmp_path / "out/beats/101.npz")
    np.testing.assert_array_equal(signal, whole[64:])
    with pytest.raises(FileExistsError, match="exists already"):
        mitdb.prepare(tmp_path / "in", tmp_path / "out")


def test_leads_that_changed_places_are_put_back(tmp_path):
    heart(tmp_path / "a" / "101", "NNNNVNNN")
    heart(tmp_path / "b" / "114", "NNNNVNNN", names=("V5", "MLII"))
    for folder in "ab":
        mitdb.prepare(tmp_path / folder, tmp_path / "out" / folder)
    one, other = (signals.read(tmp_path / "out" / path)[0] for path in ("a/beats/101.npz", "b/beats/114.npz"))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_is_wrong_with_heart_records_is_counted_and_the_rest_done(tmp_path):
    heart(tmp_path / "in" / "101", "NNNNVNNN", past=2)
    heart(tmp_path / "in" / "106", "NNNNVNNN", marked=False)
    heart(tmp_path / "in" / "108", "NNNNVNNN")
    (tmp_path / "in" / "108.dat").unlink()
    heart(tmp_path / "in" / "114", "NNNNVNNN")
    (tmp_path / "in" / "114.hea").unlink()
    heart(tmp_path / "in" / "109", "NN")
    heart(tmp_path / "in" / "112", "NNNNNNN")
    faults = Faults()
    splits = mitdb.prepare(tmp_path / "in", tmp_path / "out", faults=faults)
    assert {example.subject: len(example.labels) for example in splits["train"]} == {"101": 8, "112": 7}
    assert faults.counts() == {"missing": 3, "annotated past their end": 1, "invalid": 1}
    assert any("114.hea" in str(fault) for fault in faults)
    assert "2 of 10 beats lie past its end" in next(iter(faults)).message
    with pytest.raises(ValueError, match="past its end.*and 4 more"):
        mitdb.prepare(tmp_path / "in", tmp_path / "other")
    assert not (tmp_path / "other/train.jsonl").exists()


def challenge(folder, classes, *, lines=None):
    """The challenge's published layout, records of 10 to 12 s."""
    (folder / "training2017").mkdir(parents=True)
    for index, _ in enumerate(classes, start=1):
        name, size = f"A{index:05d}", 3000 + 60 * index % 600
        values = np.round(500 * np.sin(np.arange(size) / (5 + index))).astype(np.int16)[None]
        scipy.io.savemat(folder / f"training2017/{name}.mat", {"val": values}, format="4")
        header = f"{name} 1 300 {size} 05:05:15 1/05/2014\n{name}.mat 16+24 1000/mV 16 0 0 0 0 ECG\n"
        (folder / f"training2017/{name}.hea").write_text(header)
    listed = lines or [f"A{index:05d},{label}" for index, label in enumerate(classes, start=1)]
    (folder / "training2017/REFERENCE.csv").write_text("\n".join(listed) + "\n")
    return folder


def test_cinc2017(tmp_path):
    root = challenge(tmp_path / "in", "NNNNNNNNNNAAAAAOOOOO~")
    splits = cinc2017.prepare(root, tmp_path / "out", valid_fraction=0.2, test_fraction=0.2)
    assert {name: "".join(sorted(e.label for e in examples)) for name, examples in splits.items()} == {
        "train": "AAANNNNNNOOO~", "test": "ANNO", "valid": "ANNO",  # the one of noise stays in training
    }  # fmt: skip
    assert len({e.id for examples in splits.values() for e in examples}) == 21
    first = splits["train"][0]
    signal, rate = read_example(first)
    assert rate == 300 and len(signal) / 300 == pytest.approx(first.duration)
    only = cinc2017.prepare(root / "training2017", tmp_path / "again", split="test")
    assert list(only) == ["test"] and len(only["test"]) == 21
    other = cinc2017.prepare(root, tmp_path / "seed", valid_fraction=0.2, test_fraction=0.2, seed=1)
    assert {e.id for e in other["test"]} != {e.id for e in splits["test"]}


def test_records_without_a_class_and_classes_without_a_record(tmp_path):
    root = challenge(tmp_path / "in", "NNA", lines=["A00001,N", "A00002,X", "A00007,A"])
    faults = Faults()
    splits = cinc2017.prepare(root, tmp_path / "out", faults=faults)
    assert [e.id for e in splits["train"]] == ["A00001"]
    assert faults.counts() == {"without a label": 2, "missing": 1}


HAPT_LABELS = np.array([[1, 1, 5, 251, 1000], [1, 1, 7, 1001, 1100], [1, 1, 4, 1101, 1800], [2, 2, 1, 101, 900]])


def motion(folder, rng, *, packed):
    records = {(1, 1): rng.standard_normal((2000, 6)), (2, 2): rng.standard_normal((1000, 6))}
    records = {key: signal.astype(np.float32) for key, signal in records.items()}
    if packed:
        folder.mkdir()
        arrays = {f"exp{e:02d}_user{u:02d}": signal.T for (e, u), signal in records.items()}
        np.savez(folder / "hapt_train.npz", labels=HAPT_LABELS, **arrays)
        return records
    for name in ("RawData", "Train", "Test"):
        (folder / name).mkdir(parents=True)
    for (e, u), signal in records.items():
        for kind, part in (("acc", signal[:, :3]), ("gyro", signal[:, 3:])):
            np.savetxt(folder / f"RawData/{kind}_exp{e:02d}_user{u:02d}.txt", part, fmt="%.9g")
    np.savetxt(folder / "RawData/labels.txt", HAPT_LABELS, fmt="%d")
    (folder / "Train/subject_id_train.txt").write_text("1\n1\n")
    (folder / "Test/subject_id_test.txt").write_text("2\n2\n")
    return records


@pytest.mark.parametrize("packed", [False, True])
def test_hapt_stream(tmp_path, rng, packed):
    records = motion(tmp_path / "in", rng, packed=packed)
    splits = hapt.prepare(tmp_path / "in", tmp_path / "out")
    assert list(splits) == ["train", "test"]
    chunks = splits["train"]
    assert [(e.offset, e.duration, e.subject) for e in chunks] == [(0, 30, "01"), (30, 10, "01")]
    assert chunks[0].labels == ((5.0, 20.0, "standing"), (22.0, 30.0, "sitting"))
    assert chunks[1].labels == ((0.0, 6.0, "sitting"),)
    assert splits["test"][0].labels == ((2.0, 18.0, "walking"),)
    signal, rate = read_example(manifest.read(tmp_path / "out/train.jsonl")[1])
    assert rate == 50
    np.testing.assert_allclose(signal, records[1, 1][1500:], rtol=1e-6)
    assert signals.probe(tmp_path / "out/records/exp01_user01.npz").channels == hapt.CHANNELS
    many = hapt.prepare(tmp_path / "in", tmp_path / "many", transitions=True, chunk=60)
    assert [label for *_, label in many["train"][0].labels] == ["standing", "stand_to_sit", "sitting"]


def test_hapt_windows_and_segments(tmp_path, rng):
    records = motion(tmp_path / "in", rng, packed=False)
    windows = hapt.prepare(tmp_path / "in", tmp_path / "w", form="windows")["train"]
    assert [e.label for e in windows] == ["standing"] * 10 + ["sitting"] * 9
    assert {e.duration for e in windows} == {2.56}
    signal, _ = read_example(windows[1])
    np.testing.assert_allclose(signal, records[1, 1][250 + 64 : 250 + 64 + 128], rtol=1e-6)
    segments = hapt.prepare(tmp_path / "in", tmp_path / "s", form="segments")["train"]
    assert [(e.label, e.offset, e.duration) for e in segments] == [("standing", 5, 15), ("sitting", 22, 14)]


def test_hapt_faults(tmp_path, rng):
    motion(tmp_path / "in", rng, packed=False)
    lines = ["1 1 5 251 1000", "1 1 4 1101 2001"]
    (tmp_path / "in/RawData/labels.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "in/RawData/acc_exp03_user03.txt").write_text("1 2 3\n")
    faults = Faults()
    splits = hapt.prepare(tmp_path / "in", tmp_path / "out", faults=faults)
    assert [e.labels for e in splits["train"]] == [((5.0, 20.0, "standing"),)]
    assert faults.counts() == {"annotated past their end": 1, "without labels": 1, "missing": 1}


def test_bonn(tmp_path):
    for letter in "ZONFS":
        (tmp_path / "in" / letter).mkdir(parents=True)
        for number in range(1, 6):
            name = f"{letter}{number:03d}.{'TXT' if letter == 'N' else 'txt'}"
            (tmp_path / "in" / letter / name).write_text("".join(f"{i * number % 7}\n" for i in range(400)))
    splits = bonn.prepare(tmp_path / "in", tmp_path / "out", test_fraction=0.2)
    assert [len(examples) for examples in splits.values()] == [20, 5]
    assert sorted(e.label for e in splits["test"]) == ["none"] * 4 + ["seizure"]
    signal, rate = read_example(splits["train"][0])
    assert rate == 173.61 and signal.shape == (400, 1)
    sets = bonn.prepare(tmp_path / "in", tmp_path / "sets", classes="set", test_fraction=0.2)
    assert sorted(e.label for e in sets["test"]) == sorted("ZONFS")


def test_ucr_and_uea(tmp_path):
    (tmp_path / "in" / "X").mkdir(parents=True)
    (tmp_path / "in/X/X_TRAIN.tsv").write_text("1\t1\t2\t3\n2\t4\t5\t6\n")
    (tmp_path / "in/X/X_TEST.tsv").write_text("2\t7\t8\n")
    splits = ucr.prepare(tmp_path / "in", tmp_path / "out")
    assert [(e.id, e.label, e.duration) for e in splits["train"]] == [("X_TRAIN-0", "1", 3), ("X_TRAIN-1", "2", 3)]
    assert read_example(splits["test"][0])[0].ravel().tolist() == [7, 8]
    (tmp_path / "in/Y_TRAIN.ts").write_text("@classLabel true a b\n@data\n1,2,3:4,5,6:a\n1,2:3,4:b\n")
    with pytest.raises(ValueError, match="has 2 data sets. Say which with `name`. There are: X, Y"):
        ucr.prepare(tmp_path / "in", tmp_path / "y")
    cases = prepare_function("uea")(tmp_path / "in", tmp_path / "y", name="Y", rate=10)["train"]
    assert [(e.label, e.duration) for e in cases] == [("a", 0.3), ("b", 0.2)]
    assert read_example(cases[1])[0].tolist() == [[1, 3], [2, 4]]


def sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(1600)), 16000)


def test_esc10_in_both_layouts(tmp_path):
    names = [f"{fold}-{100 + fold}{c}-A" for fold in range(1, 6) for c in range(2)]
    table = ["filename,fold,target,category,esc10,src_file,take"]
    for index, name in enumerate(names):
        sound(tmp_path / "ten" / ("001 - Dog bark", "002 - Rain")[index % 2] / f"{name}.ogg")
        sound(tmp_path / "fifty" / "audio" / f"{name}-0.wav")
        table.append(f"{name}-0.wav,{name[0]},0,{('dog_bark', 'rain')[index % 2]},True,{name[2:6]},A")
    sound(tmp_path / "fifty/audio/1-9-A-3.wav")
    table.append("1-9-A-3.wav,1,3,cow,False,9,A")
    (tmp_path / "fifty/meta").mkdir()
    (tmp_path / "fifty/meta/esc50.csv").write_text("\n".join(table) + "\n")
    for layout in ("ten", "fifty"):
        splits = esc10.prepare(tmp_path / layout, tmp_path / "out" / layout, test_folds=(2,), valid_folds=(3,))
        assert [(name, len(examples)) for name, examples in splits.items()] == [("train", 6), ("valid", 2), ("test", 2)]
        assert sorted((e.label, e.subject, e.extra["fold"]) for e in splits["test"]) == [
            ("dog_bark", "1020", 2), ("rain", "1021", 2),
        ]  # fmt: skip
    with pytest.raises(ValueError, match="Folds are 1 to 5, each for one split"):
        esc10.prepare(tmp_path / "ten", tmp_path / "no", test_folds=(2,), valid_folds=(2,))


def test_speech_commands(tmp_path):
    files = {"bed": ["0c40e715", "026290a7", "0137b3f4"], "yes": ["0c40e715"], "_background_noise_": ["rain"]}
    for word, speakers in files.items():
        for speaker in speakers:
            sound(tmp_path / "in" / word / f"{speaker}_nohash_0.wav")
    expected = {"train": ["bed-0137b3f4_nohash_0"], "valid": ["bed-026290a7_nohash_0"]}
    expected["test"] = ["bed-0c40e715_nohash_0", "yes-0c40e715_nohash_0"]
    # As these speakers are listed in version 1, and by the rule behind the lists.
    for step in ("rule", "lists"):
        splits = speech_commands.prepare(tmp_path / "in", tmp_path / step)
        assert {name: [e.id for e in examples] for name, examples in splits.items()} == expected
        (tmp_path / "in/validation_list.txt").write_text("bed/026290a7_nohash_0.wav\n")
        (tmp_path / "in/testing_list.txt").write_text("bed/0c40e715_nohash_0.wav\nyes/0c40e715_nohash_0.wav\n")
    example = splits["test"][1]
    assert (example.label, example.text, example.subject) == ("yes", "yes", "0c40e715")
    assert len(speech_commands.prepare(tmp_path / "in", tmp_path / "w", only=("yes",))["test"]) == 1
    with pytest.raises(ValueError, match="has no word 'yez'. Did you mean `yes`"):
        speech_commands.prepare(tmp_path / "in", tmp_path / "no", only=("yez",))


def sensors(path, subjects, classes, *, rate=None):
    """20 lines a subject, the class changing after 10 where two are given."""
    lines = ["subject,x,y,state" if rate is None else "time,subject,x,y,state"]
    for subject, label in zip(subjects, classes, strict=True):
        for i in range(20):
            row = f"{subject},{i},{-i},{label[i // (20 // len(label))]}"
            lines.append(row if rate is None else f"{i / rate},{row}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_csv_of_any_sensor(tmp_path, capsys):
    sensors(tmp_path / "in/a.csv", "pqr", ["A", "B", "AB"])
    sensors(tmp_path / "in/b.csv", "s", ["B"])
    words = ["prepare", "csv", str(tmp_path / "in"), "--out", str(tmp_path / "m"), "--label-column", "state"]
    assert speechrnn.cli.main([*words, "--rate", "10", "--group", "subject", "--valid-fraction", "0.25"]) == 0
    assert "train.jsonl: 3 examples" in capsys.readouterr().out
    examples = [e for name in ("train", "valid") for e in manifest.read(tmp_path / f"m/{name}.jsonl")]
    found = {e.subject: (e.id, e.duration, e.label, e.labels) for e in examples}
    assert found == {
        "p": ("a-1", 2, None, ((0, 2, "A"),)),
        "q": ("a-2", 2, None, ((0, 2, "B"),)),
        "r": ("a-3", 2, None, ((0, 1, "A"), (1, 2, "B"))),
        "s": ("b", 2, None, ((0, 2, "B"),)),
    }  # the class changes in one, so that all have stretches: a model learns one task
    first = next(e for e in examples if e.subject == "p")
    assert read_example(first)[0].tolist() == [[i, -i] for i in range(20)]
    assert signals.probe(first.path).channels == ("x", "y")


def test_csv_whose_classes_never_change_labels_whole_records(tmp_path):
    sensors(tmp_path / "in/a.csv", "pq", ["A", "B"])
    splits = csv.prepare(tmp_path / "in", tmp_path / "out", label_column="state", rate=10, group="subject", chunk=0.5)
    assert [(e.id, e.duration, e.label, e.labels) for e in splits["train"]] == [
        ("a-1", 2, "A", None),
        ("a-2", 2, "B", None),
    ]


def test_csv_tables_of_one_name_in_several_folders_stay_apart(tmp_path):
    for folder, label in (("s1", "A"), ("s2", "B")):
        sensors(tmp_path / f"in/{folder}/walk.csv", "p", [label])
        with (tmp_path / f"in/{folder}/walk.csv").open("a") as file:
            file.write(f"p,{folder[1]},0,{label}\n")
    options = {"label_column": "state", "rate": 10, "overwrite": True}
    found = csv.prepare(tmp_path / "in", tmp_path / "out", **options)["train"]
    assert [(e.label, read_example(e)[0][-1, 0]) for e in found] == [("A", 1), ("B", 2)]
    parts = series.prepare(tmp_path / "in", tmp_path / "parts", rate=10, test_fraction=0.2)
    assert [len({e.id for e in parts[name]}) for name in ("train", "test")] == [2, 2]
    sensors(tmp_path / "in/a-1.csv", "q", ["A"])
    sensors(tmp_path / "in/a.csv", "rs", ["A", "B"])
    faults = Faults()
    found = csv.prepare(tmp_path / "in", tmp_path / "out", group="subject", faults=faults, **options)["train"]
    assert faults.counts() == {"duplicate": 1} and len(found) == 4


def test_csv_keeps_the_other_subjects_of_a_table_where_one_cannot_be_used(tmp_path):
    sensors(tmp_path / "in/a.csv", "pqr", ["A", " ", "B"])
    faults = Faults()
    found = csv.prepare(
        tmp_path / "in", tmp_path / "out", label_column="state", rate=10, group="subject", faults=faults
    )
    assert [(e.id, e.label) for e in found["train"]] == [("a-1", "A"), ("a-3", "B")]
    assert [str(fault) for fault in faults] == [
        f"a-2: {tmp_path / 'in/a.csv'}: its column `state` is empty in lines 22 to 41."
    ]


def test_csv_has_the_classes_that_are_written(tmp_path):
    for name in ("None", "NA", "ERR"):
        sensors(tmp_path / f"in/{name}.csv", "p", ["C"])
        (tmp_path / f"in/{name}.csv").write_text((tmp_path / f"in/{name}.csv").read_text().replace("C", name))
    options = {"label_column": "state", "rate": 10, "faults": (faults := Faults())}
    found = csv.prepare(tmp_path / "in", tmp_path / "out", table={"missing": "ERR"}, **options)
    assert [e.label for e in found["train"]] == ["NA", "None"]
    assert faults.counts() == {"without labels": 1}


def test_csv_with_times_chunks_and_faults(tmp_path):
    sensors(tmp_path / "in/a.csv", "p", ["AB"], rate=10)
    sensors(tmp_path / "in/b.csv", "q", [" "], rate=10)
    (tmp_path / "in/c.csv").write_text("time,x\n0,1\n1,2\n")
    text = (tmp_path / "in/b.csv").read_text()
    (tmp_path / "in/b.csv").write_text(text.replace(", \n", ",\n"))
    faults = Faults()
    options = {"label_column": "state", "group": "subject", "channels": ["y"], "chunk": 0.5}
    splits = csv.prepare(tmp_path / "in", tmp_path / "out", faults=faults, **options)
    assert [(e.offset, e.duration, e.labels) for e in splits["train"]] == [
        (start, 0.5, ((0, 0.5, label),)) for start, label in [(0, "A"), (0.5, "A"), (1, "B"), (1.5, "B")]
    ]
    assert faults.counts() == {"without labels": 1, "lacking the column": 1}
    assert read_example(splits["train"][1])[0].ravel().tolist() == [-5, -6, -7, -8, -9]


def test_a_channel_that_some_records_lack_is_a_fault_of_those(tmp_path):
    from speechrnn.data.building import Draft, build

    names = {"one": ("MLII", "V1"), "two": ("MLII", "V5")}
    for name, leads in names.items():
        write_wfdb(tmp_path / name, np.arange(800).reshape(400, 2), names=leads)
    drafts = [Draft(tmp_path / f"{name}.hea", label="N", extra={"channels": ["V1"]}) for name in names]
    faults = Faults()
    splits = build({"train": drafts}, tmp_path / "out", faults=faults)
    assert [e.id for e in splits["train"]] == ["one"]
    assert faults.counts() == {"lacking the channel": 1}


def test_check_says_what_is_wrong_with_signals(tmp_path, rng):
    good = rng.standard_normal((500, 2))
    flat, holes, dead = good.copy(), good.copy(), good.copy()
    flat[:, 1] = 0
    holes[100:300, 0] = np.nan
    dead[:, 1] = np.nan
    for name, signal in {"good": good, "flat": flat, "holes": holes, "dead": dead}.items():
        np.savez(tmp_path / f"{name}.npz", signal=signal, rate=100.0)
    examples = [Example(str(tmp_path / f"{name}.npz"), 5.0, label="a") for name in ("good", "flat", "holes", "dead")]
    examples.append(Example(str(tmp_path / "good.npz"), 5.0, id="late", labels=((4.0, 6.0, "b"),)))
    examples.append(Example(str(tmp_path / "good.npz"), 5.0, id="five", extra={"channels": [5]}, labels=("b", "b")))
    report = check(examples, workers=1)
    assert {fault.where: fault.kind for fault in report.faults} == {
        "flat": "a flat line", "holes": "with gaps", "dead": "without values", "late": "annotated past their end",
        "five": "lacking the channel",
    }  # fmt: skip
    assert report.usable == 1 and report.classes == {"a": 4, "b": 3}
    json.dumps(report.to_dict())


def test_the_data_at_hand(data_dir, tmp_path):
    folder = data_dir / "signals"
    if not folder.is_dir():
        pytest.skip(f"no signals in {folder}")
    splits = prepare_function("ucr")(folder / "ucr", tmp_path / "ucr", name="ECG200")
    assert [len(examples) for examples in splits.values()] == [100, 100]
    splits = prepare_function("uea")(folder / "uea", tmp_path / "uea", name="NATOPS")
    assert [len(examples) for examples in splits.values()] == [180, 180]
    assert read_example(splits["test"][5])[0].shape == (51, 24)
    splits = hapt.prepare(folder / "hapt", tmp_path / "hapt")
    assert list(splits) == ["train"] and len({e.subject for e in splits["train"]}) == 21


def test_tables_are_read_as_the_options_say_in_manifests_too(tmp_path):
    lines = [
        f"{1 + i // 24:02}/02/2024 {i % 24:02}:00;{i},125;{'ab'[i // 50]}\n" for i in range(100) if i not in (10, 49)
    ]
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "t.csv").write_text("when;x;label\n" + "".join(lines))
    words = [
        "prepare",
        "series",
        str(folder),
        "--out",
        str(tmp_path / "s"),
        "--channels",
        "x",
        "--valid-fraction",
        "0.5",
    ]
    assert speechrnn.cli.main([*words, "--decimal", ",", "--day-first"]) == 0
    (example,) = manifest.read(tmp_path / "s" / "valid.jsonl")
    assert example.extra["table"] == {"decimal": ",", "day_first": True}
    found, rate = read_example(example, max_gap=7200)
    assert rate == pytest.approx(1 / 3600)
    np.testing.assert_allclose(found[:, 0], np.arange(50, 100) + 0.125)
    words = ["prepare", "csv", str(folder), "--out", str(tmp_path / "c"), "--decimal", ",", "--day-first"]
    assert speechrnn.cli.main(words) == 0
    (example,) = manifest.read(tmp_path / "c" / "train.jsonl")
    found, _ = read_example(example)
    np.testing.assert_allclose(found[:, 0], np.arange(100) + 0.125)
    hours = [(start / 3600, end / 3600, label) for start, end, label in example.labels]
    assert hours == [(0, 49, "a"), (50, 100, "b")]  # the hour between two classes has none
