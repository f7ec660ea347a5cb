"""What a command line or a small server must be able to import without TensorFlow."""

import ast
import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

HEAVY = ("tensorflow", "keras", "onnx", "librosa", "scipy", "rich", "matplotlib", "pandas", "wfdb", "pyedflib")
HELPLESS = ("numpy", "onnxruntime", "soundfile", "soxr", "numba", "rapidfuzz", "cyclopts", "platformdirs")
"""What no help text needs, and takes a tenth of a second and more to import."""
ROOT = Path(__file__).resolve().parents[1]


def imported(code, names=HEAVY):
    """Modules of `names` that are loaded after `code` ran in a fresh interpreter."""
    probe = f"{code}\nimport sys\nprint('loaded', *(name for name in {names!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.split("loaded")[-1].split()


@pytest.mark.parametrize(
    "module",
    [
        "speechrnn",
        "speechrnn.audio, speechrnn.metrics.edits, speechrnn.faults, speechrnn.data.manifest, speechrnn.text",
        "speechrnn.data.corpora, speechrnn.signals",
        "speechrnn.decoding",
        "speechrnn.tasks.recognition.transcription, speechrnn.tasks.recognition.evaluation",
        "speechrnn.tasks.classification.classify, speechrnn.tasks.classification, speechrnn.metrics, speechrnn.signals",
        "speechrnn.features.augment, speechrnn.features.filters",
        "speechrnn.models.protocols, speechrnn.models.loading, speechrnn.runtime.session, onnxruntime",
        "speechrnn.tasks.language.session, speechrnn.tasks.language.rescoring",
        "speechrnn.training.options",
    ],
)
def test_imports_without_tensorflow(module):
    assert imported(f"import {module}") == []


def test_every_verb_is_explained_without_numpy():
    code = """
from speechrnn.cli import main, register
from speechrnn.data.corpora import CORPORA
from speechrnn.models import kinds
for verb in register.names():
    assert main([*verb.split(), "--help"]) == 0, verb
for kind in kinds.kinds():
    for verb in sorted(kinds.resolve(kind.command).verbs):
        assert main([verb, "--task", kind.method, "--help"]) == 0, (verb, kind)
for corpus in CORPORA:
    assert main(["prepare", corpus, "--help"]) == 0, corpus
"""
    assert imported(code, (*HEAVY, *HELPLESS)) == []


def test_no_program_text_imports_keras_internals():
    for path in (ROOT / "speechrnn").rglob("*.py"):
        assert "keras.src" not in path.read_text(encoding="utf-8"), path


PROGRAMS = sorted(
    path for folder in ("benchmarks", "tests/campaigns", "pipelines") for path in Path(ROOT, folder).glob("*.py")
)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_programs_use_of_the_package_is_there(path):
    """Benchmarks and campaigns run by hand: what they import, and what they take from imported modules, exists."""
    tree, modules, lacking = ast.parse(path.read_text()), {}, []
    ours = ("speechrnn", "pipelines", "benchmarks")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [
                (alias.name, alias.asname) for alias in node.names if alias.name.split(".")[0] in ours and alias.asname
            ]
            modules |= {short: importlib.import_module(name) for name, short in names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ours:
            source = importlib.import_module(node.module)
            for alias in node.names:
                value = getattr(source, alias.name, None) or _submodule(f"{node.module}.{alias.name}")
                if value is None:
                    lacking.append(f"{node.module}.{alias.name}")
                elif isinstance(value, types.ModuleType):
                    modules[alias.asname or alias.name] = value
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id) if node.value.id not in stored else None
            if (
                module is not None
                and not hasattr(module, node.attr)
                and _submodule(f"{module.__name__}.{node.attr}") is None
            ):
                lacking.append(f"{module.__name__}.{node.attr}")
    assert not lacking


def _submodule(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None
