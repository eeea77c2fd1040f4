#!/usr/bin/env python3
"""How long a person waits from `danlu train DATA` to the first update: reading, splitting, auditing the data, choosing the recipe, planning.

The run is stopped there. The median of some starts.
"""
import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def start(danlu, data):
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        process = subprocess.Popen([str(danlu), "train", data, "--runs", folder, "--name", "start"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        events = Path(folder, "start", "events.jsonl")
        try:
            while process.poll() is None:
                if events.exists() and '"iteration":1,' in events.read_text():
                    return time.monotonic() - begin
                time.sleep(0.002)
            raise SystemExit(f"danlu ended with {process.returncode} before its first update")
        finally:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=["demo"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--danlu", default=ROOT / "target" / "release" / "danlu", help="the program (default: %(default)s)")
    arguments = parser.parse_args()
    for data in arguments.data:
        times = [start(arguments.danlu, data) for _ in range(arguments.rounds)]
        print(f"{data}: {statistics.median(times):.2f} s to the first update ({min(times):.2f} to {max(times):.2f}, {arguments.rounds} starts)", flush=True)


if __name__ == "__main__":
    main()
