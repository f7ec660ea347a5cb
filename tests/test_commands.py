"""Every command that the documents, the notebooks and the recipes show is one that the program takes."""

import ast
import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

from speechrnn import cli
from speechrnn.cli import scripts
from speechrnn.cli.verb import UsageError, Verb

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = r"(?:speechrnn|python -m pipelines\.\w+)\s"
LEFT_OUT = re.compile(r"is required\.|: an option of --task .*, not of --task")
"""Complaints about what a sentence leaves out: an argument, or a model's file, from which the task would follow."""


def texts():
    """What is read by people: each text with its name."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("speechrnn/pretrained/*.md")]
    for path in (page for page in pages if not {"_build", "generated"} & set(page.parts)):
        yield path, path.read_text()
    for path in ROOT.glob("notebooks/*.ipynb"):
        yield path, "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])
    for path in ROOT.glob("pipelines/*.py"):
        yield path, ast.get_docstring(ast.parse(path.read_text())) or ""


def commands(text):
    """The commands of a text, on lines of their own and in sentences, without what the shell does with them."""
    lines = text.replace("\\\n", " ").splitlines()
    shown = [line.strip() for line in lines if re.match(rf"\s*[!$]?\s*{PROGRAM}", line)]
    shown += [" ".join(code.split()) for code in re.findall(rf"`({PROGRAM}[^`]*)`", text)]
    for command in shown:
        first = re.split(r"\s(?:[|>]|&&|2>|;)\s|\|\||;\s", command.lstrip("!$ "))[0]
        yield command, shlex.split(re.sub(r"[][]", "", first), comments=True)


SHOWN = {path.relative_to(ROOT).as_posix(): found for path, text in texts() if (found := list(commands(text)))}


@pytest.mark.parametrize("page", SHOWN)
def test_what_a_page_shows_can_be_typed(page, monkeypatch, capsys):
    refused = []

    def parse(verb, given):
        if "--help" not in given:
            try:
                verb.parse(["x" if word == "..." else word for word in given])
            except UsageError as error:
                refused.append(str(error))
        return 0

    monkeypatch.setattr(Verb, "__call__", parse)
    for command, words in SHOWN[page]:
        if {"VERB", "NAME"} & set(words):  # a pattern
            continue
        if words[0] == "speechrnn":
            assert cli.main(words[1:]) == 0, command
        else:
            recipe(words[2], words[3:])
        assert [told for told in refused if not LEFT_OUT.search(told)] == [], command


def recipe(name, words):
    """What `python -m NAME` does with the words of its command line."""
    call = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text()).body[-1].body[0].value
    flags = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
    scripts.run(getattr(importlib.import_module(name), call.args[0].id), words, **flags)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("`speechrnn\nspot --model m.onnx a.wav`", ["speechrnn", "spot", "--model", "m.onnx", "a.wav"]),
        ("  $ speechrnn merge a \\\n  --overwrite | wc", ["speechrnn", "merge", "a", "--overwrite"]),
        ("!speechrnn lm tune [--lm a.lm ...] v  # slow", ["speechrnn", "lm", "tune", "--lm", "a.lm", "...", "v"]),
    ],
)
def test_commands_are_found(text, words):
    assert [found for _, found in commands(text)] == [words]
