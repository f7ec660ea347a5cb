"""Start-up: help texts and `import speechrnn`, beside an interpreter that does nothing.

python -m benchmarks.startup [--json]
"""

import argparse
import json
import subprocess
import sys

from benchmarks import measuring

COMMANDS = {
    "an empty Python": ["-c", ""],
    "import speechrnn": ["-c", "import speechrnn"],
    "speechrnn --help": ["-m", "speechrnn", "--help"],
    "speechrnn train --help": ["-m", "speechrnn", "train", "--help"],
    "speechrnn train --task classify --help": ["-m", "speechrnn", "train", "--task", "classify", "--help"],
    "speechrnn transcribe --help": ["-m", "speechrnn", "transcribe", "--help"],
}


def rows(repeats=9):
    runs = {
        name: lambda words=words: subprocess.run([sys.executable, *words], check=True, capture_output=True)
        for name, words in COMMANDS.items()
    }
    found = measuring.alternate(runs, repeats)
    return [{"what": "start-up", "name": name, "median_s": times["median_s"]} for name, times in found.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    found = rows(options.repeats)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for row in found:
        print(f"{row['name']}: {row['median_s']:.3f} s")


if __name__ == "__main__":
    main()
