"""Seconds until `import invkit`, `invkit --help` and `invkit plugins list` are done, each beside its mark.

python benchmarks/startup.py [rounds, 15]

Every run is a fresh process, in turn; the interpreter's own start, which is also shown, and the scan of all installed
distributions for plugins are counted. Files are in the page cache. The rounds' median is printed, and their range.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = str(Path(sys.executable).with_name("invkit"))
#: what is run, and the seconds that it may take
CASES = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "import invkit": ([sys.executable, "-c", "import invkit"], 0.1),
    "invkit --help": ([SCRIPT, "--help"], 0.3),
    "invkit plugins list": ([SCRIPT, "plugins", "list"], 0.3),
}


def seconds(command):
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main(rounds):
    for command, _ in CASES.values():
        seconds(command)  # bytecode is written, files are read
    times = {name: [] for name in CASES}
    for _ in range(rounds):  # in turn, so that other work on the machine meets all alike
        for name, (command, _) in CASES.items():
            times[name].append(seconds(command))
    missed = 0
    for name, (_, mark) in CASES.items():
        middle = statistics.median(times[name])
        missed += mark is not None and middle > mark
        verdict = "" if mark is None else f"{'MISS' if middle > mark else 'ok'}, at most {mark}"
        print(f"{name:<20} {middle:.3f} s, {min(times[name]):.3f} to {max(times[name]):.3f}  {verdict}".rstrip())
    print(f"{missed} marks missed")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
