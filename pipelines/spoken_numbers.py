"""Numbers and short commands by synthetic voices: `python pipelines/spoken_numbers.py`, with the corpus in `data/`."""

import argparse
from pathlib import Path

import keras

from speechrnn import (
    Augmentation,
    LogMel,
    SpeechRecognizer,
    TrainingOptions,
    Vocabulary,
    evaluate,
    manifest,
    recurrent_ctc,
    train,
)

DATA = Path(__file__).parent.parent / "data" / "spoken_numbers"
NUM_MELS, STACK, UNITS, LAYERS, DROPOUT, SEED = 64, 3, 128, 2, 0.1, 1
OPTIONS = {"epochs": 20, "batch_size": 16, "learning_rate": 6e-3, "average": 0.99, "validate_every": 4}
AUGMENTATION = Augmentation(frequency_scale=0.1, feature_noise=0.1, frequency_masks=1, frequency_mask_bins=10)


def build(vocabulary: Vocabulary, **overrides) -> SpeechRecognizer:
    """The recogniser that is trained here; overrides are arguments of `recurrent_ctc`."""
    keras.utils.set_random_seed(SEED)
    features = LogMel(16_000, num_mels=NUM_MELS)
    sizes = {"units": UNITS, "layers": LAYERS, "stack": STACK, "dropout": DROPOUT} | overrides
    network = recurrent_ctc("gru", num_features=features.num_features, vocabulary_size=len(vocabulary), **sizes)
    return SpeechRecognizer(features, network, vocabulary)


def main(out: str = "runs/spoken_numbers.keras", data: Path = DATA, network: dict | None = None, **overrides):
    """Train, choose the best epoch on the validation voices, and score it once on the test voices."""
    splits = {name: manifest.read(data / f"{name}.jsonl") for name in ("train", "valid", "test")}
    vocabulary = Vocabulary.from_texts(example.text for example in splits["train"])
    run = train(
        build(vocabulary, **(network or {})),
        splits["train"],
        valid=splits["valid"],
        out=out,
        overwrite=True,
        options=TrainingOptions(**OPTIONS | overrides),
        augmentation=AUGMENTATION,
    )
    return run, evaluate.evaluate(run.model, splits["test"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="runs/spoken_numbers.keras", help="file of the trained model")
    evaluate.print_report(main(**vars(parser.parse_args()))[1], per_speaker=True)
