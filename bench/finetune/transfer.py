#!/usr/bin/env python3
"""The ways of fine-tuning against one another: a network that knows six classes of Fashion-MNIST learns the other four from few images.

    python3 bench/finetune/transfer.py --danlu target/release/danlu --data /usr/share/datasets/fashion-mnist [--images 150] [--seeds 3]

A `small` network (width 16, stride 2) is trained for 10 epochs on all training images of the classes 0, 2, 3, 4, 6 and 8. Its weights then start
trainings on `--images` images of each of the classes 1, 5, 7 and 9, 20 epochs each; all else is what the advisor chooses. What counts is the accuracy on
the 4,000 test images of these four classes. Seeds change the split, the order and the new head; the images are the same. Only Python's standard
library is needed.
"""

import argparse
import gzip
import json
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import time

KNOWN, NEW = [0, 2, 3, 4, 6, 8], [1, 5, 7, 9]
SHAPE = ["--set", "network.name=small", "--set", "network.width=16", "--set", "network.stride=2"]
WAYS = {
    "from scratch": [],
    "all layers (a tenth of the rate)": ["--weights", "W"],
    "the head alone (`--freeze backbone`)": ["--weights", "W", "--freeze", "backbone"],
    "head first, then all (`--fine-tune`)": ["--weights", "W", "--fine-tune"],
    "head first, then a quarter more an epoch (`--gradual-unfreeze`)": ["--weights", "W", "--gradual-unfreeze"],
}


def read(data, part):
    """Images (bytes each) and labels of one part of the IDX files."""
    def contents(kind):
        path = data / f"{part}-{kind}-ubyte"
        return path.read_bytes() if path.exists() else gzip.decompress(path.with_name(path.name + ".gz").read_bytes())

    pixels, labels = contents("images-idx3")[16:], contents("labels-idx1")[8:]
    return [pixels[784 * i : 784 * (i + 1)] for i in range(len(labels))], labels


def write(folder, part, rows):
    """A pair of IDX files of (image, label) rows."""
    folder.mkdir(parents=True, exist_ok=True)
    images = struct.pack(">IIII", 0x803, len(rows), 28, 28) + b"".join(image for image, _ in rows)
    labels = struct.pack(">II", 0x801, len(rows)) + bytes(label for _, label in rows)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)


def only(rows, classes, each=None):
    """The rows of these classes, at most `each` of one class, in their order."""
    left = {label: each for label in classes}
    kept = []
    for image, label in zip(*rows):
        if label in left and left[label] != 0:
            kept.append((image, label))
            if each is not None:
                left[label] -= 1
    return kept


def train(arguments, folder, name, data, more):
    """Test accuracy, validation accuracy and seconds of one run."""
    begun = time.time()
    command = [arguments.danlu, "train", str(data), "--runs", str(folder / "runs"), "--name", name, "--quiet", "--final", *SHAPE, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr}")
    run = folder / "runs" / name
    test = json.loads((run / "test.json").read_text())
    result = json.loads((run / "result.json").read_text())
    return test["metrics"]["top1"], result["val"]["top1"], time.time() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--danlu", default="target/release/danlu")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of danlu; 0: all")
    arguments = parser.parse_args()
    threads = ["--set", f"train.threads={arguments.threads}"] if arguments.threads else []
    train_rows, test_rows = read(arguments.data, "train"), read(arguments.data, "t10k")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        known, new = folder / "known", folder / "new"
        for path, classes, each in [(known, KNOWN, None), (new, NEW, arguments.images)]:
            write(path, "train", only(train_rows, classes, each))
            write(path, "t10k", only(test_rows, classes))
        top1, _, seconds = train(arguments, folder, "known", known, ["--set", "train.epochs=10", *threads])
        print(f"the six known classes: test top-1 {100 * top1:.2f} % after 10 epochs ({seconds:.0f} s)\n")
        print("| way | test top-1 %, each seed | mean | seconds |\n| --- | --- | ---: | ---: |")
        for number, (way, more) in enumerate(WAYS.items()):
            more = [str(folder / "runs/known/weights/best.safetensors") if word == "W" else word for word in more]
            rows = [
                train(arguments, folder, f"{number}-{seed}", new, [*more, "--set", "train.epochs=20", "--seed", str(seed), *threads])
                for seed in range(arguments.seeds)
            ]
            tops = ", ".join(f"{100 * row[0]:.2f}" for row in rows)
            mean = 100 * statistics.mean(row[0] for row in rows)
            print(f"| {way} | {tops} | {mean:.2f} | {statistics.median(row[2] for row in rows):.1f} |", flush=True)


main()
