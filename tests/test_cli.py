"""The command line: generated options, where results go, exit codes, and interruptions."""

import inspect
import io
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
from fakes import Speller, record, stand_in, transcribed

from speechrnn import audio, cli
from speechrnn.cli import check_manifest as cli_check
from speechrnn.cli import download as cli_download
from speechrnn.cli import options, register, scripts, task, terminal
from speechrnn.cli.verb import UsageError, Verb
from speechrnn.data import manifest
from speechrnn.data.corpora import CORPORA, prepare_function
from speechrnn.data.download import Downloaded
from speechrnn.data.manifest import Example
from speechrnn.features.augment import Augmentation
from speechrnn.tasks.recognition.options import RecognizerTraining

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def fake_model(monkeypatch):
    """Any model's name stands for the speller."""
    speller = Speller()
    stand_in(monkeypatch, speller)
    return speller


@pytest.fixture
def files(tmp_path):
    return [record(tmp_path / f"{name}.wav", text) for name, text in (("one", "bad cab"), ("two", "jig"))]


@pytest.fixture
def corpus(tmp_path, files):
    """A manifest of two speakers; the speller makes one error in three words."""
    examples = [
        Example(files[0], 0.9, text="bad cab", subject="ann"),
        Example(files[1], 0.4, text="jag", subject="bob"),
    ]
    manifest.write(tmp_path / "test.jsonl", examples)
    return str(tmp_path / "test.jsonl")


# Options from declarations


def parsed(name, *words):
    """What the function of a verb gets."""
    return register.verb(name, words).parse(words)


def all_options():
    """Every option of every verb, of every kind and every corpus."""
    variants = [(name, ()) for name in register.names()]
    variants += [(verb, ("--task", word)) for verb in ("train", "evaluate") for word in task.tasks(verb)]
    variants += [("train", ("--model", "m.keras"))]
    variants += [("prepare", (corpus,)) for corpus in CORPORA]
    for name, words in variants:
        for _, option in register.verb(name, words).options.values():
            yield " ".join((name, *words)), option


def test_every_option_says_what_it_is_for():
    assert [(verb, option.flag) for verb, option in all_options() if not option.help.endswith((".", ")"))] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["transcribe"], ["--lm FILE ", "--words FILE ", "--calibration FILE ", "included model; by default"]),
        (["train"], ["--noise-folder DIR", "--normalize {utterance,global,none}", "in samples; `none` is 25 ms"]),
        (["prepare", "table"], ["--root DIR", "only with `--offset-column`", "`none` for none"]),
        (["classify"], ["--decimal {. or ,}", "classifier. (required)"]),
        (["serve"], ["--keys FILE", "--lexicon FILE"]),
    ],
)
def test_help_speaks_of_the_command_line_and_tells_files_from_texts(words, said, capsys):
    assert cli.main([*words, "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())  # lines are as wide as the terminal
    assert [part for part in said if part.strip() not in told] == []
    assert "None" not in told


def test_the_model_that_a_verb_takes_by_default_is_named():
    told = {verb: option.help for verb, option in all_options() if option.flag == "--model"}
    assert {
        verb: text for verb, text in told.items() if re.search("comes with the package|included (English )?one", text)
    } == {}
    assert [
        verb
        for verb in ("align", "evaluate", "report", "serve", "stream", "transcribe")
        if "`english`" not in told[verb]
    ] == []


def test_an_option_has_one_type_everywhere():
    found = {}
    for verb, option in all_options():
        if not option.positional:
            found.setdefault(option.flag, {}).setdefault(_type(option), []).append(verb)
    several = {flag: kinds for flag, kinds in found.items() if len(kinds) > 1}
    assert set(several) == OTHER_TYPES, several


OTHER_TYPES = {"--format", "--monitor", "--cell", "--sample-rate"}
"""What can be chosen here is not the same for all kinds."""


def _type(option):
    inner = [one for one in get_args(option.type) if one not in (type(None), ...)]  # several models are models
    return inner[0] if len(inner) == 1 and get_origin(option.type) is not Literal else option.type


def test_an_option_has_one_meaning_everywhere():
    assert several_meanings(all_options()) == {}
    assert {verb.split()[0] for verb, option in all_options() if option.flag == "--name"} == {"prepare"}  # data sets


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("beam", "Width of a ray of light."),
        ("beam", "Number of texts that the beam search forgets. By default decoding is greedy."),
        ("seed", ""),
        ("model", "Cars of this make."),
    ],
)
def test_an_option_of_a_known_name_with_another_meaning_is_found(name, words):
    added = "show", options.Option(name, int | None, words, None)
    assert set(several_meanings([*all_options(), added])) == {added[1].flag}


def several_meanings(found):
    """Options that are not told in the same words everywhere: the words, each with its verbs."""
    told = {}
    for verb, option in found:
        reworded, _ = OTHER_WORDS.get(option.flag, ("", ""))
        if not option.positional and not (reworded and re.search(reworded, option.help)):
            told.setdefault(option.flag, {}).setdefault(meaning(option.help), []).append(verb)
    return {flag: words for flag, words in told.items() if len(words) > 1 or flag in OTHER_WORDS}


OTHER_WORDS = {
    "--model": (
        r"\b(model|[Rr]ecognizers?|classifier|forecaster|language model|encoder-decoder|voice)\b",
        "the model that a verb works with: which kinds and which files it takes is not the same for all verbs",
    ),
}
"""Options whose meaning is one and whose words are not: what their words have in common, and why they differ."""


def meaning(words):
    """The first sentence of a help text as far as its colon, without defaults."""
    words = re.sub(r" \(default: .*?\)", "", " ".join(words.split()))
    first = re.split(r"(?<=[.:])\s", words)[0].rstrip(".:")
    return re.sub(r"; (by default|`?None`? is|`?None`? for|0 for|0 turns) .*", "", first)


def test_what_verbs_share_is_told_once():
    told = {name: set() for name in options.SHARED}
    for _, option in all_options():
        if option.name in told:
            told[option.name].add(option.help.startswith(options.SHARED[option.name].rstrip(".")))
    assert set(map(frozenset, told.values())) == {frozenset({True})}


def test_the_main_function_of_a_script_is_its_command_line(capsys):
    usual = RecognizerTraining(epochs=7)

    def main(folder: str, names: list[str], out: str = "runs", hidden=True, options=usual):
        """Do it.

        Args:
            folder: Where data are.
            names: What to do.
            out: Where results go.
        """
        if out == "bad":
            raise ValueError("out is bad.")
        print(folder, names, out, hidden, options.epochs, options.average)

    assert scripts.run(main, ["--data", "d", "a", "b", "--average", "0.5"], folder="data") == 0
    assert scripts.run(main, ["--data", "d", "a", "--out", "bad"], folder="data") == 2
    assert scripts.run(main, ["--data", "d", "a", "--epohcs", "1"], folder="data") == 2
    assert scripts.run(main, ["--data", "d"], folder="data") == 2
    assert scripts.run(main, ["--help"], folder="data") == 0
    out, err = capsys.readouterr()
    assert out.startswith("d ['a', 'b'] runs True 7 0.5\n") and __doc__ in out and "--hidden" not in out
    assert re.search(r"--epochs N +Passes over the training data. \(default: 7\)", out)
    assert (
        "error: out is bad." in err
        and "unknown option --epohcs. Did you mean `--epochs`?" in err
        and "NAMES is required." in err
    )


def test_words_become_the_declared_types():
    words = ["m.jsonl", "--out", "a.keras", "--epochs", "3", "--learning-rate", "1e-4", "--cache", "none"]
    words += ["--no-residual", "--cell", "gru", "--speed", "0.9", "1.1", "--tensorboard", "--f-max", "4000"]
    manifests, given = parsed("train", *words)
    assert manifests == ("m.jsonl",)
    assert given["training"] == {"epochs": 3, "learning_rate": 1e-4, "cache": None, "tensorboard": True}
    assert given["network"] == {"residual": False, "cell": "gru"}
    assert given["augmentation"] == {"speed": (0.9, 1.1)}
    assert given["features"] == {"f_max": 4000.0}
    assert RecognizerTraining(**given["training"]) == RecognizerTraining(
        epochs=3, learning_rate=1e-4, cache=None, tensorboard=True
    )


def test_a_kind_has_its_own_options_and_no_others(capsys):
    for word, own, others in (
        ("transcribe", "--consistency", ("--mixup", "--horizon")),
        ("classify", "--mixup", ("--consistency", "--horizon", "--subwords")),
        ("forecast", "--horizon", ("--mixup", "--speed", "--num-mels", "--batch-seconds")),
        ("generate", "--max-characters", ("--speed", "--num-mels", "--bidirectional")),
    ):
        assert cli.main(["train", "--task", word, "--help"]) == 0
        told = capsys.readouterr().out
        assert f"  {own} " in told
        assert [flag for flag in others if f"  {flag} " in told] == []


@pytest.mark.parametrize(
    ("example", "word"),
    [
        ({"text": "a"}, "transcribe"),
        ({"label": "a"}, "classify"),
        ({"extra": {"tags": ["a"]}}, "classify"),
        ({}, "forecast"),
    ],
)
def test_the_task_follows_from_the_manifest(example, word, tmp_path):
    manifest.write(tmp_path / "m.jsonl", [Example("a.wav", 1.0, **example)])
    assert task.chosen("train", [str(tmp_path / "m.jsonl"), "--out", "a.keras"]).method == word
    assert task.chosen("train", [str(tmp_path / "m.jsonl"), "--task=classify"]).method == "classify"


def test_what_words_cannot_say_is_refused_when_the_verb_is_made():
    def work(*, model: object):
        """Nothing."""

    with pytest.raises(TypeError, match="work: `model` cannot be an option of a command line"):
        Verb("work", work).help()

    def twice(*, epochs: int = 1, training: dict):
        """Nothing."""

    group = options.Group("speechrnn.training.options:TrainingOptions")
    with pytest.raises(TypeError, match="two options are called --epochs"):
        Verb("twice", twice, {"training": [group]}).help()


@pytest.mark.parametrize(
    ("annotation", "words", "value"),
    [
        (int, ["3"], 3),
        (float | None, ["none"], None),
        (int | float, ["2.5"], 2.5),
        (tuple[float, float] | None, ["-1", "2"], (-1.0, 2.0)),
        (Sequence[str], ["a", "b", "c"], ("a", "b", "c")),
        (tuple[int, ...], ["1", "2", "3"], (1, 2, 3)),
        (Literal["x", "y"] | None, ["y"], "y"),
        (Literal["x", "y"] | None, ["none"], None),
        (str | os.PathLike[str], ["a/b"], "a/b"),
        (str | None, ["none"], None),
        (str, ["-"], "-"),
        (bool | None, [], True),
    ],
)
def test_annotations_are_understood(annotation, words, value):
    def work(*, option: annotation = 7):
        """Nothing."""

    assert Verb("work", work).parse(["--option", *words]) == ((), {"option": value})


def test_pairs_are_learned_measured_and_translated(tmp_path, capsys):
    pairs, model = tmp_path / "pairs.tsv", str(tmp_path / "m.keras")
    pairs.write_text("ab\tAB\nb\tB\na\tA\nba\tBA\n")
    words = ["train", str(pairs), "--valid", str(pairs), "--out", model, "--task", "translate", "--epochs", "1"]
    assert cli.main([*words, "--units", "4", "--attention", "4", "--embedding", "4", "--batch-size", "2"]) == 0
    assert "validation errors" in capsys.readouterr().out
    assert cli.main(["evaluate", str(pairs), "--model", model]) == 0
    assert cli.main(["translate", "ab", "b", "--model", model, "--beam", "2"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["ab", "b"]


def test_lists_add_up():
    for words in (["--format", "txt", "--format", "json"], ["--format", "txt", "json"]):
        assert parsed("transcribe", "a.wav", *words)[1]["format"] == ("txt", "json")


def test_options_within_an_argument():
    given = parsed("forecast", "a.csv", "--decimal", ",", "--table-encoding", "latin-1", "--no-header")[1]
    assert given["options"] == {"table": {"decimal": ",", "encoding": "latin-1", "header": False}}
    given = parsed("prepare", "series", "DIR", "--out", "m", "--delimiter", "tab")[1]
    assert given["options"] == {"table": {"delimiter": "tab"}}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_verbs_and_options(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    told = capsys.readouterr().out
    for word in ("transcribe", "perplexity", "hotwords", "epochs"):
        assert word in told


_COMPLETE = """
source ./speechrnn.bash
while read -ra COMP_WORDS; do
  [ "${COMP_WORDS[-1]}" = "''" ] && COMP_WORDS[-1]=""
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  $(complete -p speechrnn | sed 's/.*-F \\([^ ]*\\).*/\\1/')
  echo "${COMPREPLY[*]}"
done
"""


def test_bash_completes_words_files_and_the_options_of_every_task(tmp_path, capsys):
    """Runs the script in bash, word by word."""
    cli.main(["completion", "bash"])
    (tmp_path / "speechrnn.bash").write_text(capsys.readouterr().out)
    (tmp_path / "talk.wav").touch()
    expected = {
        "lm ''": "train tune perplexity", "transcribe --format t": "txt tsv", "transcribe ta": "talk.wav",
        "export --model ta": "talk.wav", "train --task cl": "classify", "train --task classify --mixu": "--mixup",
        "prepare an": "an4", "prepare an4 --sh": "--shard",
    }  # fmt: skip
    lines = "".join(f"speechrnn {words}\n" for words in expected)
    done = subprocess.run(["bash", "-c", _COMPLETE], input=lines, capture_output=True, text=True, cwd=tmp_path)
    assert dict(zip(expected, done.stdout.splitlines(), strict=True)) == expected, done.stderr


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_the_first_time_it_loads_the_script(tmp_path, capsys):
    """The file is called `_speechrnn`, as zsh wants, and the function within it has another name."""
    cli.main(["completion", "zsh"])
    (tmp_path / "_speechrnn").write_text(capsys.readouterr().out)
    stub = '_arguments() { print -l -- "$@" }; compdef() { print -- "$@" }'
    loaded = f"{stub}; fpath=($PWD); autoload -U _speechrnn; _speechrnn"
    for script, told in ((loaded, "*::arg:->args"), (f"{stub}; source ./_speechrnn", " speechrnn")):
        done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, cwd=tmp_path)
        assert told in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["classify", "m.keras", "a.csv"], "speechrnn classify --model m.keras"),
        (["evaluate", "m.onnx", "m.jsonl"], "speechrnn evaluate --model m.onnx"),
        (["align", "m.keras", "a.wav", "text"], "speechrnn align --model m.keras"),
        (["export", "m.keras"], "speechrnn export --model m.keras"),
        (["doctor", "m.keras"], "speechrnn doctor --model m.keras"),
        (["transcribe", "-", "--rate", "16000"], "--rate: is given as --encoding s16le@HZ."),
        (["evaluate", "m.jsonl", "--per-speaker"], "--per-speaker: now called --per-subject."),
        (["evaluate", "m.jsonl", "--normalize"], "--normalize: now called --normalize-texts."),
        (["export", "--model", "m.keras", "--to", "onnx"], "--to: now called --format."),
        (["download", "an4", "--to", "d"], "--to: now called --out."),
        (["spot", "a.wav", "--model", "m.onnx", "--hop", "0.1"], "--hop: now called --hop-seconds."),
        (["lm", "generate", "lm.onnx"], "unknown verb `lm generate`. Did you mean `generate`?"),
        (
            ["train", "m.jsonl", "--out", "x.keras", "--model", "m.keras", "--units", "3"],
            "--units: --model brings its own",
        ),
        (["train", "m.jsonl", "--out", "x.keras", "--task", "clasify"], "Did you mean `classify`?"),
        (["train", "m.jsonl", "--out", "x.keras", "--mixup", "0.2"], "--mixup: an option of --task classify"),
    ],
)
def test_an_old_or_misplaced_word_is_told_the_new_one(words, said, capsys):
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["train", "m.jsonl", "--out", "a.keras", "--epohcs", "3"],
            "unknown option --epohcs. Did you mean `--epochs`?",
        ),
        (["train", "m.jsonl", "--out", "a.keras", "--epoch", "3"], "Did you mean `--epochs`?"),
        (
            ["train", "m.jsonl", "--out", "a.keras", "--cell", "lstn"],
            '"lstn" for --cell. Choose from: "lstm", "gru", "rnn". Did you mean "lstm"?',
        ),
        (["train", "m.jsonl", "--out", "a.keras", "--epochs", "many"], '"many" is not a whole number'),
        (["train", "m.jsonl"], "--out"),
        (["transcribe"], "FILE"),
        (["transcribe", "--hotwords", "a", "a.wav"], "FILE is required. --hotwords takes all words after it: put FILE"),
        (["evaluate", "--hotwords", "a", "m.jsonl"], "put MANIFEST before it, or `--` between them."),
        (["transcribe", "--format", "srt", "a.wav"], "--format takes all words after it"),
        (["train", "--valid", "a.jsonl", "b.jsonl", "--out", "a.keras"], "--valid takes all words after it: put"),
        (["train", "--valid", "a.jsonl", "--out", "a.keras"], "MANIFEST is required.\nSee"),
        (["transcribe", "a.wav", "--format", "xml"], '"tsv", "ctm".\nSee'),
        (["classify", "a.wav"], "--model is required. `speechrnn train --task classify` makes one."),
        (["speak", "hello", "--out", "a.mp3"], "--out must end in .wav. Received: a.mp3"),
        (["download", "nothing", "--out", "data"], "Known: an4"),
        (["transcribe", "a.wav", "--jsn"], "Did you mean `--json`?"),
        (["transcribe", "a.wav", "--format", "doc"], "doc"),
        (["export", "--model", "m.keras", "--out", "m.docx"], "the ending of --out must be one of .onnx, .savedmodel,"),
        (["transcribe", "a.wav", "--format", "srt", "vtt"], "need --out-dir"),
        (["transcribe", "a.wav", "b.wav", "--format", "srt"], "needs --out-dir"),
        (["transcribe", "a.wav", "--out", "x", "--out-dir", "y"], "exclude each other"),
        (["transcribe", "-", "-"], "once only"),
        (["transcribe", "-", "--jobs", "2"], "cannot be shared"),
        (["transcribe", "a.wav", "--jobs", "0"], "at least 1"),
        (["train", "m.jsonl", "--out", "a", "--out", "b"], "--out specified multiple times"),
        (["evaluate", "--model", "m.keras", "m.jsonl", "extra"], "unexpected argument 'extra'"),
        (["evalute"], "unknown verb `evalute`. Did you mean `evaluate`?"),
        (["--verison"], "unknown option `--verison`"),
        ([], "usage: speechrnn VERB"),
    ],
)
def test_wrong_usage_is_2_with_a_hint_and_nothing_on_stdout(words, said, capsys):
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""
    assert "Traceback" not in err


def test_help_and_version(capsys):
    import speechrnn

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"speechrnn {speechrnn.__version__}\n"
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {verb} " in text for verb in register.names())
    for verb in register.names():
        assert cli.main([*verb.split(), "--help"]) == 0
        assert f"usage: speechrnn {verb}" in capsys.readouterr().out
    assert cli.main(["lm"]) == 0
    assert "lm perplexity" in capsys.readouterr().out


# Transcribe


def test_one_file_gives_its_text_alone(fake_model, files, capsys):
    assert cli.main(["transcribe", files[0]]) == 0
    assert capsys.readouterr() == ("bad cab\n", "")


def test_several_files_give_path_and_text_in_the_order_given(fake_model, files, capsys):
    assert cli.main(["transcribe", *files[::-1]]) == 0
    assert capsys.readouterr().out == f"{files[1]}\tjig\n{files[0]}\tbad cab\n"


def test_json_is_one_object_a_line(fake_model, files, capsys):
    assert cli.main(["transcribe", *files, "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["text"] for entry in found] == ["bad cab", "jig"]
    assert [word["word"] for word in found[0]["words"]] == ["bad", "cab"]


def test_results_go_to_a_file_that_is_not_replaced_unasked(fake_model, files, tmp_path, capsys):
    out = tmp_path / "new" / "out.txt"
    assert cli.main(["transcribe", files[0], "--out", str(out)]) == 0
    assert out.read_text() == "bad cab\n"
    assert cli.main(["transcribe", files[1], "--out", str(out)]) == 2
    assert out.read_text() == "bad cab\n"
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main(["transcribe", files[1], "--out", str(out), "--overwrite"]) == 0
    assert out.read_text() == "jig\n"


def test_several_formats_go_to_a_folder(fake_model, files, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["transcribe", *files, "--format", "txt", "srt", "ctm", "--out-dir", str(out)]
    assert cli.main(words) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        f"{n}.{f}" for n in ("one", "two") for f in ("ctm", "srt", "txt")
    ]
    assert (out / "two.txt").read_text() == "jig\n"
    assert (out / "one.srt").read_text().splitlines()[1] == "00:00:00,060 --> 00:00:00,900"
    assert cli.main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*words, "--overwrite"]) == 0
    assert capsys.readouterr() == ("", "")


def test_files_of_one_name_do_not_take_each_others_place(fake_model, tmp_path):
    names = [record(tmp_path / folder / "x.wav", text) for folder, text in (("a", "big"), ("b", "jig"))]
    assert cli.main(["transcribe", *names, "--out-dir", str(tmp_path / "out")]) == 0
    found = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert found == {"a_x.wav.txt": "big\n", "b_x.wav.txt": "jig\n"}


def test_one_format_goes_to_stdout(fake_model, files, capsys):
    assert cli.main(["transcribe", files[1], "--format", "vtt", "--cue-hold", "0"]) == 0
    assert capsys.readouterr().out == "WEBVTT\n\n00:00:00.060 --> 00:00:00.340\njig\n"
    assert cli.main(["transcribe", *files, "--format", "ctm"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["one", "one", "two"]


def test_audio_from_a_pipe(fake_model, files, monkeypatch, capsys):
    with open(files[1], "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
        assert cli.main(["transcribe", "-"]) == 0
    assert capsys.readouterr().out == "jig\n"
    samples = Path(files[0]).read_bytes()[44:]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(samples)))
    assert cli.main(["transcribe", "-", "--encoding", "s16le@16000"]) == 0
    assert capsys.readouterr().out == "bad cab\n"


def test_ctrl_c_keeps_the_results_there_are(fake_model, files, tmp_path, monkeypatch, capsys):
    from speechrnn.tasks.recognition import transcription as transcribe

    outcomes = transcribe.outcomes

    def interrupted(*arguments, **keywords):
        yield next(outcomes(*arguments, **keywords))
        raise KeyboardInterrupt

    monkeypatch.setattr(transcribe, "outcomes", interrupted)
    assert cli.main(["transcribe", *files, "--out", str(tmp_path / "out.txt")]) == 130
    assert (tmp_path / "out.txt").read_text() == f"{files[0]}\tbad cab\n"
    assert cli.main(["transcribe", *files]) == 130
    assert capsys.readouterr().out == f"{files[0]}\tbad cab\n"


def test_a_closed_pipe_is_no_traceback(fake_model, files, monkeypatch, capsys):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    assert cli.main(["transcribe", *files]) == cli.BROKEN_PIPE
    assert capsys.readouterr().err == ""


def test_no_bar_where_stderr_is_no_terminal(fake_model, files, capsys):
    cli.main(["transcribe", *files])
    assert capsys.readouterr().err == ""


def test_a_bar_where_stderr_is_a_terminal_and_results_stay_on_stdout(fake_model, files, monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal_output = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal_output)
    monkeypatch.setenv("TERM", "xterm")
    assert cli.main(["transcribe", *files]) == 0
    assert capsys.readouterr().out == f"{files[0]}\tbad cab\n{files[1]}\tjig\n"
    assert "files" in terminal_output.getvalue()


def test_a_missing_model_is_said_before_tensorflow_starts(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "start_tensorflow", lambda: pytest.fail("started"))
    assert cli.main(["transcribe", files[0], "--model", str(tmp_path / "none.keras")]) == 2
    assert "none.keras: no such model file" in capsys.readouterr().err


def test_a_file_name_that_is_not_utf8_comes_out_as_it_went_in(fake_model, tmp_path, files):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/b\xffd.wav")
    os.rename(files[0], name)
    outs = tmp_path / "out.txt", tmp_path / "out.jsonl"
    assert cli.main(["transcribe", name, files[1], "gone\udcff.wav", "--out", str(outs[0])]) == 1
    assert outs[0].read_bytes().splitlines()[0] == os.fsencode(name) + b"\tbad cab"
    assert cli.main(["transcribe", name, files[1], "--json", "--out", str(outs[1])]) == 0
    assert [json.loads(entry)["path"] for entry in outs[1].read_text().splitlines()] == [name, files[1]]


def fake_tensorflow(folder, monkeypatch, code):
    """A `tensorflow` that writes to descriptor 2, as the real one does, and then runs `code`."""
    (folder / "tensorflow.py").write_text(f"import os\nos.write(2, b'a note')\n{code}\n")
    monkeypatch.syspath_prepend(folder)
    # Set before they are deleted, so that both are put back as they were.
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")


def test_tensorflow_starts_without_its_notes(tmp_path, monkeypatch, capfd):
    fake_tensorflow(tmp_path, monkeypatch, "")
    terminal.start_tensorflow()
    os.write(2, b"open again")
    assert capfd.readouterr().err == "open again"


def test_tensorflow_that_fails_shows_its_notes(tmp_path, monkeypatch, capfd):
    fake_tensorflow(tmp_path, monkeypatch, "raise ImportError('broken')")
    with pytest.raises(ImportError, match="broken"):
        terminal.start_tensorflow()
    assert capfd.readouterr().err == "a note"


def test_who_asks_for_notes_gets_them(tmp_path, monkeypatch, capfd):
    fake_tensorflow(tmp_path, monkeypatch, "")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    terminal.start_tensorflow()
    import tensorflow  # noqa: F401

    assert capfd.readouterr().err == "a note"


# Evaluate


def test_a_report_for_people(fake_model, corpus, capsys):
    assert cli.main(["evaluate", "--model", "any.keras", corpus, "--per-subject"]) == 0
    out, err = capsys.readouterr()
    assert "WER 33.33 %" in out
    assert "jag > jig (1)" in out
    assert "ann" in out
    assert "bob" in out
    assert err == ""


def test_a_report_for_programs(fake_model, corpus, capsys, tmp_path):
    assert cli.main(["evaluate", "--model", "any.keras", corpus, "--json", "--details"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["wer"] == pytest.approx(1 / 3)
    assert found["speakers"]["bob"]["substitutions"] == 1
    assert [entry["hypothesis"] for entry in found["details"]] == ["bad cab", "jig"]
    assert cli.main(["evaluate", "--model", "any.keras", corpus, "--json", "--out", str(tmp_path / "r.json")]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["wer"] == found["wer"]


def test_texts_can_be_brought_to_their_normal_form_first(fake_model, tmp_path, files, capsys):
    manifest.write(tmp_path / "m.jsonl", [Example(files[0], 0.9, text="Bad, CAB!")])
    for words, rate in (([], 1.0), (["--normalize-texts"], 0.0)):
        assert cli.main(["evaluate", "--model", "any.keras", str(tmp_path / "m.jsonl"), "--json", *words]) == 0
        assert json.loads(capsys.readouterr().out)["wer"] == rate


def test_check_manifest_holds_examples_against_a_model(fake_model, corpus, monkeypatch, capsys):
    asked = {}

    def check(examples, **keywords):
        asked.update(keywords)
        return whole(examples, **keywords)

    whole = cli_check.check
    monkeypatch.setattr(cli_check, "check", check)
    monkeypatch.setattr(fake_model, "stride", 16, raising=False)
    monkeypatch.setattr(fake_model, "feature_frames", lambda n: max(0, 1 + (n - 400) // 160), raising=False)
    assert cli.main(["check-manifest", corpus, "--model", "any.keras", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["too short for their text"] == 1  # "bad cab" in 6 frames
    assert asked["vocabulary"] is fake_model.vocabulary


# Train, on the way to `train()`


@pytest.mark.parametrize("interrupted", [False, True])
def test_train_builds_what_was_asked_for(interrupted, corpus, tmp_path, monkeypatch, capsys):
    from speechrnn import training

    asked = {}

    def trained(model, examples, **keywords):
        asked.update(keywords, model=model, examples=examples)
        rows = ({"epoch": 1, "val_loss": 2.0, "val_wer": 0.5}, {"epoch": 2, "val_loss": 1.0, "val_wer": 0.25})
        return training.TrainingRun(str(keywords["out"]), "folder", rows, 2, 61.0, interrupted)

    monkeypatch.setattr(training, "train", trained)
    out = str(tmp_path / "m.keras")
    words = ["train", corpus, "--valid", corpus, "--out", out, "--units", "8", "--layers", "1", "--num-mels", "12"]
    words += ["--epochs", "2", "--augment", "--time-masks", "1", "--sample-rate", "8000"]
    assert cli.main(words) == (cli.INTERRUPTED if interrupted else 0)
    assert capsys.readouterr().out == f"{out}: epoch 2 of 2, validation WER 25.0 %, 61 s\n"
    assert asked["options"] == RecognizerTraining(epochs=2)
    assert asked["augment"] == Augmentation.speech(time_masks=1)
    assert (asked["model"].sample_rate, asked["model"].features.num_features) == (8000, 12)
    assert asked["model"].vocabulary.symbols == tuple(" abcdgj")
    assert len(asked["examples"]) == len(asked["valid"]) == 2
    assert (asked["resume"], asked["overwrite"]) == (False, False)


def test_train_refuses_before_the_work(corpus, tmp_path, capsys):
    (tmp_path / "m.keras").write_bytes(b"old")
    words = ["train", corpus, "--out", str(tmp_path / "m.keras")]
    assert cli.main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*words, "--model", "a.keras", "--units", "3"]) == 2
    assert "--units: --model brings its own" in capsys.readouterr().err


# Prepare and download


def test_prepare_writes_the_manifests_and_names_what_it_left_out(tmp_path, files, capsys):
    (tmp_path / "list.csv").write_text(f"path,text,who\n{files[0]},Bad CAB,ann\n{files[1]},jig,bob\ngone.wav,x,bob\n")
    words = ["prepare", "table", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out"), "--subject-column", "who"]
    assert cli.main(words) == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}/out/list.jsonl: 2 examples, 0.00 h\n"
    assert "gone.wav" in err
    assert "1 of 3 recordings failed: 1 missing." in err
    examples = manifest.read(tmp_path / "out" / "list.jsonl")
    assert [(example.text, example.subject) for example in examples] == [("bad cab", "ann"), ("jig", "bob")]
    assert cli.main(words) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prepare", "an5", "x", "--out", "y"], "unknown corpus `an5`. Did you mean `an4`?"),
        (["prepare", "--out", "y", "an4", "/nowhere"], "/nowhere: there is no such folder"),
        (["prepare", "an4", "x", "--out", "y", "--valid-fractoin", "1"], "Did you mean `--valid-fraction`?"),
        (["prepare", "an4", "/nowhere", "--out", "y"], "/nowhere: there is no such folder"),
        (["download", "an5", "--out", "y"], "Did you mean `an4`?"),
    ],
)
def test_wrong_corpora_are_2(words, said, capsys):
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("corpus", CORPORA)
def test_each_corpus_explains_its_own_options(corpus, capsys):
    assert cli.main(["prepare", corpus.replace("_", "-"), "--help"]) == 0
    told = capsys.readouterr().out
    found = {
        option.within or option.key or name for name, (_, option) in register.verb("prepare", [corpus]).options.items()
    }
    assert CORPORA[corpus] in told and not [
        other for other in CORPORA.values() if other in told.replace(CORPORA[corpus], "")
    ]
    own = inspect.signature(prepare_function(corpus)).parameters
    assert own.keys() - {"folder", "file", "faults", "progress"} <= found
    assert all(option.usage in told for _, option in register.verb("prepare", [corpus]).options.values())


def test_download_prints_the_folder_and_says_how_it_was_checked(monkeypatch, capsys):
    asked = {}

    def fetched(name, folder, **keywords):
        asked.update(keywords, name=name, folder=folder)
        return Downloaded("there/an4", "free", "md5:0", True)

    monkeypatch.setattr(cli_download, "fetch", fetched)
    assert cli.main(["download", "an4", "--out", "there", "--keep-archive", "--retries", "2"]) == 0
    assert capsys.readouterr() == ("there/an4\n", "speechrnn: there/an4 (free; md5:0, as published)\n")
    assert asked == {"name": "an4", "folder": "there", "keep_archive": True, "retries": 2, "progress": None}


@pytest.mark.parametrize("words", [["transcribe", "FILE", "b.wav"], ["evaluate", "FILE"], ["report", "FILE"]])
def test_results_never_replace_what_they_are_made_from(words, tmp_path, fake_model, capsys):
    file = tmp_path / "a.wav"
    file.write_bytes(b"the only copy")
    given = [str(file) if word == "FILE" else word for word in words]
    (tmp_path / "link").symlink_to(file)
    assert cli.main([*given, "--out", str(tmp_path / "link"), "--overwrite"]) == 2
    assert "is one of the inputs. Write the results to another file." in capsys.readouterr().err
    assert file.read_bytes() == b"the only copy"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "TEXT"], "is no manifest: no line is a JSON object. It begins with b'# Notes'"),
        (["align", "a.wav", "@nowhere.txt"], "nowhere.txt: there is no such file. Check the path."),
        (["export", "--model", "english"], "is an included model, which is exported already: "),
        (["export", "--model", "englsih"], "englsih: no such model file."),
        (["doctor", "--model", "english"], "is an included model, which is exported already: "),
        (["serve", "--port", "65536"], "`port` must be from 0 to 65535. Received: port=65536."),
        (["serve", "--host", "nowhere.invalid"], "Choose another --host."),
    ],
)
def test_the_wrong_file_is_told_in_one_line(words, said, tmp_path, fake_model, capsys):
    (tmp_path / "notes.md").write_text("# Notes\nOne.\nTwo.\nThree.\nFour.\n")
    assert cli.main([str(tmp_path / "notes.md") if word == "TEXT" else word for word in words]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


# A process of its own


def test_the_module_runs_as_a_process(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "speechrnn",
            "transcribe",
            str(tmp_path / "a.wav"),
            "--model",
            str(tmp_path / "m.keras"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"speechrnn: error: {tmp_path / 'm.keras'}: no such model file.\n"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 with NumPy 2, on saving
def test_a_real_model_transcribes_in_a_process_with_nothing_on_stderr(tmp_path, rng):
    from speechrnn import audio
    from speechrnn.features import LogMel
    from speechrnn.tasks.recognition.model import SpeechRecognizer
    from speechrnn.tasks.recognition.network import recurrent_ctc
    from speechrnn.text import Vocabulary

    vocabulary, features = Vocabulary("ab "), LogMel(8000, num_mels=8)
    network = recurrent_ctc(num_features=8, vocabulary_size=len(vocabulary), units=4, layers=1)
    SpeechRecognizer(features, network, vocabulary).save(tmp_path / "m.keras")
    for name, samples in (("a", 4000), ("one", 1), ("c", 9000)):
        audio.write(tmp_path / f"{name}.wav", rng.uniform(-0.1, 0.1, samples), 8000)
    names = [str(tmp_path / f"{name}.wav") for name in ("a", "one", "c")]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-m", "speechrnn", "transcribe", *names, "--model", str(tmp_path / "m.keras"), "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert [json.loads(entry)["duration"] for entry in done.stdout.splitlines()] == [0.5, 1.125]
    assert done.stderr.splitlines() == [
        f"speechrnn: {names[1]}: 1 sample (0.0001 s at 8000 Hz) are less than one frame of the model. "
        "Leave it out, or record more.",
        "speechrnn: 1 of 3 files failed: 1 shorter than one frame.",
    ]
    assert done.returncode == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["transcribe", "--help"]])
def test_a_full_standard_output_is_said(words):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "speechrnn", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "speechrnn: error: No space left on device.\n")


def test_unknown_names_are_not_abbreviations(capsys):
    assert cli.main(["transcribe", "a.wav", "--over"]) == 2
    assert "unknown option --over." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("closed", "words"), [("<&-", "transcribe -"), (">&-", "transcribe --help"), (">&-", "--version")]
)
def test_a_closed_stream_is_a_sentence(closed, words):
    command = f"exec {sys.executable} -m speechrnn {words} {closed}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"speechrnn: error: standard (in|out)put is closed\. .*\n", done.stderr, flags=re.IGNORECASE)


# Stream


@pytest.fixture
def streaming_model(tmp_path):
    from test_streaming import made

    from speechrnn.export.writing import onnx_bytes

    path = tmp_path / "steps.onnx"
    path.write_bytes(onnx_bytes(made(layers=1), streaming=True))
    return str(path)


def test_a_stream_prints_its_text_at_the_end(streaming_model, files, capsys):

    (whole,) = transcribed(streaming_model, [files[0]])
    assert cli.main(["stream", files[0], "--model", streaming_model]) == 0
    out, err = capsys.readouterr()
    assert out == f"{whole.text}\n"
    assert "0.90 s heard, algorithmic latency 25 ms" in err
    assert "is at 16000 Hz and resampled to 8000 Hz" in err
    assert cli.main(["stream", files[0], "--model", streaming_model, "--json"]) == 0
    words = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert words == whole.to_dict()["words"]


def test_a_stream_in_real_time_takes_its_time(streaming_model, files):
    start = time.monotonic()
    assert cli.main(["stream", files[1], "--model", streaming_model, "--realtime"]) == 0
    assert time.monotonic() - start >= audio.probe(files[1]).duration - 0.02


def test_a_stream_from_a_pipe(streaming_model, files, monkeypatch, capsys):
    with open(files[0], "rb") as pipe:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
        assert cli.main(["stream", "-", "--model", streaming_model]) == 0
    assert "0.90 s heard" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["stream"], ["stream", "a.wav", "--mic"]])
def test_a_stream_has_one_source(words, capsys):
    assert cli.main(words) == 2
    assert "give a FILE, or --mic" in capsys.readouterr().err


def test_what_a_microphone_needs_is_said(streaming_model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(["stream", "--mic", "--model", streaming_model]) == 2
    assert "pip install 'speechrnn[mic]'" in capsys.readouterr().err


def test_a_microphone_is_heard_until_ctrl_c(streaming_model, monkeypatch, capsys):
    class Microphone:
        def __init__(self, *, samplerate, blocksize, callback, **_):
            self.push = lambda: callback(np.zeros((blocksize, 1), "float32"), blocksize, None, None)
            assert (samplerate, blocksize) == (8000, 160)

        def __enter__(self):
            for _ in range(5):
                self.push()

        def __exit__(self, *_):
            pass

    class Queue(queue.SimpleQueue):
        def get(self):
            if self.empty():
                raise KeyboardInterrupt
            return super().get()

    monkeypatch.setattr(queue, "SimpleQueue", Queue)
    stand_in = SimpleNamespace(InputStream=Microphone, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", stand_in)
    assert cli.main(["stream", "--mic", "--model", streaming_model]) == 0
    assert "0.10 s heard" in capsys.readouterr().err


# What the documents show


def shown_commands():
    """The commands in fenced blocks of README and docs."""
    written = [path for path in sorted((ROOT / "docs").rglob("*.md")) if not {"_build", "generated"} & set(path.parts)]
    for path in (ROOT / "README.md", *written):
        for block in re.findall(
            r"^```(?:sh|bash|console)?\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE
        ):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.rpartition("| ")[2] if "| speechrnn" in line else line
                if command.startswith("speechrnn ") and "..." not in command:
                    yield pytest.param(
                        command.partition(" #")[0].partition(" > ")[0], id=f"{path.name}: {command[:40]}"
                    )


@pytest.mark.parametrize("command", list(shown_commands()))
def test_commands_in_the_documents_are_understood(command):
    words = [word.strip("[]") for word in shlex.split(command)[1:]]
    name = " ".join(words[:2]) if " ".join(words[:2]) in register.names() else words[0]
    words = words[len(name.split()) :]
    try:
        register.verb(name, words).parse(words)
    except UsageError as error:  # the model, which would tell its task, is not there
        told = re.search(r"an option of --task (\w+)", str(error))
        if name != "evaluate" or told is None:
            raise
        register.verb(name, [*words, "--task", told[1]]).parse(words)
