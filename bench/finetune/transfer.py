#!/usr/bin/env python3
"""The ways of fine-tuning against one another: a network that knows six classes of Fashion-MNIST learns the other four from few images.

    python3 bench/finetune/transfer.py --danlu target/release/danlu --data /usr/share/datasets/fashion-mnist [--images 25 100] [--seeds 3]

A `small` network (width 16, stride 2) is trained for 10 epochs on all training images of six classes (T-shirt, trouser, pullover, sandal, sneaker, bag).
Its weights then start trainings on `--images` images of each of the other four (dress, coat, shirt, ankle boot), 20 epochs each; all else is what the
advisor chooses. What counts is the accuracy on the 4,000 test images of these four classes. Seeds change the split, the order and the new head; the
images are the same. Only Python's standard library is needed.
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

KNOWN, NEW = [0, 1, 2, 5, 7, 8], [3, 4, 6, 9]
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


def write_parts(folder, train_rows, test_rows, classes, each):
    write(folder, "train", only(train_rows, classes, each))
    write(folder, "t10k", only(test_rows, classes))


def train(arguments, folder, name, data, more):
    """Test accuracy and seconds of one run."""
    begun = time.time()
    command = [arguments.danlu, "train", str(data), "--runs", str(folder / "runs"), "--name", name, "--quiet", "--final", *SHAPE, *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr}")
    test = json.loads((folder / "runs" / name / "test.json").read_text())
    return test["top1"], time.time() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--danlu", default="target/release/danlu")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[25, 100])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of danlu; 0: all")
    arguments = parser.parse_args()
    threads = ["--set", f"train.threads={arguments.threads}"] if arguments.threads else []
    train_rows, test_rows = read(arguments.data, "train"), read(arguments.data, "t10k")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        known = folder / "known"
        write_parts(known, train_rows, test_rows, KNOWN, None)
        top1, seconds = train(arguments, folder, "known", known, ["--set", "train.epochs=10", *threads])
        print(f"the six known classes: test top-1 {100 * top1:.2f} % after 10 epochs ({seconds:.0f} s)\n")
        print("| images a class | way | test top-1 %, each seed | mean | seconds |\n| ---: | --- | --- | ---: | ---: |")
        for each in arguments.images:
            new = folder / f"new-{each}"
            write_parts(new, train_rows, test_rows, NEW, each)
            for number, (way, more) in enumerate(WAYS.items()):
                more = [str(folder / "runs/known/weights/best.safetensors") if word == "W" else word for word in more]
                more += ["--set", "train.epochs=20", *threads]
                seeds = range(arguments.seeds)
                rows = [train(arguments, folder, f"{each}-{number}-{seed}", new, [*more, "--seed", str(seed)]) for seed in seeds]
                tops = ", ".join(f"{100 * row[0]:.2f}" for row in rows)
                mean = 100 * statistics.mean(row[0] for row in rows)
                print(f"| {each} | {way} | {tops} | {mean:.2f} | {statistics.median(row[1] for row in rows):.1f} |", flush=True)


main()
