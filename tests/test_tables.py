"""Tables as people's programs write them hold what was meant, or are refused with the option that decides."""

import datetime as dt
import gzip
import math

import numpy as np
import pandas
import pytest

from speechrnn import signals
from speechrnn.data import corpora
from speechrnn.faults import kind_of

HOUR = 1 / 3600


def table(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(form, count=20, head="time,x\n"):
    return head + "".join(form(i) + "\n" for i in range(count))


def cells(path, **options):
    """Channels and cells `[line][channel]`, at a rate that is given where the table has none."""
    options.setdefault("rate", 1.0)
    info = signals.probe(path, **options)
    return info.channels, signals.read(path, **options)[0].tolist()


XY = (("x", "y"), [[1.5, 2], [3.5, 4], [5.5, 6]])
"""What the tables below hold, however they are written."""


@pytest.mark.parametrize(
    "text",
    [
        "x,y\n1.5,2\n3.5,4\n5.5,6\n",
        "x,y\n1.5,2\n3.5,4\n5.5,6",
        "x,y\r\n1.5,2\r\n3.5,4\r\n5.5,6\r\n",
        "x,y\r1.5,2\r3.5,4\r5.5,6\r",
        "x;y\n1.5;2\n3.5;4\n5.5;6\n",
        "x\ty\n1.5\t2\n3.5\t4\n5.5\t6\n",
        "x|y\n1.5|2\n3.5|4\n5.5|6\n",
        "x y\n1.5 2\n3.5 4\n5.5 6\n",
        "  x   y\n 1.5   2\n 3.5  4\n5.5 6  \n",
        "x, y\n1.5, 2\n3.5, 4\n5.5, 6\n",
        "x ,y \n1.5 ,2 \n3.5 ,4 \n5.5 ,6 \n",
        '"x","y"\n"1.5","2"\n"3.5","4"\n"5.5","6"\n',
        '"x", "y"\n"1.5", "2"\n"3.5", "4"\n"5.5", "6"\n',
        "x,y,\n1.5,2,\n3.5,4,\n5.5,6,\n",
        "x,y\n1.5,2,\n3.5,4,\n5.5,6,\n",
        "x,y,\n1.5,2\n3.5,4\n5.5,6\n",
        "x,y\n1.5,2,\n3.5,4\n5.5,6,\n",
        "x,y\n1.5,2,,\n3.5,4,,\n5.5,6,,\n",
        "x;y;\n1,5;2;\n3,5;4;\n5,5;6;\n",
        "x;y\n1,5;2\n3,5;4\n5,5;6\n",
        "x\ty\n1,5\t2\n3,5\t4\n5,5\t6\n",
        'x,y\n"1,5",2\n"3,5",4\n"5,5",6\n',
        "sep=;\nx;y\n1,5;2\n3,5;4\n5,5;6\n",
        "# made by a logger\n# no. 7, of two\nx,y\n1.5,2\n# a break\n3.5,4\n5.5,6\n\n# the end\n",
        "% x is first\nx,y\n1.5,2\n3.5,4\n5.5,6\n",
        "# x y\n1.5 2\n3.5 4\n5.5 6\n",
        "# x,y\n1.5,2\n3.5,4\n5.5,6\n",
        "\n\nx,y\n1.5,2\n\n3.5,4\n5.5,6\n\n\n",
        ",x,y\n0,1.5,2\n1,3.5,4\n2,5.5,6\n",
        "Unnamed: 0,x,y\n0,1.5,2\n1,3.5,4\n2,5.5,6\n",
        ",Unnamed: 0,x,y\n4,0,1.5,2\n5,1,3.5,4\n6,2,5.5,6\n",
        "index,x,y\n0,1.5,2\n1,3.5,4\n2,5.5,6\n",
        "Unnamed: 0.1,Unnamed: 0,x,y\n0,0,1.5,2\n1,1,3.5,4\n2,2,5.5,6\n",
        ",x,y\n9,1.5,2\n8,3.5,4\n7,5.5,6\n",
        "id,x,y\n1,1.5,2\n2,3.5,4\n3,5.5,6\n",
        "x y\n1 1.5 2\n2 3.5 4\n3 5.5 6\n",
        '"x","y"\n"1",1.5,2\n"2",3.5,4\n"3",5.5,6\n',
        "x,y,note\n1.5,2,good\n3.5,4,\n5.5,6,so so\n",
        "x,y,day\n1.5,2,2024-01-01\n3.5,4,2024-01-01\n5.5,6,2024-01-01\n",
        "x,y,open\n1.5,2,yes\n3.5,4,no\n5.5,6,yes\n",
        "\ufeffx,y\n1.5,2\n3.5,4\n5.5,6\n",
        "x,y\n1.5,2\n3.5,4\n5.5,6\n".encode("utf-16"),
        "x,y\n1.5,2\n3.5,4\n5.5,6\n".encode("utf-16-le"),
        b"\xfe\xff" + "x,y\n1.5,2\n3.5,4\n5.5,6\n".encode("utf-16-be"),
        "x,y\n+1.5,2e0\n3.50,.4e1\n0055e-1,6.\n",
        "x,y\n1.5,2\n3.5,4\n5.5,6\n,\n,\n",
        "x,y\n1.5,2\n3.5,4\n5.5,6\n\x1a",
        '"x\n",y\n1.5,2\n3.5,4\n5.5,6\n',
        "'sample #','x','y'\n0,1.5,2\n1,3.5,4\n2,5.5,6\n",
        'x,y,note\n1.5,2,"over\ntwo lines"\n3.5,4,\n5.5,6,"a ""word"""\n',
        "x,y\nmV,g\n1.5,2\n3.5,4\n5.5,6\n",
        "x,y\n[mV],[m/s²]\n1.5,2\n3.5,4\n5.5,6\n",
    ],
)
def test_one_table_in_many_hands(tmp_path, text):
    assert cells(table(tmp_path, text)) == XY


@pytest.mark.parametrize(
    ("text", "options", "channels", "expected"),
    [
        ("x\n1.5\n2\n", {}, ("x",), [[1.5], [2]]),
        ("Heart rate\n71\n72\n", {}, ("Heart rate",), [[71], [72]]),
        ("1.5\n2\n", {}, ("0",), [[1.5], [2]]),
        ("7\n12\n-5\n", {}, ("0",), [[7], [12], [-5]]),
        ("1.5,2\n3.5,4\n", {}, ("0", "1"), [[1.5, 2], [3.5, 4]]),
        ("1,5;2\n3,5;4\n", {}, ("0", "1"), [[1.5, 2], [3.5, 4]]),
        ("walking,0.5,2\nsitting,1.5,3\n", {}, ("1", "2"), [[0.5, 2], [1.5, 3]]),
        ("0,1,2\n0.5,0.25,1.5\n", {}, ("0", "1", "2"), [[0.5, 0.25, 1.5]]),
        (",0,1\n0,0.5,0.25\n1,1.5,2.5\n", {}, ("0", "1"), [[0.5, 0.25], [1.5, 2.5]]),
        ("class,0,1,2\na,5,6,1\nb,7,8,2\n", {}, ("0", "1", "2"), [[5, 6, 1], [7, 8, 2]]),
        ("0\n12\n-5\n", {"header": True}, ("0",), [[12], [-5]]),
        ("0\n12\n-5\n", {"header": False}, ("0",), [[0], [12], [-5]]),
        ("x;y\n1.234,5;2\n1.000,5;4\n", {}, ("x", "y"), [[1234.5, 2], [1000.5, 4]]),
        ("x;y\n1,234.5;2\n1,000.5;4\n", {}, ("x", "y"), [[1234.5, 2], [1000.5, 4]]),
        ('x,y\n"1,234,567",2\n"1,000",4\n', {}, ("x", "y"), [[1234567, 2], [1000, 4]]),
        ("x;y\n1'234.5;2\n1'000.5;4\n", {}, ("x", "y"), [[1234.5, 2], [1000.5, 4]]),
        ("x;y\n1 234,5;2\n1 000,5;4\n", {}, ("x", "y"), [[1234.5, 2], [1000.5, 4]]),
        ("x;y\n1,234;2\n1,500;4\n", {"decimal": ","}, ("x", "y"), [[1.234, 2], [1.5, 4]]),
        ("x;y\n1,234;2\n1,500;4\n", {"thousands": ","}, ("x", "y"), [[1234, 2], [1500, 4]]),
        ("x;y\n1.234;0,5\n1.500;4\n", {"thousands": "."}, ("x", "y"), [[1234, 0.5], [1500, 4]]),
        ("x\n0,5\n1,5\n", {"decimal": ","}, ("x",), [[0.5], [1.5]]),
        ("a:b\n1:2\n3:4\n", {"delimiter": ":"}, ("a", "b"), [[1, 2], [3, 4]]),
        ("x,ok\n1,True\n2,False\n", {}, ("x", "ok"), [[1, 1], [2, 0]]),
        ("x\n−1.5\n2\n", {}, ("x",), [[-1.5], [2]]),
        ("x,x\n1,2\n3,4\n", {}, ("x", "x.1"), [[1, 2], [3, 4]]),
        ("x,,y\n1,2,3\n4,5,6\n", {}, ("x", "1", "y"), [[1, 2, 3], [4, 5, 6]]),
        ("x,y\n1,ERR\n2,3\n4,5\n", {"missing": ["ERR"]}, ("x", "y"), [[1, 3], [2, 3], [4, 5]]),
        ("x,y\n1,-9999\n2,3\n4,5\n", {"missing": ["-9999"]}, ("x", "y"), [[1, 3], [2, 3], [4, 5]]),
        ("Größe,x\n1,2\n3,4\n".encode("latin-1"), {"encoding": "latin-1"}, ("Größe", "x"), [[1, 2], [3, 4]]),
        ("T °C,x µV\n1,2\n3,4\n".encode("latin-1"), {}, ("T °C", "x µV"), [[1, 2], [3, 4]]),
        ("Größe,x\n1,2\n3,4\n", {}, ("Größe", "x"), [[1, 2], [3, 4]]),
    ],
)
def test_a_table_that_says_how_it_is_written(tmp_path, text, options, channels, expected):
    names, values = cells(table(tmp_path, text), table=options)
    assert names == channels
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("word", ["", "NA", "nan", "NaN", "N/A", "null", "None", "?", "-", "--", "#N/A", " "])
def test_a_missing_value_is_a_gap(tmp_path, word):
    path = table(tmp_path, f"x,y\n1,1\n{word},2\n3,3\n")
    assert cells(path) == (("x", "y"), [[1, 1], [2, 2], [3, 3]])
    with pytest.raises(ValueError, match="channel 'x' lacks 1.000 s from 1.000 s"):
        signals.read(path, rate=1.0, max_gap=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n3,ERR\n5,6\n", "channel 'y' holds 'ERR' in line 3, which is no number.*`missing`.*`channels`"),
        ("x,y\n1,2.5 mV\n3,2.6 mV\n", "channel 'y' holds '2.5 mV' in line 2"),
        ("a,1,0.5;\nb,2,0.6;\n", "channel '2' holds '0.5;' in line 1"),
        ("x,y\n1,50%\n3,60%\n", "channel 'y' holds '50%' in line 2"),
        ("x,y\n1,0x1f\n3,0x20\n", "channel 'y' holds '0x1f' in line 2"),
        ("x,y\n1,1_000\n3,2\n", "channel 'y' holds '1_000' in line 2"),
        (
            "x;y\n1,234;2\n1,500;4\n",
            "channel 'x' holds '1,234' in line 2, where the mark may be.*`decimal` or `thousands`",
        ),
        ("x;y\n1.234;0,5\n1.500;4\n", "channel 'x' holds '1.234' in line 2, where the mark may be"),
        ("x,y\n1,$5\n3,$6\n", "channel 'y' holds '.5' in line 2"),
        ('x,y\n1,"2\n3,4\n5,6\n', "has a quotation mark in line 2 that none closes"),
        ("x;y\n1.5;0,5\n2.5;4\n", "channel 'x' holds '1.5' in line 2, which is no number"),
        ("x;y\n1,5;1,234.5\n2,5;4\n", "channel 'x' holds '1,5' in line 2"),
        ("x\n0,5\n1,5\n", "names 1 columns in line 1, 2 cells follow in line 2.*`decimal`"),
        ("time,x\n0,0,1,5\n0,1,1,6\n", "names 2 columns in line 1, 4 cells follow in line 2.*`decimal`"),
        ("x,y\n1,2\n3,4,5\n6,7\n", "has 3 cells in line 3, 2 are expected"),
        ("x,y\n1,2\n3\n6,7\n", "has 1 cells in line 3, 2 are expected"),
        ("x,y\n1,2\n# 3,4\n6,7\n", "has samples behind a mark of comments in line 3"),
        ("% 1,2\n3,4\n6,7\n", "has samples behind a mark of comments in line 1"),
        ("c0,c1,note\n-41.", "names 3 columns in line 1, 1 cells follow in line 2"),
        ("x\n1\noops", "channel 'x' holds 'oops' in line 3"),
        ("x,y,z\n1,2,3\n4,5,6\n7,8", "has 2 cells in line 4, 3 are expected"),
        ("a,b,c\n7,1,2,3\n9,4,5,6\n", "names 3 columns in line 1, 4 cells follow"),
        ("0,1\n5,6\n7,8\n", "begins with a line that may name columns or hold samples: 0, 1. Say `header`"),
        ("walking,1,2\nwalking,3,4\n", "may name columns or hold samples: walking, 1, 2"),
        ("0\n12\n-5\n", "may name columns or hold samples"),
        ("x\n1\n\n3\n", "has an empty line 3, which may stand for a missing sample or for nothing"),
        ("Größe,x\n1,2\n".encode("latin-1"), "is not UTF-8 in line 1.*`encoding`"),
        (b"x,y\n1,2\n3,4\n" + bytes(50), "has zero bytes in line 4"),
        ("x,y\n", "has no samples"),
        ("# nothing\n", "has no line of samples"),
        ("a,b\nx,y\nz,w\n", "has no column of numbers. Columns: a, b"),
        ('x,y\n1,"2\n3,4\n', "t.csv: "),
        (",x\n0.5,1\n0.75,2\n1.0,3\n", "channel '0' has no name, rises, and may be time"),
    ],
)
def test_what_can_be_read_in_several_ways_or_in_none_is_refused(tmp_path, text, message):
    path = table(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        signals.read(path, rate=1.0)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("max_gap", [1.0, None])
def test_a_sample_that_float32_cannot_hold_is_refused(tmp_path, max_gap):
    path = table(tmp_path, "x,y\n1,2\n3,1e39\n5,6\n")
    with pytest.raises(ValueError, match="t.csv: channel 'y' holds 1e\\+39 at 0.500 s, more than float32 can"):
        signals.read(path, rate=2.0, max_gap=max_gap)


def test_a_bad_column_does_no_harm_to_the_others(tmp_path):
    path = table(tmp_path, "x,y\n1,2\n3,ERR\n5,6\n")
    assert signals.read(path, rate=1.0, channels=["x"])[0].ravel().tolist() == [1, 3, 5]
    with pytest.raises(ValueError, match="has no option `decimals`. Did you mean `decimal`"):
        signals.read(path, rate=1.0, table={"decimals": ","})


START = dt.datetime(2024, 1, 30)


def moments(form, step, count=60, start=START):
    return [(start + i * step).strftime(form) for i in range(count)]


MINUTE = dt.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("head", "times", "rate", "start"),
    [
        ("time", [i / 50 for i in range(20)], 50, None),
        ("Time", [3 + i / 250 for i in range(20)], 250, None),
        ("seconds", range(0, 100, 5), 0.2, None),
        ("time (ms)", range(0, 400, 20), 50, None),
        ("time_ms", range(0, 400, 20), 50, None),
        ("Time [us]", range(0, 400_000, 20_000), 50, None),
        ("elapsed_s", range(20), 1, None),
        ("milliseconds", range(0, 80, 4), 250, None),
        ("time (h)", range(20), HOUR, None),
        ("timestamp", [1_700_000_000 + i for i in range(20)], 1, dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)),
        ("timestamp", [1_700_000_000 + 60 * i for i in range(20)], 1 / 60, None),
        ("timestamp", [f"{1_700_000_000 + i / 50:.2f}" for i in range(20)], 50, None),
        ("timestamp", [1_700_000_000_000 + 20 * i for i in range(20)], 50, None),
        ("timestamp", [1_700_000_000_000_000 + 20_000 * i for i in range(20)], 50, None),
        ("ts", [1_700_000_000_000_000_000 + 20_000_000 * i for i in range(20)], 50, None),
        ("date", range(20240101, 20240121), 1 / 86400, dt.datetime(2024, 1, 1)),
        ("date", [f"202401{1 + i // 24:02}{i % 24:02}" for i in range(60)], HOUR, dt.datetime(2024, 1, 1)),
        ("date", [f"2024-{i:02}-01" for i in range(1, 13)], 1 / 2.6313e6, None),
        ("t", [f"{i / 50:.2f}".replace(".", ",") for i in range(20)], 50, None),
        ("when", [f"2024-01-{i:02}" for i in range(1, 21)], 1 / 86400, dt.datetime(2024, 1, 1)),
        ("", moments("%Y-%m-%d %H:%M:%S", MINUTE), 1 / 60, START),
        ("date", moments("%Y-%m-%d %H:%M", MINUTE), 1 / 60, START),
        ("date", moments("%Y-%m-%dT%H:%M:%SZ", MINUTE), 1 / 60, START.replace(tzinfo=dt.UTC)),
        ("date", moments("%Y/%m/%d %H:%M:%S", MINUTE), 1 / 60, START),
        ("date", moments("%Y.%m.%d %H:%M:%S", MINUTE), 1 / 60, START),
        ("Datum", moments("%d.%m.%Y %H:%M", MINUTE), 1 / 60, START),
        ("date", moments("%d/%m/%Y %H:%M", MINUTE), 1 / 60, START),
        ("date", moments("%m/%d/%Y %H:%M", MINUTE), 1 / 60, START),
        ("date", moments("%m/%d/%Y %I:%M %p", MINUTE), 1 / 60, START),
        ("date", moments("%d-%b-%Y %H:%M:%S", MINUTE), 1 / 60, START),
        ("date", moments("%d %B %Y %H:%M:%S", MINUTE), 1 / 60, START),
        ("date", moments("%B %d %Y %H:%M:%S", MINUTE), 1 / 60, START),
        ("date", moments("%a %d %b %Y %H:%M:%S GMT", MINUTE), 1 / 60, START.replace(tzinfo=dt.UTC)),
        ("date", moments("%Y%m%d %H%M%S", MINUTE), 1 / 60, START),
        ("date", moments("%Y-%b-%d %Hh%M", MINUTE), 1 / 60, START),
        ("date", moments("%Y%m%dT%H%M%S", MINUTE), 1 / 60, START),
        ("date", moments("%d/%m/%Y", dt.timedelta(days=1)), 1 / 86400, START),
        ("date", moments("%m/%d/%Y", dt.timedelta(days=1)), 1 / 86400, START),
        ("date", moments("%d/%m/%Y %H:%M", dt.timedelta(hours=1), start=dt.datetime(2024, 1, 2)), HOUR, None),
        ("date", moments("%m/%d/%Y %H:%M", dt.timedelta(hours=1), start=dt.datetime(2024, 1, 2)), HOUR, None),
        ("date", moments("%d/%m/%Y %H:%M", MINUTE, start=dt.datetime(2024, 1, 2)), 1 / 60, None),  # one day
        ("date", moments("%d/%m/%y %H:%M", MINUTE), 1 / 60, None),  # one day, of some year
        ("time", moments("%H:%M:%S", MINUTE), 1 / 60, None),
        ("time", moments("%H:%M:%S.%f", dt.timedelta(seconds=0.25)), 4, None),
        ("time", moments("%H:%M:%S", MINUTE, start=dt.datetime(2024, 1, 1, 23, 30)), 1 / 60, None),
        ("time", [f"0 days 00:00:{i:02}" for i in range(20)], 1, None),
        ("time", [f"{i // 60:02}:{i % 60:02}.{d}" for i in range(20) for d in (0, 5)], 2, None),
        ("time", [(START + i * dt.timedelta(milliseconds=250)).isoformat() for i in range(20)], 4, START),
    ],
)  # fmt: skip
def test_times_in_many_hands(tmp_path, head, times, rate, start):
    times = list(times)
    path = table(tmp_path, f"{head};x\n" + "".join(f"{time};{i}\n" for i, time in enumerate(times)))
    info = signals.probe(path)
    assert info.rate == pytest.approx(rate, rel=1e-4) and info.channels == ("x",) and info.samples == len(times)
    assert start is None or info.start == start
    assert signals.read(path)[0].ravel().tolist() == list(range(len(times)))
    assert math.isclose(signals.probe(path, rate=7.0).rate, info.rate)  # a table that says its rate keeps it


@pytest.mark.parametrize(
    ("head", "times", "options", "message"),
    [
        ("time", range(0, 400, 20), {"time_unit": "ms"}, "such as 0 and does not say their unit.*`time_unit`"),
        ("time", range(20), {"time_unit": "s"}, "does not say their unit"),
        ("time", [1.0 * i for i in range(20)], {"time_unit": "s"}, "does not say their unit"),
        ("date", [45292 + i / 24 for i in range(20)], {"time_unit": "d"}, "does not say their unit"),
        ("time", [f"{739000 + i / 24:.9f}" for i in range(20)], {"time_unit": "d"}, "They may be MATLAB's days"),
        ("uptime", range(0, 400, 20), {"time_columns": ["uptime"], "time_unit": "ms"}, "does not say its rate"),
        ("date", [f"{i:02}/01/2024" for i in range(1, 13)], {"day_first": True}, "not clear. Say `day_first`"),
        ("date", [f"01/{i:02}/2024" for i in range(1, 13)], {"day_first": False}, "day and month are not clear"),
        ("date", [f"{i:02}/01/24" for i in range(1, 13)], {"date_format": "%d/%m/%y"}, "two-digit years.*_format`"),
        ("date", [f"24-01-{i:02}" for i in range(1, 13)], {"date_format": "%y-%m-%d"}, "two-digit years.*_format`"),
        ("time", moments("%H:%M", MINUTE), {"date_format": "%H:%M"}, "may be hours and minutes or minutes and seconds"),
        ("a,start,end", [f"1;{a};{a}" for a in moments("%Y-%m-%d %H:%M", MINUTE)], {"time_columns": ["start"]},
         "several columns that may say the time: `start`, `end`. Say which with `time_columns`"),
    ],
)  # fmt: skip
def test_times_that_are_not_clear_are_refused_and_read_with_the_option_that_decides(
    tmp_path, head, times, options, message
):
    times = list(times)
    head = head.replace(",", ";")
    path = table(tmp_path, f"{head};x\n" + "".join(f"{time};{i}\n" for i, time in enumerate(times)))
    with pytest.raises(ValueError, match=message) as caught:
        signals.probe(path)
    assert kind_of(caught.value) == "without a rate" and str(path) in str(caught.value)
    assert signals.probe(path, rate=3.0).rate == 3  # lines in their order
    info = signals.probe(path, table=options, channels=["x"])
    step = {"ms": 50, "s": 1, "d": 24 / 86400}.get(options.get("time_unit"))
    step = step or {True: 1 / 86400, False: 1 / 86400}.get(options.get("day_first"))
    assert info.rate == pytest.approx(step or (1 / 86400 if "y" in options.get("date_format", "") else 1 / 60))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 0.1, 0.2, 0.2, 0.3, 0.4], "do not rise from line 4 to line 5. Remove the lines that are there twice"),
        ([0, 0.1, 0.2, 0.1, 0.2, 0.3], "do not rise from line 4 to line 5"),
        ([0, 0.1, 0.25, 0.3, 0.47, 0.5], "not taken at a regular rate, as line 7 shows"),
        ([0, 0.1, 0.2, "", 0.4, 0.5], "its column 'time' is empty in line 5"),
        ([0, 0.1, "late", 0.3], "its column 'time' "),
        ([0.1 * i * (1 + i / 4000) for i in range(400)], "its rate drifts: line 20. lies [0-9.]+ samples from"),
        (
            ["2024-01-30 00:00", "2024-01-30 00:01", "2024-02-30 00:02"],
            "'2024-02-30 00:02' in line 4, which is no date",
        ),
        (["30/01/2024", "31/01/2024", "32/01/2024"], "holds '32/01/2024' in line 4, which is no date"),
        (["2024-01-30T00:00Z", "2024-01-30T00:01", "2024-01-30T00:02"], "says dates or zones in some lines"),
        (["2024-01-30 00:00", "soon", "2024-01-30 00:02"], "holds 'soon' in line 3, which is no time"),
        ([f"2024/01/30-{i:02}:00" for i in range(9)], "holds '2024/01/30-00:00' in line 2, which is no time"),
        ([f"2024-01-30-{i:02}:00" for i in range(9)], "holds '2024-01-30-00:00' in line 2, which is no time"),
        ([f"9999-01-{i}" for i in range(10, 20)], "holds dates before 1678 or after 2261"),
        ([f"{i}.01.1600" for i in range(10, 20)], "holds dates before 1678 or after 2261"),
        ([0, 0.375, 0.5, 0.875, 1, 1.375, 1.5], "not taken at a regular rate, as line 3 shows"),
        ([0.5], "has one line, whose time gives no rate"),
    ],
)
def test_times_that_give_no_rate_are_refused(tmp_path, times, message):
    path = table(tmp_path, "time,x\n" + "".join(f"{time},{i}\n" for i, time in enumerate(times)))
    with pytest.raises(ValueError, match=message) as caught:
        signals.probe(path)
    assert kind_of(caught.value) == "without a rate"
    assert signals.probe(path, rate=3.0, channels=["x"]).samples == len(times)


@pytest.mark.parametrize("rate", ["8k", True, [2], 0, math.inf, 1e300, 1e-12])
def test_a_rate_that_is_no_positive_number_is_refused(tmp_path, rate):
    with pytest.raises(ValueError, match="its rate must be positive, a number of samples per second"):
        signals.read(table(tmp_path, "x\n1\n2\n"), rate=rate)


def test_times_that_no_clock_can_count_are_refused(tmp_path):
    path = table(tmp_path, "time (s),x\n0,1\n9000000000000,2\n18000000000000,3\n")
    with pytest.raises(ValueError, match=r"'time \(s\)' holds numbers that are no times, from 0 to 1.8e\+13"):
        signals.probe(path)


@pytest.mark.parametrize("form", ["%d-%b-%Y %H:%M:%S", "%Y%m%d %H%M%S", "%d %B %Y %H:%M", "%Y-%m-%dT%H:%M:%SZ"])
def test_dates_with_blanks_in_a_table_without_a_header_are_cells(tmp_path, form):
    lines = "".join(f"{moment}\t{i}\n" for i, moment in enumerate(moments(form, MINUTE)))
    info = signals.probe(table(tmp_path, lines))
    assert (info.rate, info.channels, info.start.replace(tzinfo=None)) == (pytest.approx(1 / 60), ("1",), START)


def test_lines_lie_where_their_times_say(tmp_path):
    times = [i / 256 for i in range(2000)]
    kept = [i for i in range(2000) if not 700 <= i < 950]
    path = table(tmp_path, "time,x\n" + "".join(f"{times[i]:.3f},{i}\n" for i in kept))  # rounded to milliseconds
    signal, rate = signals.read(path, max_gap=2)
    assert rate == pytest.approx(256, rel=1e-4) and len(signal) == 2000
    np.testing.assert_allclose(signal[:, 0], np.arange(2000), atol=1e-3)
    path = table(tmp_path, "time,x\n" + "".join(f"{i / 10},{i}\n" for i in reversed(range(20))))  # newest first
    signal, rate = signals.read(path)
    assert rate == pytest.approx(10) and signal.ravel().tolist() == list(range(20))


def test_date_and_time_of_day_in_two_columns(tmp_path):
    moment = [dt.datetime(2024, 2, 27) + dt.timedelta(hours=i) for i in range(60)]
    form = {"%d/%m/%Y;%H:%M:%S": None, "%d/%m/%Y;%H.%M.%S": None, "%Y-%m-%d;%H:%M": None, "%m/%d/%Y;%I:%M:%S %p": None}
    for written in form:
        text = "".join(f"{when:{written}};{'?' if i == 5 else i};{i}\n" for i, when in enumerate(moment))
        path = table(tmp_path, f"Date;Time;load;gas\n{text}")
        info = signals.probe(path)
        assert (info.rate, info.channels, info.start) == (pytest.approx(HOUR), ("load", "gas"), moment[0])
        assert signals.read(path, max_gap=7200)[0][:, 0].tolist() == list(range(60))
        path = table(tmp_path, f"day;at;load;gas\n{text}")
        assert signals.probe(path, table={"time_columns": ["day", "at"]}).rate == pytest.approx(HOUR)


def test_year_month_and_day_in_columns(tmp_path):
    hours = [dt.datetime(2024, 2, 27) + dt.timedelta(hours=i) for i in range(80)]
    rows = "".join(f"{i + 1},{t.year},{t.month},{t.day},{t.hour},{i}\n" for i, t in enumerate(hours))
    info = signals.probe(table(tmp_path, f"No,year,month,day,hour,pm2.5\n{rows}"))
    assert (info.rate, info.channels, info.start) == (pytest.approx(HOUR), ("pm2.5",), hours[0])


def test_a_wristband_says_start_and_rate_above_its_samples(tmp_path):
    path = table(tmp_path, "1550000000.0, 1550000000.0\n32.0, 32.0\n" + "".join(f"{i},{-i}\n" for i in range(20)))
    info = signals.probe(path)
    assert (info.rate, info.samples) == (32, 20) and info.start.timestamp() == 1_550_000_000
    assert signals.read(path)[0][:, 1].tolist() == [-i for i in range(20)]


def test_files_of_physionet(tmp_path):
    head = "'Elapsed time','MLII','V5'\n'hh:mm:ss.mmm','mV','mV'\n"
    path = table(tmp_path, head + "".join(f"'0:{i / 360:06.3f}',{i},{-i}\n" for i in range(720)))
    info = signals.probe(path)
    assert (info.rate, info.channels, info.units) == (pytest.approx(360, rel=1e-3), ("MLII", "V5"), ("mV", "mV"))


def test_clocks_that_are_put_forward_and_back(tmp_path):
    spring = [f"2024-03-31T{h:02}:00:00+01:00" for h in (0, 1)] + [
        f"2024-03-31T{h:02}:00:00+02:00" for h in range(3, 10)
    ]
    path = table(tmp_path, "time,x\n" + "".join(f"{time},{i}\n" for i, time in enumerate(spring)))
    assert signals.probe(path).rate == pytest.approx(HOUR) and signals.probe(path).samples == len(spring)
    path = table(tmp_path, "time,x\n" + "".join(f"{time[:19]},{i}\n" for i, time in enumerate(spring)))
    with pytest.raises(ValueError, match="leave out the hour before line 4, on Sunday 2024-03-31.*`time_zone`"):
        signals.probe(path)
    assert signals.probe(path, table={"time_zone": "Europe/Berlin"}).samples == len(spring)
    assert signals.probe(path, table={"time_zone": "UTC"}).samples == len(spring) + 1
    autumn = [f"2024-10-27 {h:02}:00" for h in (0, 1, 2, 2, 3, 4, 5)]
    path = table(tmp_path, "time,x\n" + "".join(f"{time},{i}\n" for i, time in enumerate(autumn)))
    with pytest.raises(ValueError, match="do not rise from line 4 to line 5"):
        signals.probe(path)
    info = signals.probe(path, table={"time_zone": "Europe/Berlin"})
    assert (info.rate, info.samples) == (pytest.approx(HOUR), 7)
    assert info.start.isoformat() == "2024-10-27T00:00:00+02:00"
    for days in (
        [f"2024-10-{i}" for i in range(20, 31)],
        [f"2024-10-{i}T00:00+0{2 - i // 28}:00" for i in range(20, 31)],
    ):
        path = table(tmp_path, "time,x\n" + "".join(f"{day},{i}\n" for i, day in enumerate(days)))
        zone = {"time_zone": "Europe/Berlin"} if len(days[0]) == 10 else None
        info = signals.probe(path, table=zone)  # one of the days has 25 hours
        assert (info.rate, info.start) == (pytest.approx(1 / 86400, rel=1e-12), dt.datetime(2024, 10, 20))
    with pytest.raises(ValueError, match="`time_zone` must be a name such as Europe/Berlin"):
        signals.probe(path, table={"time_zone": "Berlin"})


def test_a_long_note_is_a_cell_like_others(tmp_path):
    path = table(tmp_path, f'time,x,note\n0,1,"{"long, " * 40_000}"\n0.1,2,\n0.2,3,short\n')
    assert signals.read(path)[0].ravel().tolist() == [1, 2, 3]


def test_an_hour_that_clocks_skip_or_show_twice_says_what_to_do(tmp_path):
    def hourly(day, hours):
        return table(tmp_path, "time,x\n" + "".join(f"{day} {hour:02}:00,{hour}\n" for hour in hours))

    friday = hourly("2024-03-29", (0, 1, 3, 4, 5))  # as in Israel, and in no zone on Thursday
    with pytest.raises(ValueError, match="leave out the hour before line 4, on Friday 2024-03-29.*`time_zone`"):
        signals.probe(friday)
    assert signals.probe(friday, table={"time_zone": "Asia/Jerusalem"}).samples == 5
    assert signals.probe(hourly("2024-03-28", (0, 1, 3, 4, 5))).samples == 6
    berlin = {"time_zone": "Europe/Berlin"}
    with pytest.raises(
        ValueError, match="holds 2024-03-31 02:00:00 in line 3, an hour that the clocks of Europe/Berlin"
    ):
        signals.probe(hourly("2024-03-31", (1, 2, 3)), table=berlin)
    once = hourly("2024-10-27", range(6))
    with pytest.raises(ValueError, match="02:00:00 in line 4, an hour that .* showed twice.*Leave the hour out"):
        signals.probe(once, table=berlin)
    assert signals.probe(hourly("2024-10-27", (0, 1, 3, 4, 5)), table=berlin).samples == 7
    with pytest.raises(ValueError, match="Remove the lines that are there twice.*say `time_zone`"):
        signals.probe(hourly("2024-10-27", (0, 1, 2, 2, 3)))
    days = table(tmp_path, "date,x\n" + "".join(f"2018-11-0{day},{day}\n" for day in range(1, 9)))
    info = signals.probe(days, table={"time_zone": "America/Sao_Paulo"})  # one of them began at one o'clock
    assert (info.rate, info.samples) == (pytest.approx(1 / 86400), 8)


@pytest.mark.parametrize("name", ["ds", "date", "when"])
@pytest.mark.parametrize("moment", ["2024-05-{:02} 01:00 DST", "{:02}-05-2024 01:00 CET"])
def test_a_date_that_cannot_be_read_says_so_whatever_its_column_is_called(tmp_path, name, moment):
    path = table(tmp_path, f"{name},x\n" + "".join(f"{moment.format(day)},{day}\n" for day in range(1, 9)))
    with pytest.raises(
        ValueError, match=f"its column '{name}' holds .*, which is no time that can be read.*date_format"
    ):
        signals.probe(path)
    assert signals.probe(path, rate=1.0).channels == ("x",)


def test_parquet_says_when_in_its_index_or_a_column(tmp_path):
    path = tmp_path / "t.parquet"
    hours = pandas.date_range("2024-01-01", periods=24, freq="h", tz="Europe/Berlin")
    frames = [
        pandas.DataFrame({"x": range(24)}, index=hours),
        pandas.DataFrame({"x": range(24)}, index=hours.rename("when")),
        pandas.DataFrame({"ts": hours, "x": range(24)}),
        pandas.DataFrame({"time": hours.astype(str), "x": range(24)}),
        pandas.DataFrame({"time": (hours - hours[0]), "x": range(24)}),
        pandas.DataFrame({"timestamp": [int(hour.timestamp()) for hour in hours], "x": range(24)}),
        pandas.DataFrame({"time": hours.tz_localize(None), "x": pandas.array(range(24), dtype="Int64")}),
    ]
    for frame in frames:
        frame.to_parquet(path)
        info = signals.probe(path)
        assert (info.rate, info.channels) == (pytest.approx(HOUR), ("x",))
        assert signals.read(path)[0].ravel().tolist() == list(range(24))
    frames[0].to_parquet(path)
    assert signals.probe(path).start == hours[0].to_pydatetime()
    pandas.DataFrame({"x": [1.0, 2, 3]}, index=[5, 6, 7]).to_parquet(path)
    assert cells(path) == (("x",), [[1], [2], [3]])
    levels = pandas.MultiIndex.from_tuples([(1, "p"), (2, "p"), (3, "q")])
    for names in ([None, None], ["who", "x"]):
        pandas.DataFrame({"x": [1.0, 2, 3]}, index=levels.rename(names)).to_parquet(path)
        assert signals.read(path, rate=1.0, channels=["x" if names == [None, None] else "x.1"])[0].ravel().tolist() == [
            1, 2, 3,
        ]  # fmt: skip
    pandas.DataFrame({"x": [1.0, 2], "l": [[1, 2], [3]]}).to_parquet(path)
    with pytest.raises(ValueError, match="channel 'l' holds lists"):
        signals.read(path, rate=1.0)


def test_pandas_own_tables_come_back(tmp_path, rng):
    values = rng.standard_normal((40, 3)).round(4)
    hours = pandas.date_range("2024-03-01", periods=40, freq="15min", name="time")
    path = tmp_path / "t.csv"
    for frame in (
        pandas.DataFrame(values),
        pandas.DataFrame(values, index=hours),
        pandas.DataFrame(values, index=hours.rename(None)),
        pandas.DataFrame(values, columns=list("abc")).iloc[:, :3],
    ):
        for how in ({}, {"sep": ";", "decimal": ","}, {"sep": "\t"}, {"encoding": "utf-16"}, {"quoting": 1}):
            frame.to_csv(path, **how)
            signal, rate = signals.read(path, rate=1.0)
            np.testing.assert_allclose(signal, values, rtol=1e-6)
            assert rate == pytest.approx(1 / 900 if isinstance(frame.index, pandas.DatetimeIndex) else 1)


def test_a_units_row_is_kept(tmp_path):
    path = table(tmp_path, "time,x,y\nms,mV,(m/s2)\n0,1,2\n20,3,4\n40,5,6\n")
    info = signals.probe(path)
    assert (info.rate, info.units) == (pytest.approx(50), ("mV", "m/s2"))
    with pytest.raises(ValueError, match="'ERR' in line 2"):
        signals.read(table(tmp_path, "x,y\nERR,ERR\n1,2\n"), rate=1.0)


# What is written and cannot be a number


@pytest.mark.parametrize(
    "cell", ["\u0661\u0662", "\uff11", "1e400", "-1e999", "2\u00b2", "+-5", "1_000", "0x10", "(1.5)"]
)
@pytest.mark.parametrize("others", ["{}", "{}.5"])
def test_a_cell_that_is_no_number_is_named_and_not_filled(tmp_path, cell, others):
    path = table(tmp_path, rows(lambda i: f"{i / 100},{cell if i == 5 else others.format(i)}"))
    with pytest.raises(ValueError, match=r"channel 'x' holds .* in line 7, (which is no number|more than a number)"):
        signals.read(path)


def test_infinite_cells_are_missing_ones_as_before(tmp_path):
    path = table(tmp_path, rows(lambda i: f"{i / 100},{'-Inf' if i == 5 else i}"))
    np.testing.assert_array_equal(signals.read(path)[0][:, 0], np.arange(20))


def test_the_cell_among_times_that_is_none_is_named(tmp_path):
    path = table(tmp_path, rows(lambda i: f"{i / 10},{i}") + "Total,190\n")
    with pytest.raises(ValueError, match="column 'time' holds 'Total' in line 22, which is no time"):
        signals.read(path)


def test_midnight_at_the_end_of_a_day_and_a_short_year_beside_a_name(tmp_path):
    days = [f"2024-01-{day:02}T24:00" for day in range(10, 20)]
    info = signals.probe(table(tmp_path, "time,x\n" + "".join(f"{day},1\n" for day in days)))
    assert (info.rate, info.start) == (pytest.approx(1 / 86400), dt.datetime(2024, 1, 11))
    path = table(tmp_path, rows(lambda i: f"{i + 1} Jan 24 10:00,{i}"))
    with pytest.raises(ValueError, match="two-digit years"):
        signals.probe(path)
    assert signals.probe(path, table={"day_first": True}).start == dt.datetime(2024, 1, 1, 10)


def test_the_number_among_dates_is_named(tmp_path):
    path = table(tmp_path, rows(lambda i: f"{i + 1} May 2024,{i}" if i != 7 else "-5,7"))
    with pytest.raises(ValueError, match="column 'time' holds '-5' in line 9, which is no time"):
        signals.read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"time,x\n0,1\n"), "packed by gzip: unpack it"),
        (b"PK\x03\x04" + bytes(200), "a ZIP archive, as workbooks"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(200), "a file of Microsoft Office"),
    ],
    ids=["gzip", "xlsx", "xls"],
)
def test_a_packed_file_under_the_name_of_a_table_is_said_to_be_one(tmp_path, content, said):
    with pytest.raises(ValueError, match=rf"t\.csv: is no text, it is {said}"):
        signals.read(table(tmp_path, content))
    with pytest.raises(ValueError, match=rf"t\.csv: must be text in UTF-8, it is {said}"):
        corpora.prepare("table", table(tmp_path, content), out=tmp_path / "out")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1,2", "ERR,3", "4,5"], "channel 'a' holds 'ERR' in line 3, which is no number"),
        (["1,2", "3", "4,5"], "has 2 cells in line 3, 3 are expected"),
        (["1,2", "3,4,5", "6,7"], "has 4 cells in line 3, 3 are expected"),
    ],
)
def test_a_bad_line_is_named_and_not_the_blanks_within_its_dates(cells, message, tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"2024-01-01 0{hour}:00:00,{row}\n" for hour, row in enumerate(cells)]
    path.write_text("".join(["time,a,b\n", *rows]))
    with pytest.raises(ValueError, match=message):
        signals.read(path)
