"""Language models of words: items of sessions, notes; what is likely next, and how it is drawn."""

import keras
import numpy as np
import pytest

import speechrnn as sr
from speechrnn.cli import main
from speechrnn.faults import Faults
from speechrnn.pipeline.graph import plan_of
from speechrnn.tasks.language import LanguageModel, LanguageTraining, bigram, most_popular, next_items
from speechrnn.tasks.language.generation import _drawn
from speechrnn.tasks.language.training import LanguageTask
from speechrnn.training.task import Split

PAGES = [f"page/{i}" for i in range(8)]


def sessions(count, seed):
    """Clicks to and fro between two pages, so that what follows a page is told by the one before it alone."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        walk = list(rng.integers(0, len(PAGES), 2))
        for _ in range(rng.integers(2, 7)):
            walk.append(walk[-2])
        made.append(" ".join(PAGES[i] for i in walk))
    return made


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    keras.utils.set_random_seed(0)
    texts = sessions(1500, 1)
    model = LanguageModel.for_manifest(texts, symbols="words", cell="gru", units=48, embedding=24)
    out = tmp_path_factory.mktemp("clicks") / "clicks.keras"
    options = LanguageTraining(epochs=8, batch_size=32, learning_rate=1e-2)
    return sr.train(model, texts, options=options, out=out, verbose=False).path


def test_recall_and_mrr_are_those_of_ranks_by_hand():
    # After "a" the pair model says b (twice) before c; after "b" it says a; after "c" nothing, so the popular ones.
    train = ["a b", "a b", "a c", "b a"]
    report = next_items(bigram(train), ["a c b", "b a"], k=2)
    # a>c: rank 2. c>b: popular are a (4), b (3): rank 2. b>a: rank 1.
    assert (report.recall, report.mrr, report.items) == (1.0, pytest.approx((1 / 2 + 1 / 2 + 1) / 3), 3)
    popular = next_items(most_popular(train), ["a c b", "b a"], k=1)
    assert (popular.recall, popular.mrr) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert popular.recall_interval[0] <= popular.recall <= popular.recall_interval[1]


def test_a_recurrent_model_knows_what_pairs_of_items_do_not_tell(clicks, tmp_path):
    model, held = sr.load(clicks), sessions(100, 2)
    model.export(tmp_path / "clicks.onnx")
    session = sr.load(tmp_path / "clicks.onnx")
    ours, theirs = (next_items(one, held, k=1) for one in (model, bigram(sessions(1500, 1))))
    # The second item of a session follows from nothing; the others from the two before.
    followed = sum(len(text.split()) - 2 for text in held) / ours.items
    assert theirs.recall < 0.3 < 0.9 * followed < ours.recall
    assert next_items(session, held, k=1).recall == ours.recall
    assert "recall@1" in str(ours) and "100 sessions" in str(ours)


def test_a_session_of_one_item_is_named_and_an_unseen_item_is_missed(clicks):
    model = sr.load(clicks)
    report = next_items(model, [PAGES[0], f"{PAGES[1]} nowhere {PAGES[2]}"], k=12)
    assert report.items == 2 and report.recall == 0.5
    assert "session 1: has 1 item, so that none follows. Leave it out." in str(report.faults[0])
    with pytest.raises(ValueError, match=r"No session has two items or more. First: session 1"):
        next_items(model, [PAGES[0]])
    with pytest.raises(ValueError, match="`k` must be at least 1"):
        next_items(model, sessions(2, 3), k=0)


def test_items_are_written_with_spaces_between_and_follow_the_prompt(clicks):
    model = sr.load(clicks)
    written = model.generate(f"{PAGES[1]} {PAGES[2]}", length=12, temperature=0).text
    assert written.startswith(f"{PAGES[1]} {PAGES[2]} {PAGES[1]}")
    assert {item for line in written.splitlines() for item in line.split()} <= set(PAGES)
    with pytest.raises(ValueError, match="lack"):
        model.generate("page/99")


def test_only_the_likeliest_are_drawn_and_among_them_as_often_as_the_model_says():
    logits, rng = np.log([0.5, 0.3, 0.15, 0.05]).astype("float32"), np.random.default_rng(0)
    drawn = [_drawn(logits, temperature=1.0, top_k=2, rng=rng) for _ in range(4000)]
    assert np.bincount(drawn, minlength=4)[2:].sum() == 0
    assert np.mean(np.array(drawn) == 0) == pytest.approx(0.5 / 0.8, abs=0.03)


def test_words_and_top_k_on_the_command_line(tmp_path, capsys):
    texts, out = tmp_path / "clicks.txt", str(tmp_path / "clicks.keras")
    texts.write_text("\n".join(sessions(40, 4)), encoding="utf-8")
    made = ["--symbols", "words", "--no-normalize-texts", "--epochs", "1", "--units", "4", "--embedding", "4"]
    assert main(["train", "--task", "generate", str(texts), "--out", out, *made]) == 0
    assert sr.load(out).vocabulary.symbols == tuple(sorted(PAGES))
    capsys.readouterr()
    assert main(["generate", PAGES[3], "--model", out, "--length", "5", "--top-k", "3"]) == 0
    assert capsys.readouterr().out.startswith(PAGES[3])
    assert main(["generate", "--model", out, "--top-k", "-1"]) == 2
    with pytest.raises(ValueError, match="`symbols` must be one of characters, words"):
        LanguageModel.for_manifest(["a"], symbols="letters")


def test_an_unseen_item_is_named_and_its_session_left_out_of_the_figures():
    model = LanguageModel.for_manifest(["a b", "b a a"], symbols="words", units=4, embedding=4)
    faults = Faults()
    data = LanguageTask(model, LanguageTraining()).batches(Split(["a b", "a q b"], faults=faults))
    assert len(plan_of(data).sentences) == 1
    assert faults.counts() == {"with unknown symbols": 1} and "'q'" in str(next(iter(faults)))
    with pytest.raises(ValueError, match="Received: none of 1; the first: sentence 1: has symbols .* 'q'"):
        LanguageTask(model, LanguageTraining()).batches(Split(["q"]))


def test_the_loss_of_validation_is_per_item_as_that_of_training():
    model = LanguageModel.for_manifest(["home shoes", "shoes cart"], symbols="words", units=4, embedding=4)
    task = LanguageTask(model, LanguageTraining())
    texts = ["home shoes cart", "cart"]
    score = task.scorer(task.batches(Split(texts)))()
    assert score.loss == pytest.approx(-model.scores(texts).sum() / 6)  # four items and two ends
    assert score.loss == pytest.approx(np.log(score.perplexity))
