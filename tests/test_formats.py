"""Transcripts as text, subtitles and tables: what players, spreadsheets and sclite expect."""

import itertools
import json
import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechrnn.files import output_names
from speechrnn.tasks.recognition import formats
from speechrnn.tasks.recognition.formats import CueOptions, cues, render
from speechrnn.tasks.recognition.transcript import Transcript, Word


def said(text, *, step=0.5, pause_after=(), path="talks/my talk.wav"):
    """A word each half second, of 0.4 s; two seconds of silence after the words named."""
    words, time = [], 0.0
    for name in text.split():
        words.append(Word(name, time, time + 0.4, 0.5))
        time += step + (2.0 if name in pause_after else 0.0)
    return Transcript(path, text, tuple(words), time)


TALK = said("so this is <the> first one and here & there it ends", pause_after=("one",))


def seconds(stamp):
    hours, minutes, rest = stamp.replace(",", ".").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


def test_srt_is_numbered_and_split_at_the_pause():
    assert render(TALK, "srt") == (
        "1\n00:00:00,000 --> 00:00:02,900\nso this is <the> first one\n\n"
        "2\n00:00:05,000 --> 00:00:07,900\nand here & there it ends\n"
    )


def test_vtt_has_its_header_and_escapes():
    lines = render(TALK, "vtt").splitlines()
    assert lines[:2] == ["WEBVTT", ""]
    assert lines[2:4] == ["00:00:00.000 --> 00:00:02.900", "so this is &lt;the&gt; first one"]
    assert "and here &amp; there it ends" in lines


def test_tsv_is_a_table_in_milliseconds():
    assert render(TALK, "tsv").splitlines() == [
        "start\tend\ttext",
        "0\t2900\tso this is <the> first one",
        "5000\t7900\tand here & there it ends",
    ]


def test_ctm_has_a_word_a_line_and_a_name_without_spaces():
    rows = [line.split(" ") for line in render(TALK, "ctm").splitlines()]
    assert len(rows) == len(TALK.words)
    assert rows[1] == ["my_talk", "1", "0.500", "0.400", "this", "0.5000"]


def test_ctm_can_call_a_recording_by_another_name():
    assert render(TALK, "ctm", name="b talk").startswith("b_talk 1 ")


@pytest.mark.parametrize("text", ["\uff76\uff80\uff76\uff85", "\U00020bb7\U00020b9f"], ids=["halfwidth", "rare"])
def test_all_of_a_script_without_spaces_is_divided(text):
    made = cues([Word(text * 30, 0.0, 30.0, 1.0)], duration=30.0)
    assert "".join(line for cue in made for line in cue.lines) == text * 30
    assert all(cue.end - cue.start <= 7.0 and max(map(len, cue.lines)) <= 42 for cue in made)


def test_txt_and_json():
    assert render(TALK, "txt") == TALK.text + "\n"
    assert json.loads(render(TALK, "json")) == TALK.to_dict()


def test_nothing_said_is_an_empty_list_in_each_format():
    silent = Transcript("a.wav", "", (), 3.0)
    found = {format: render(silent, format) for format in formats.FORMATS}
    assert json.loads(found.pop("json"))["words"] == []
    assert found == {"txt": "\n", "srt": "", "vtt": "WEBVTT\n", "tsv": "start\tend\ttext\n", "ctm": ""}


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="must be one of txt, json, .*Received: format='doc'"):
        render(TALK, "doc")


WORDS = st.lists(
    st.tuples(st.text("abcdefg", min_size=1, max_size=12), st.floats(0.05, 0.9), st.floats(0.0, 2.0)), max_size=60
)


@settings(max_examples=60, deadline=None)
@given(WORDS)
def test_cues_hold_every_word_once_and_keep_their_sizes(spec):
    words, time = [], 0.0
    for name, length, gap in spec:
        words.append(Word(name, time, time + length, 1.0))
        time += length + gap
    options = CueOptions(line_characters=20, cue_seconds=4.0, cue_gap=1.0)
    made = cues(words, options, duration=time)
    assert " ".join(line for cue in made for line in cue.lines).split() == [word.word for word in words]
    assert all(len(cue.lines) <= 2 and max(map(len, cue.lines)) <= 20 for cue in made)
    assert all(0 < cue.end - cue.start <= 4.0 + 1e-9 for cue in made)
    assert all(before.end <= after.start for before, after in itertools.pairwise(made))
    starts = {cue.start for cue in made}
    assert all(b.start in starts for a, b in itertools.pairwise(words) if b.start - a.end >= 1.0)


def test_words_that_run_on_are_cut_at_the_longest_pause_that_fits():
    words = [Word(f"w{i}", i * 0.5, i * 0.5 + 0.4, 1.0) for i in range(20)]
    words[11] = Word("w11", words[11].start + 0.05, words[11].end, 1.0)  # 0.15 s before it, 0.1 s elsewhere
    first, *_ = cues(words, CueOptions(cue_seconds=7.0))
    assert " ".join(first.lines).split()[-1] == "w10"


def test_a_short_cue_stays_until_it_can_be_read_or_the_next_begins():
    words = [Word("hi", 0.0, 0.1, 1.0), Word("you", 5.0, 5.1, 1.0), Word("there", 5.6, 5.7, 1.0)]
    found = cues(words, CueOptions(cue_gap=0.5), duration=6.0)
    assert [(cue.start, cue.end) for cue in found] == [(0.0, 1.0), (5.0, 5.6), (5.6, 6.0)]


def test_a_long_word_stands_alone_and_whole():
    (cue,) = cues([Word("x" * 99, 0.0, 1.0, 1.0)])
    assert cue.lines == ("x" * 99,)


def test_subtitles_of_a_whole_day_are_in_order():
    words = tuple(Word("word", i * 0.5, i * 0.5 + 0.4, 1.0) for i in range(80_000))
    stamps = re.findall(r"(\S+) --> (\S+)", render(Transcript("a.wav", "", words, 40_000.0), "srt"))
    times = [seconds(stamp) for pair in stamps for stamp in pair]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(39_999.9)


@pytest.mark.parametrize("options", [{"cue_lines": 0}, {"line_characters": -1}, {"cue_hold": -0.1}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(ValueError, match="Received"):
        CueOptions(**options)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["a/x.wav", "b/x.wav", "a/X.WAV", "x.wav", "x.flac", "/x.wav", "a_x.wav", "-", "x"])))
def test_outputs_never_share_a_name_even_where_case_does_not_count(paths):
    names = output_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert not any("/" in name for name in names)


@pytest.mark.parametrize(
    "text",
    [
        "\u8fd9\u662f\u4e00\u4e2a" * 70,
        "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22\u0e17\u0e35\u0e48" * 30,
        "\u1019\u103c\u1014\u103a\u1019\u102c\u1018\u102c\u101e\u102c" * 20,
        "\u0f56\u0f7c\u0f51\u0f0b\u0f66\u0f90\u0f51\u0f0b\u0f61\u0f72\u0f42" * 20,
    ],
)
def test_scripts_without_spaces_are_divided(text):
    found = cues([Word(text, 0.0, 60.0, 1.0)])
    assert "".join(line for cue in found for line in cue.lines) == text
    assert max(len(line) for cue in found for line in cue.lines) <= 42
    assert max(cue.end - cue.start for cue in found) <= 7.01
    assert not any(unicodedata.combining(line[0]) for cue in found for line in cue.lines)
