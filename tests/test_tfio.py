"""Decoding in TensorFlow's graph with tensorflow-io, which loads in an environment of its own (`make test-tfio`)."""

import io

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from speechrnn import audio
from speechrnn.data.manifest import Example
from speechrnn.faults import Faults
from speechrnn.features.layers import LogMel
from speechrnn.pipeline import batches, plan_of, tfio

RATE = 16000


@pytest.fixture
def loaded():
    """Skips where tensorflow-io cannot be used."""
    reason = tfio.unavailable()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def graph_calls(monkeypatch, loaded):
    """Counts the files that soundfile decodes for the pipeline; the others came from the graph."""
    calls = []
    read = audio.read
    monkeypatch.setattr(audio, "read", lambda path, **options: calls.append(path) or read(path, **options))
    return calls


def noise(seconds=1.0, channels=1, rate=RATE):
    samples = 0.1 * np.random.default_rng(0).standard_normal((int(seconds * rate), channels))
    return np.clip(np.cumsum(samples, axis=0) * 0.05, -0.9, 0.9)


def signals_of(examples, **options):
    """Signals by id, in one pass."""
    dataset = batches(examples, None, sample_rate=RATE, batch_size=2, **options)
    plan = plan_of(dataset)
    signals = {}
    for batch, (inputs, _, weight) in zip(plan.planner.epoch(0).batches, dataset, strict=True):
        for row, place in enumerate(batch.indices):
            if weight[row]:
                length = int(inputs["length"][row])
                signals[plan.entries[place].example.id] = inputs["signal"].numpy()[row, :length]
    return signals


FORMATS = [
    ("wav8", "wav", "PCM_U8", RATE, 1), ("wav16", "wav", "PCM_16", RATE, 1), ("wav24", "wav", "PCM_24", RATE, 2),
    ("float", "wav", "FLOAT", RATE, 1), ("flac16", "flac", "PCM_16", RATE, 1), ("flac24", "flac", "PCM_24", RATE, 2),
    ("vorbis", "ogg", "VORBIS", RATE, 2), ("mp3", "mp3", None, RATE, 1), ("cd", "flac", "PCM_16", 44100, 2),
]  # fmt: skip


@pytest.mark.tfio
@pytest.mark.parametrize(("name", "ending", "subtype", "rate", "channels"), FORMATS, ids=lambda value: str(value))
def test_the_graph_gives_soundfiles_samples(tmp_path, graph_calls, name, ending, subtype, rate, channels):
    path = tmp_path / f"{name}.{ending}"
    soundfile.write(path, noise(1.0, channels, rate), rate, subtype=subtype)
    example = Example(str(path), audio.probe(path).duration)
    (signal,) = signals_of([example], decoder="tensorflow-io").values()
    assert not graph_calls
    (wanted,) = signals_of([example], decoder="soundfile").values()
    assert graph_calls
    assert signal.shape == wanted.shape and np.abs(wanted).max() > 0.05
    np.testing.assert_allclose(signal, wanted, rtol=0, atol=1e-4)


@pytest.mark.tfio
def test_segments_and_channels_are_the_same(tmp_path, graph_calls):
    path = tmp_path / "long.flac"
    soundfile.write(path, noise(3.0, 3), RATE)
    examples = [
        Example(str(path), 0.7, offset=1.1, channel=2, id="segment"), Example(str(path), 3.0, channel=0, id="whole")
    ]  # fmt: skip
    forced = signals_of(examples, decoder="tensorflow-io")
    assert not graph_calls
    chosen = signals_of(examples, decoder="auto")
    assert len(graph_calls) == 1  # a short segment is not worth decoding the whole file for
    for other in (chosen, signals_of(examples, decoder="soundfile")):
        for key, signal in forced.items():
            np.testing.assert_allclose(signal, other[key], rtol=0, atol=1e-4)


@pytest.mark.tfio
def test_auto_leaves_to_soundfile_what_the_graph_cannot_decode(tmp_path, graph_calls):
    soundfile.write(tmp_path / "a.ogg", noise(), RATE, format="OGG", subtype="OPUS")
    soundfile.write(tmp_path / "b.wav", noise(), RATE, subtype="DOUBLE")
    soundfile.write(tmp_path / "c.flac", noise(), RATE)
    examples = [Example(str(tmp_path / name), 1.0) for name in ("a.ogg", "b.wav", "c.flac")]
    assert sorted(signals_of(examples, decoder="auto")) == ["a", "b", "c"]
    assert sorted(str(path)[-5:] for path in graph_calls) == ["a.ogg", "b.wav"]
    faults = Faults()
    assert sorted(signals_of(examples, decoder="tensorflow-io", faults=faults)) == ["c"]
    assert faults.counts() == {"not decodable by tensorflow-io": 2}
    assert all('Use decoder="auto"' in fault.message for fault in faults)


@pytest.mark.tfio
@pytest.mark.parametrize("decoder", ["auto", "tensorflow-io"])
def test_a_broken_file_is_its_own_fault(tmp_path, loaded, decoder):
    encoded = io.BytesIO()
    soundfile.write(encoded, noise(), RATE, format="FLAC")
    (tmp_path / "cut.flac").write_bytes(encoded.getvalue()[: len(encoded.getvalue()) // 2])
    (tmp_path / "text.wav").write_text("no audio " * 99)
    samples = noise()
    samples[5] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "good.flac", noise(), RATE)
    examples = [Example(str(tmp_path / name), 1.0) for name in ("cut.flac", "text.wav", "nan.wav", "good.flac")]
    faults = Faults()
    assert list(signals_of(examples, decoder=decoder, faults=faults)) == ["good"]
    assert sorted(fault.where for fault in faults) == ["cut", "nan", "text"]


@pytest.mark.tfio
def test_features_and_caches_are_the_same(tmp_path, graph_calls):
    examples = []
    for i in range(5):
        path = tmp_path / f"{i}.flac"
        soundfile.write(path, noise(0.4 + 0.1 * i), RATE)
        examples.append(Example(str(path), soundfile.info(path).duration))
    layer = LogMel(RATE, num_mels=8)
    wanted = [inputs["features"] for inputs, *_ in batches(examples, layer, batch_size=2, decoder="soundfile")]
    graph_calls.clear()
    for cache in (None, "memory", tmp_path / "cache"):
        dataset = batches(examples, layer, batch_size=2, cache=cache, decoder="tensorflow-io")
        for _ in range(2):
            for (inputs, *_), features in zip(dataset, wanted, strict=True):
                np.testing.assert_allclose(inputs["features"], features, rtol=0, atol=1e-4)
    assert not graph_calls


@pytest.mark.tfio
def test_decoding_is_part_of_the_graph(tmp_path, loaded):
    soundfile.write(tmp_path / "a.flac", noise(), RATE)
    decode = tf.function(tfio.decode, input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32)])
    operations = {
        operation.type
        for graph in [decode.get_concrete_function().graph, *_functions(decode.get_concrete_function().graph)]
        for operation in graph.get_operations()
    }
    assert {"IO>AudioDecodeWAV", "IO>AudioDecodeFlac", "IO>AudioDecodeVorbis", "IO>AudioDecodeMP3"} <= operations
    assert not {"PyFunc", "EagerPyFunc"} & operations


def _functions(graph):
    return [function.graph for function in graph._functions.values() if hasattr(function, "graph")]


def test_asking_for_it_where_it_cannot_load_says_what_it_needs(tmp_path):
    if tfio.unavailable() is None:
        pytest.skip("tensorflow-io loads here")
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    with pytest.raises(ValueError, match=r"tensorflow 2\.16, tensorflow-io 0\.37\.1 and Python 3\.12"):
        signals_of([Example(str(tmp_path / "a.wav"), 1.0)], decoder="tensorflow-io")
    assert len(signals_of([Example(str(tmp_path / "a.wav"), 1.0)], decoder="auto")) == 1
