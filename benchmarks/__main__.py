"""Every benchmark of this folder, one table.

    python -m benchmarks [--quick] [--json] [--data-dir DIR] [--only SECTION ...]

Each section runs in a process of its own, its contenders in alternating runs; the ratios are ours over theirs. PyTorch
is measured where it is installed. `--quick` takes small shapes and few runs: it shows that everything works, no more.
"""

import argparse
import json
import os
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from benchmarks import measuring

OURS = "speechrnn"


def recurrent(*words: str, repeats: int) -> list[str]:
    """Arguments of one comparison of recurrent layers."""
    return ["benchmarks.recurrent", *words, "--repeats", str(repeats), "--json", "-"]


def sections(quick: bool, data_dir: str | None) -> dict[str, list[list[str]]]:
    """The commands of each section."""
    small = ["--units", "32", "--layers", "1", "--frames", "60", "--batch", "4"] if quick else []
    runs = 2 if quick else 3
    chosen = {
        "startup": [["benchmarks.startup", "--json", "--repeats", "3" if quick else "9"]],
        "features": [["benchmarks.features", "--json", "--runs", "3" if quick else "15"]],
        "ctc": [["benchmarks.ctc", "--json"] + (["--frames", "60", "--repeats", "3"] if quick else [])],
        "transducer": [["benchmarks.transducer", "--json"] + (["--frames", "40", "--repeats", "3"] if quick else [])],
        "training step": [
            recurrent("--what", "train", "--cell", c, "--bfloat16", *small, repeats=runs)
            for c in ("lstm", "gru", "simple")
        ],
        "shorter": []
        if quick
        else [recurrent("--what", "train", "--cell", "lstm", "gru", "--frames", "120", repeats=runs)],
        "narrower": []
        if quick
        else [
            recurrent(
                "--what", "train", "--cell", "lstm", "--units", "128", "--batch", "32", "--frames", "200", repeats=runs
            )
        ],
        "ragged": [
            recurrent("--what", "train", "--cell", "lstm", "--ragged", "--packed", "--no-stock", *small, repeats=runs)
        ],
        "inference": [
            recurrent("--what", "infer", "--cell", "lstm", "gru", "simple", *small, "--batch", batch, repeats=runs)
            for batch in ("1", "16")
        ],
        "memory": [recurrent("--what", "train", "--cell", "lstm", "--memory", *small, repeats=1)],
        "loop": [
            ["benchmarks.loop", "--json"] + (["--limit", "32", "--repeats", "1", "--units", "16"] if quick else [])
        ],
    }
    if data_dir:
        chosen["pipeline"] = [
            ["benchmarks.pipeline", "--json", "--data-dir", data_dir, "--runs", "2" if quick else "3"]
        ]
    return {name: commands for name, commands in chosen.items() if commands}


def run(command: list[str]) -> list[dict]:
    """The rows that a benchmark prints; raises with the end of what it wrote if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        raise RuntimeError("\n".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.returncode}")
    found = json.loads(done.stdout[min(done.stdout.find(c) for c in "[{" if c in done.stdout) :])
    return found["rows"] if isinstance(found, dict) else found


def described(row: dict) -> str:
    """What a row of any benchmark measured."""
    if "kind" in row:
        ragged = ", ragged rows" if row["ragged"] else ""
        sizes = f"B={row['batch']}, T={row['frames']}, H={row['units']}{ragged}"
        kind = "training step" if row["kind"] == "train" else "inference"
        return f"{row['layers']} x Bi{row['cell'].upper()}, {sizes}, {kind}"
    if "times_real_time" in row:
        return f"log-mel of {row['batch']} x {row['seconds']:g} s"
    return row.get("what") if "name" in row else "FLAC files to batches"


def table_rows(section: str, found: list[dict]) -> list[tuple[str, str, str, str]]:
    """`(what, who, figure, ours over it)` of each row."""
    shown = []
    for row in found:
        what, name = described(row), row.get("name", row.get("what", ""))
        if "peak" in row:
            same = [r["peak"] for r in found if described(r) == what and r["name"] == OURS]
            shown.append(
                (
                    f"{what}, peak memory",
                    name,
                    f"{row['peak'] / 1e6:.0f} MB",
                    f"{same[0] / row['peak']:.2f}" if row["peak"] else "",
                )
            )
            continue
        if "hours_per_second" in row:
            shown.append(
                (what, name, f"{row['hours_per_second']:.2f} h/s", f"{1 / row['times_librosa']:.2f} x librosa's time")
            )
            continue
        mine = [
            r["median_s"]
            for r in found
            if described(r) == what and r.get("name", r.get("what")) in (OURS, "ours, bare")
        ]
        ratio = f"{mine[0] / row['median_s']:.2f}" if mine else f"{row['ratio']:.2f}" if "ratio" in row else ""
        shown.append((what, name, f"{1e3 * row['median_s']:,.1f} ms", ratio))
    return shown


def main() -> int:
    """Parses, measures, prints; 1 where a section failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small shapes, few runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--data-dir", help="folder of FLAC files for the input pipeline; left out where it is not given"
    )
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="these sections alone")
    options = parser.parse_args()
    chosen = sections(options.quick, options.data_dir)
    unknown = set(options.only or ()) - set(chosen)
    if unknown:
        parser.error(f"--only must name sections out of {', '.join(chosen)}. Received: {', '.join(sorted(unknown))}.")
    found, failed, started = {}, {}, time.perf_counter()
    for name in options.only or chosen:
        print(f"{time.perf_counter() - started:4.0f} s  {name} ...", file=sys.stderr, flush=True)
        try:
            found[name] = [row for command in chosen[name] for row in run(command)]
            for line in table_rows(name, found[name]):
                print("     " + "  ".join(line), file=sys.stderr, flush=True)
        except (RuntimeError, ValueError) as error:
            failed[name] = str(error)
            print(f"{name} failed: {error}", file=sys.stderr)
    where = measuring.machine()
    if options.json:
        print(json.dumps({"machine": where, "quick": options.quick, "sections": found, "failed": failed}, indent=1))
        return bool(failed)
    table = Table(title=", ".join(f"{name} {value}" for name, value in where.items()))
    for column in ("what", "who", "median", "ours / it"):
        table.add_column(column, justify="left" if column in ("what", "who") else "right")
    for section, rows in found.items():
        lines = table_rows(section, rows)
        for i, line in enumerate(lines):
            table.add_row(*line, end_section=i == len(lines) - 1)
    Console(width=max(130, Console().width)).print(table)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
