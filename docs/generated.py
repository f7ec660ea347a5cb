"""Pages that are made when the site is built: the modules' public names, the command line, a gallery of notebooks."""

from __future__ import annotations

import base64
import importlib
import inspect
import json
import os
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx

import speechrnn

FOLDER = "reference/generated"
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
MODULES = (
    "speechrnn.data.check",
    "speechrnn.data.examples",
    "speechrnn.data.manifest",
    "speechrnn.decoding.lm.ngram",
    "speechrnn.faults",
    "speechrnn.models.answers",
    "speechrnn.models.averaging",
    "speechrnn.models.bundle",
    "speechrnn.models.kinds",
    "speechrnn.models.loading",
    "speechrnn.text.lexicons",
)
"""Documented beside the packages."""
PRIVATE = ("speechrnn.cli", "speechrnn.export.onnx", "speechrnn.pretrained")
"""Packages that are no one's to import."""
HOOKS = (
    "build",
    "call",
    "compute_mask",
    "compute_output_shape",
    "compute_output_spec",
    "from_config",
    "get_config",
    "inner_loop",
)
"""Methods that Keras calls, and nobody else."""


# The modules


def modules() -> list[str]:
    """Every package with public names, and `MODULES`."""
    packages = {info.name for info in pkgutil.walk_packages(speechrnn.__path__, "speechrnn.") if info.ispkg}
    found = {name for name in packages if not name.startswith(PRIVATE)} | set(MODULES)
    return sorted(name for name in found if public(importlib.import_module(name)))


def public(module: ModuleType) -> list[str]:
    """The functions, classes and values that a module says are public; of one that does not say, its own."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
    return [name for name in names if name[0] != "_" and not inspect.ismodule(getattr(module, name))]


def homes() -> dict[int, str]:
    """Where each public thing is documented: the first module that has it."""
    found: dict[int, str] = {}
    for name in modules():
        module = importlib.import_module(name)
        for attribute in public(module):
            found.setdefault(id(getattr(module, attribute)), f"{name}.{attribute}")
    return found


def module_page(name: str, known: dict[int, str]) -> str:
    """A page of one module, in reStructuredText."""
    module = importlib.import_module(name)
    lines = [name, "=" * len(name), "", f".. module:: {name}", "", *summary(module).splitlines(), ""]
    for attribute in public(module):
        value, full = getattr(module, attribute), f"{name}.{attribute}"
        if known[id(value)] != full:
            lines += [f"``{attribute}`` is :py:obj:`{known[id(value)]}`.", ""]
        elif inspect.isclass(value):
            lines += [f".. autoclass:: {full}", *members(value), ""]
        elif callable(value):
            lines += [f".. autofunction:: {full}", ""]
        elif isinstance(value, int | float | str | tuple | frozenset):
            lines += [f".. autodata:: {full}", ""]
    return "\n".join(lines)


def summary(module: ModuleType) -> str:
    """A module's docstring, in reStructuredText."""
    return "\n".join(escaped((inspect.getdoc(module) or "").splitlines()))


def members(kind: type) -> list[str]:
    """The option that lists a class's public members, those of its bases in this package too."""
    own = [base for base in kind.__mro__ if base.__module__.startswith("speechrnn")]
    names = {name: None for base in own for name in vars(base) if name[0] != "_"}
    names = {name: None for name in names if name not in HOOKS}
    names |= {name: None for base in own for name in inspect.get_annotations(base) if name[0] != "_"}
    return [f"   :members: {', '.join(names)}"] if names else []


def front_page(known: dict[int, str]) -> str:
    """The names of the front door, each with a link to the page that explains it."""
    lines = [
        "speechrnn",
        "=========",
        "",
        "What ``import speechrnn as sr`` gives; nothing is loaded before it is used.",
    ]
    lines += ["", ".. list-table::", "   :widths: 30 70", ""]
    for name in public(speechrnn):
        value = getattr(speechrnn, name)
        role = "class" if inspect.isclass(value) else "func"
        first = " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())
        lines += [f"   * - :py:{role}:`sr.{name} <{known[id(value)]}>`", f"     - {escaped([first])[0]}"]
    return "\n".join([*lines, ""])


def modules_page() -> str:
    """The contents of the generated pages."""
    lines = ["Python", "======", "", ".. toctree::", "   :maxdepth: 1", "", "   speechrnn"]
    return "\n".join([*lines, *(f"   {name}" for name in modules()), ""])


_FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^( *)Example:\n(?= *>>>)", re.MULTILINE)
_CODE = re.compile(r"(::\n\n(?:    .*\n|\n)+|^ *>>> (?:.+\n?)+|``.*?``|`[^`]*`)", re.MULTILINE)


def escaped(lines: list[str]) -> list[str]:
    """Lines of a docstring in which stars and bars outside of code are no markup, and code is reStructuredText's."""
    text = _FENCE.sub(lambda m: "::\n\n" + textwrap.indent(m[1], "    ") + "\n", "\n".join(lines))
    parts = _CODE.split(_EXAMPLE.sub(r"\1.. rubric:: Example\n\n", text))
    parts[1::2] = [
        code if code.lstrip().startswith(("::", ">>>")) else f"``{code.strip('`')}``" for code in parts[1::2]
    ]
    parts[::2] = [re.sub(r"(?<!\\)[*|]|(?<=\w)_(?=\W|$)", lambda m: f"\\{m[0]}", part) for part in parts[::2]]
    return "".join(parts).split("\n")


def _escape(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    if not name.startswith("speechrnn."):
        return
    lines[:] = escaped(lines)
    if what in ("attribute", "data", "property"):  # napoleon takes what stands before a colon for a type
        lines.insert(0, "")


# The command line


def command_line() -> str:
    """Every verb's help, in Markdown; of verbs with tasks or corpora, one for each."""
    from speechrnn import cli
    from speechrnn.cli import register

    lines = ["# Command line", "", "What `speechrnn VERB --help` prints, for each verb and for each of its tasks."]
    lines += ["", "```text", *_printed(cli.main, ["--help"]), "```", ""]
    for heading, verbs in register.listed().items():
        lines += [f"## {heading[0].upper()}{heading[1:]}", ""]
        for verb in verbs:
            told: set[str] = set()  # what is under one help need not be under the next
            lines += [f"### speechrnn {verb}", ""]
            for title, words in variants(verb):
                lines += [f"#### {title}", ""] if title else []
                made = register.verb(verb, words)
                text = (
                    made.help() if made.epilog not in told else made.help().removesuffix(made.epilog.rstrip()).rstrip()
                )
                told.add(made.epilog)
                lines += ["```text", text, "```", ""]
    return "\n".join(lines)


def variants(verb: str) -> Iterator[tuple[str, list[str]]]:
    """What the options of a verb depend on: a title, and the words that choose it."""
    from speechrnn.cli import task
    from speechrnn.data.corpora import CORPORA

    if verb in ("train", "evaluate"):
        yield from ((f"{verb} --task {word}", ["--task", word]) for word in task.tasks(verb))
    elif verb == "prepare":
        yield "", []
        yield from ((f"prepare {corpus}", [corpus]) for corpus in CORPORA)
    else:
        yield "", []


def _printed(function: Any, words: list[str]) -> list[str]:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as text:
        function(words)
    return text.getvalue().rstrip().splitlines()


# The notebooks


def gallery() -> dict[str, str | bytes]:
    """A page with the title, the first paragraph and the largest picture of each notebook; and these pictures."""
    lines = ["# Notebooks", "", "They need `pip install '.[train,signals,notebooks]'`, download nothing, and run in"]
    lines += ["a few minutes each; the repository has them with all that they print."]
    pictures: dict[str, str | bytes] = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title, _, story = "".join(cells[0]["source"]).partition("\n\n")
        shown = [output.get("data", {}) for cell in cells for output in cell.get("outputs", ())]
        picture = max((data["image/png"] for data in shown if "image/png" in data), key=len)
        pictures[f"{path.stem}.png"] = base64.b64decode(picture)
        title = title.removeprefix("# ")
        lines += ["", f"## {title}", "", f"![{title}]({path.stem}.png)", "", story, "", f"`notebooks/{path.name}`"]
    return {"notebooks.md": "\n".join([*lines, ""]), **pictures}


# Writing them


def write(app: Sphinx) -> None:
    """Write the pages; one that is as it was keeps its time, so that it is not read again."""
    os.environ["COLUMNS"] = "96"  # the help is as wide as the terminal
    folder = Path(app.srcdir, FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    known = homes()
    pages: dict[str, str | bytes] = {f"{name}.rst": module_page(name, known) for name in modules()}
    pages |= {"speechrnn.rst": front_page(known), "modules.rst": modules_page(), "command_line.md": command_line()}
    pages |= gallery()
    for stale in {path.name for path in folder.iterdir()} - set(pages):
        (folder / stale).unlink()
    for name, page in pages.items():
        path, content = folder / name, page.encode() if isinstance(page, str) else page
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", _escape, priority=400)  # before napoleon
    return {"parallel_read_safe": True}
