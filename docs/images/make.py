"""The README's pictures, from real output: `python docs/images/make.py AUDIO MANIFEST`.

AUDIO is a recording to transcribe, MANIFEST a test set for the report. `terminal.svg` is what the commands print;
`report.png` is the top of the page that `speechrnn report` writes, taken by Chromium without a window if there is one.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
WIDTH = 100
COMMANDS = (
    "speechrnn transcribe {audio}",
    "speechrnn transcribe {audio} --format srt",
    "speechrnn evaluate --model english {manifest}",
)
LINES = 14
"""Of each command's output, the rest being cut off, which is shown."""


def output(command):
    words = [sys.executable, "-m", "speechrnn", *command.split()[1:]]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def terminal(audio, manifest):
    console = Console(record=True, width=WIDTH, file=open("/dev/null", "w"))  # noqa: SIM115
    for command in COMMANDS:
        shown = command.format(audio=Path(audio).name, manifest=Path(manifest).name)
        console.print(Text("$ ", "bold green") + Text(shown, "bold"))
        lines = (
            output(command.format(audio=audio, manifest=manifest)).replace(str(audio), Path(audio).name).splitlines()
        )
        for line in lines[:LINES]:
            console.print(Text(line), soft_wrap=False)
        if len(lines) > LINES:
            console.print(Text(f"... {len(lines) - LINES} more lines", "dim"))
        console.print()
    svg = console.export_svg(title="speechrnn")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # fonts from elsewhere
    (HERE / "terminal.svg").write_text(svg)


def report(manifest):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("report.png: no Chromium is installed; the picture stays as it is.", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "report.html")
        output(f"speechrnn report --model english {manifest} --out {page}")
        size = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1280,900"]
        subprocess.run([browser, *size, f"--screenshot={HERE / 'report.png'}", page.as_uri()], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio")
    parser.add_argument("manifest")
    given = parser.parse_args()
    terminal(given.audio, given.manifest)
    report(given.manifest)
