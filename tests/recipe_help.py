"""The help texts of all recipes, as `python -m pipelines.NAME --help` prints them: imported, or run as a process."""

import contextlib
import io
import json
import runpy
import sys
import warnings
from pathlib import Path


def texts():
    """By recipe."""
    sys.argv = ["-m", "--help"]  # as Python sets it before it imports the package
    import pipelines

    found = {}
    for path in sorted(Path(pipelines.__file__).parent.glob("*.py")):
        if "    recipe(main" in path.read_text():
            with (
                contextlib.redirect_stdout(io.StringIO()) as out,
                contextlib.suppress(SystemExit),
                warnings.catch_warnings(action="ignore"),  # others have imported it, too
            ):
                runpy.run_module(f"pipelines.{path.stem}", run_name="__main__", alter_sys=True)
            found[path.stem] = out.getvalue()
    return found


if __name__ == "__main__":
    json.dump({"texts": texts(), "imported": sorted({"keras", "librosa", "tensorflow"} & set(sys.modules))}, sys.stdout)
