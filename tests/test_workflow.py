"""The workflow of the hosted CI: it runs commands that exist, with the Pythons that the package is for."""

import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def jobs():
    return yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]


def test_every_command_exists(jobs):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert "bash .ci/run" in commands
    assert (ROOT / ".ci/run").is_file()
    assert all(command.split()[1] in targets for command in commands if command.startswith("make "))
    assert all(command.startswith(("make ", "bash .ci/")) for command in commands)


def test_every_python_that_the_package_is_for_is_tried(jobs):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [line.rsplit(" ", 1)[1] for line in project["classifiers"] if re.search(r"Python :: 3\.\d+$", line)]
    assert jobs["packages"]["strategy"]["matrix"]["python"] == named


def test_every_variable_of_a_matrix_is_one(jobs):
    for job in jobs.values():
        used = set(re.findall(r"\$\{\{ matrix\.(\w+) \}\}", str(job)))
        assert used <= set(job.get("strategy", {}).get("matrix", {}))
