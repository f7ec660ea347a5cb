"""All steps in a few minutes: `python -m pipelines.demo`.

It trains on the included corpus, evaluates on voices that were not used in training, transcribes with the new model and
with the English one in the package, and writes `demo/index.html`.
"""

from pathlib import Path

import speechrnn
from pipelines import demo_page, spoken_numbers
from speechrnn.cli.scripts import recipe
from speechrnn.data import manifest
from speechrnn.tasks.recognition import evaluation as evaluate

SHOWN = 8
"""Utterances that both models transcribe."""
NEXT = """
4/4 Open {page} in a browser. What to do next (the commands are in .venv/bin):
  your own recording      speechrnn transcribe talk.mp3
  the model trained here  speechrnn transcribe --model {model} --lm {lm} FILE
  your own corpus         speechrnn prepare table CLIPS.csv --help, then speechrnn train --help
  step by step            docs/start/, notebooks/01_quickstart.ipynb"""


def main(out: str = "demo", data: Path = spoken_numbers.DATA, **learning) -> Path:
    """Train, evaluate, transcribe, and write the page; returns its path.

    Args:
        out: Folder for the page and the model.
    """
    print("1/4 Training on the voices of data/spoken_numbers ...", flush=True)
    run, report, with_lm = spoken_numbers.learn(f"{out}/spoken_numbers.keras", data, **learning)
    print("\n2/4 Evaluation on voices that were not used in training, without a language model:", flush=True)
    evaluate.print_report(report, per_speaker=True)
    print("\nThe same with a trigram of the training texts, which knows the possible words:", flush=True)
    evaluate.print_report(with_lm)
    print(
        "\n3/4 Transcripts: the new model, and the English one in the package, trained on people:",
        flush=True,
    )
    examples = manifest.read(data / "test.jsonl")
    model = run.model
    rows = compare(model, examples[:: -(-len(examples) // SHOWN)])
    for spoken, new, shipped in rows:
        print(f"  said: {spoken:32} new: {new:32} package: {shipped}")
    page = Path(out, "index.html")
    page.write_text(demo_page.render(model, run, report, with_lm, examples, rows, data), encoding="utf-8")
    print(NEXT.format(page=page, model=run.path, lm=Path(run.path).with_suffix(".arpa")))
    return page


def compare(model, examples) -> list[tuple[str, str, str]]:
    """(reference, new model, included model) for each example."""
    new = [transcript.text for transcript in model.transcribe(examples)]
    shipped = [transcript.text for transcript in speechrnn.transcribe(examples)]
    return list(zip([example.text for example in examples], new, shipped, strict=True))


if __name__ == "__main__":
    recipe(main)
