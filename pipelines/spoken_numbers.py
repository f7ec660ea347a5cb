"""Numbers and short commands by synthetic voices, with the corpus in `data/`: `python -m pipelines.spoken_numbers`.

WER on 11 unseen voices: 6.1 % (95 % interval 2.7 to 10.0) with a trigram of the training texts, 19.8 % (13.8 to 25.8)
greedy. It takes about 200 s of processor time.
"""

from pathlib import Path

import keras

from speechrnn import Augmentation, LogMel, RecognizerTraining, SpeechRecognizer, Vocabulary, recurrent_ctc, train
from speechrnn.cli.scripts import recipe
from speechrnn.data import manifest
from speechrnn.decoding.lm import kneser_ney
from speechrnn.decoding.options import decoder
from speechrnn.tasks.recognition import evaluation as evaluate

DATA = Path(__file__).parent.parent / "data" / "spoken_numbers"
NUM_MELS, CONVOLUTIONS, FILTERS, UNITS, LAYERS, DROPOUT, SEED = 64, 2, 16, 128, 2, 0.2, 1
OPTIONS = RecognizerTraining(epochs=36, batch_size=16, learning_rate=5e-3, average=0.99, validate_every=6)
AUGMENTATION = Augmentation(
    frequency_scale=0.12,
    feature_noise=0.2,
    time_masks=1,
    time_mask_frames=10,
    frequency_masks=2,
    frequency_mask_bins=12,
)


def build(vocabulary: Vocabulary, **overrides) -> SpeechRecognizer:
    """Create the recognizer; overrides are arguments of `recurrent_ctc`."""
    keras.utils.set_random_seed(SEED)
    features = LogMel(16_000, num_mels=NUM_MELS)
    sizes = {"units": UNITS, "layers": LAYERS, "convolutions": CONVOLUTIONS, "filters": FILTERS, "dropout": DROPOUT}
    network = recurrent_ctc(
        "gru", num_features=features.num_features, vocabulary_size=len(vocabulary), **sizes | overrides
    )
    return SpeechRecognizer(features, network, vocabulary)


def learn(out: str, data: Path = DATA, options: RecognizerTraining = OPTIONS, **network):
    """Train, choose the best epoch on the validation voices, and evaluate it once on the test voices.

    Returns:
        The run; the report of greedy decoding; and that of a beam search with a trigram of the training texts, which
        is written next to the model, with the default weights.
    """
    splits = {name: manifest.read(data / f"{name}.jsonl") for name in ("train", "valid", "test")}
    texts = [example.text for example in splits["train"]]
    vocabulary = Vocabulary.from_texts(texts)
    run = train(
        build(vocabulary, **network),
        splits["train"],
        valid=splits["valid"],
        out=out,
        overwrite=True,
        options=options,
        augment=AUGMENTATION,
    ).completed()
    trigram = Path(out).with_suffix(".arpa")
    kneser_ney.train(texts).write(trigram, overwrite=True)
    search = decoder(vocabulary, lm=trigram)
    greedy, searched = (evaluate.evaluate(run.model, splits["test"], decoder=chosen) for chosen in (None, search))
    return run, greedy, searched


def main(out: str = "runs/spoken_numbers.keras", options: RecognizerTraining = OPTIONS, **network):
    """Train on the corpus in `data/`, and report the errors on its test voices, without a language model and with one.

    Args:
        out: File of the trained model.
    """
    run, *reports = learn(out, options=options, **network)
    for report in reports:
        evaluate.print_report(report, per_speaker=True)
    return run, *reports


if __name__ == "__main__":
    recipe(main)
