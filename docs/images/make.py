"""The pictures of README and site, from real output: `python docs/images/make.py AUDIO MANIFEST`, or without arguments.

AUDIO is a recording to transcribe, MANIFEST a test set for the report. `terminal.svg` is what the commands print;
`report.png` is the top of the page that `speechrnn report` writes, taken by Chromium without a window if there is one.
Without arguments only the plots are made: `ctc.svg` and `gradients.svg`.
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


def ctc():
    """A recording and what a network says in each frame."""
    from speechrnn import audio, decoding, load
    from speechrnn.report import plots
    from speechrnn.tasks.recognition.transcript import spell

    model = load("english_letters_numbers")
    path = HERE.parents[1] / "data/spoken_numbers/test/flite-rms-07.opus"
    signal, rate = audio.read(path, sample_rate=model.sample_rate)
    (logits,) = model.logits([signal])
    words = spell(decoding.greedy(logits), model.vocabulary, frame_period=model.frame_period)
    figure = plots.plot_words(signal, rate, logits, words, model.vocabulary, frame_period=model.frame_period)
    figure.savefig(HERE / "ctc.svg", metadata={"Date": None})


def gradients():
    """How the gradient falls or grows through time in networks that have not been trained."""
    import keras
    import numpy as np

    from speechrnn.layers import LSTM, ChronoBias, SimpleRNN
    from speechrnn.report import plots
    from speechrnn.training.diagnostics import gradient_flow

    lag, units = 80, 24
    keras.utils.set_random_seed(1)
    small = keras.initializers.RandomNormal(stddev=0.05, seed=1)
    layers = {
        f"SimpleRNN, radius {radius}": SimpleRNN(
            units, recurrent_initializer=keras.initializers.Orthogonal(radius, seed=1), kernel_initializer=small
        )
        for radius in (0.8, 1, 3)
    }
    layers |= {"LSTM, default": LSTM(units)}
    layers |= {"LSTM, gates open": LSTM(units, bias_initializer=ChronoBias(lag), unit_forget_bias=False)}
    inputs = np.random.default_rng(0).normal(scale=0.05, size=(8, lag + 1, 1)).astype("float32")
    flows = {}
    for name, layer in layers.items():
        model = keras.Sequential([keras.Input((lag + 1, 1)), layer, keras.layers.Dense(1)])
        (flows[name],) = gradient_flow(model, inputs).values()
    plots.plot_gradient_flow(flows).savefig(HERE / "gradients.svg", metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", nargs="?")
    parser.add_argument("manifest", nargs="?")
    given = parser.parse_args()
    ctc()
    gradients()
    if given.manifest is not None:
        terminal(given.audio, given.manifest)
        report(given.manifest)
