#!/usr/bin/env python3
"""The trainings of make_runs.py with danlu in f32 on the cpu device, against PyTorch's in f64: how far 30 updates drift apart.

    python3 golden/train/check_f32.py path/to/danlu

Prints, for each case, the largest relative difference of a loss over the 30 updates, and of the norm of a weight at the end. Nothing is asserted: f32 rounds, and
rules that look only at a gradient's sign (Lion, Rprop) fall on one side or the other of a gradient near zero. `crates/danlu-cli/tests/knobs.rs` asserts the f64 runs.
"""
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from safetensors import safe_open

GOLDEN = Path(__file__).resolve().parents[2] / "crates/danlu-cli/tests/golden"
SIDE = 12


def pixel(c, i, y, x):
    """As make_runs.py."""
    bright = (c == 0 and y < 6) or (c == 1 and x < 6) or (c == 2 and x + y < 11)
    return 40 + 60 * bright + (x * 7 + y * 13 + i * 29 + c * 3 + x * y * i) % 97


def write_images(folder):
    for part, first, each in (("train", 0, 8), ("val", 8, 2)):
        for c, name in enumerate("abc"):
            place = folder / part / name
            place.mkdir(parents=True)
            for i in range(first, first + each):
                image = Image.new("L", (SIDE, SIDE))
                image.putdata([pixel(c, i, y, x) for y in range(SIDE) for x in range(SIDE)])
                image.save(place / f"{i:02}.png")


def check(danlu, folder, number, case):
    recipe = case["recipe"].replace('precision = "f64"', 'precision = "f32"').replace('device = "reference"', 'device = "cpu"')
    assert recipe != case["recipe"], "the recipe asks for f64"
    (folder / "r.toml").write_text(recipe)
    command = [danlu, "train", "data", "--quiet", "--recipe", "r.toml", "--name", f"case-{number}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    run = folder / "runs" / f"case-{number}"
    events = [json.loads(line) for line in (run / "events.jsonl").open()]
    losses = [event["loss"] for event in events if event["event"] == "iteration"]
    loss = max(abs(found / expected - 1) for found, expected in zip(losses, case["losses"], strict=True))
    weight = 0.0
    if case["label"].startswith("schedule-free"):
        return loss, None  # the weights that danlu saves are the average, those of the golden values where the gradient is taken
    with safe_open(run / "weights/last.safetensors", "np") as file:
        names = set(file.keys())
        for name, (_, norm) in case["final"].items():
            if name in names and norm > 1e-6:
                values = file.get_tensor(name).astype("float64").ravel()
                weight = max(weight, abs(math.sqrt((values**2).sum()) / norm - 1))
    return loss, weight


def main():
    danlu = str(Path(sys.argv[1]).resolve())
    cases = json.loads((GOLDEN / "runs.json").read_text())["cases"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder / "data")
        (folder / "initial.safetensors").write_bytes((GOLDEN / "initial.safetensors").read_bytes())
        print("| training | largest relative difference of a loss | of a weight's norm |\n|---|---:|---:|")
        for number, case in enumerate(cases):
            loss, weight = check(danlu, folder, number, case)
            norm = "-" if weight is None else f"{weight:.0e}"
            print(f"| {case['label']} | {loss:.0e} | {norm} |", flush=True)


if __name__ == "__main__":
    main()
