"""Build the sdist and the wheel, and install them in clean environments: run by `make test-packages`.

The sdist is installed without extras and every verb tried (`base_install.py`); the wheel is installed with each extra,
what the extra brings is imported, and a verb that needs it tried. `--whole` installs the extras with TensorFlow as
well, which otherwise are only resolved.
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"train", "gpu", "litert", "tensorboard", "tensorflow-io", "dev", "ray"}
"""Hundreds of megabytes each."""
NEVER = {"gpu", "dev"}
"""Needs a GPU to be of use; is what `make install` installs."""
VERBS = {"voice": ["speak", "Good morning."]}
"""What must run with an extra and nothing else."""
IMPORTS = """
import importlib, importlib.metadata as metadata, re, sys
from packaging.requirements import Requirement
wanted = {"extra": sys.argv[1]}
names = [Requirement(line) for line in metadata.requires("speechrnn")]
names = [r for r in names if r.marker and r.marker.evaluate(wanted) and not r.marker.evaluate({"extra": ""})]
brought = {r.name.lower() for r in names}
modules = {m for m, of in metadata.packages_distributions().items() if brought & {name.lower() for name in of}}
for module in sorted(m for m in modules if m.isidentifier() and not m.startswith("_")):
    try:
        importlib.import_module(module)
    except OSError as error:  # a system's library, as PortAudio
        print(f"  {module}: {error}")
    else:
        print(f"  {module}")
import speechrnn
"""


def run(*words):
    subprocess.run(list(map(str, words)), check=True, cwd=ROOT)


def environment(folder):
    run(sys.executable, "-m", "venv", folder)
    return folder / "bin/python"


def install(python, *what):
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)


def main(*, whole, extras):
    extras = extras or tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    version = sys.version.split()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        builder = environment(folder / "builder")
        install(builder, "hatchling", "twine")
        run(builder, "-m", "hatchling", "build", "--directory", folder / "dist")
        (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
        run(builder, "-m", "twine", "check", "--strict", wheel, sdist)
        print(f"Python {version}: {wheel.name} {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
        base = environment(folder / "base")
        install(base, sdist)
        run(base, ROOT / "tests/base_install.py")
        for extra in sorted(extras):
            if extra in NEVER:
                continue
            if extra in HEAVY and not whole:
                install(builder, "--dry-run", "--only-binary", ":all:", f"{wheel}[{extra}]")
                print(f"[{extra}] resolves, from wheels alone", flush=True)
                continue
            python = environment(folder / extra)
            install(python, "packaging", f"{wheel}[{extra}]")
            print(f"[{extra}]", flush=True)
            run(python, "-c", IMPORTS, extra)
            if extra in VERBS:
                run(python.parent / "speechrnn", *VERBS[extra], "--out", folder / f"{extra}.out")
    print(f"Python {version}: the sdist, the wheel and the extras install.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true", help="install the extras with TensorFlow as well")
    parser.add_argument("--extras", nargs="+", help="only these; by default all")
    main(**vars(parser.parse_args()))
