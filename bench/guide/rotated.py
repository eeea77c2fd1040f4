"""The first 2,000 of Fashion-MNIST's test images turned and mirrored, as IDX folders, and a run's accuracy on each.

Quarter turns and mirrors move pixels; other angles are bilinear around the centre with black outside, as torchvision's `rotate`.
"""

import gzip
import json
import math
import pathlib
import struct
import subprocess
import sys

SIDE = 28
IMAGES = 2000
VIEWS = ["as they are", "15 degrees", "45 degrees", "90 degrees", "180 degrees", "mirrored", "upside down"]


def source(view):
    """For each pixel of the turned image, the pixels of the original that make it and their weights."""
    middle = (SIDE - 1) / 2
    out = []
    for y in range(SIDE):
        for x in range(SIDE):
            if view == "mirrored":
                place = (x * -1 + SIDE - 1, y)
            elif view == "upside down":
                place = (x, SIDE - 1 - y)
            else:
                angle = math.radians(0.0 if view == "as they are" else float(view.split()[0]))
                dx, dy = x - middle, y - middle
                # The inverse of a turn against the clock, y pointing down.
                px = math.cos(angle) * dx - math.sin(angle) * dy + middle
                py = math.sin(angle) * dx + math.cos(angle) * dy + middle
                place = (round(px, 9), round(py, 9))
            left, top = math.floor(place[0]), math.floor(place[1])
            fx, fy = place[0] - left, place[1] - top
            corners = []
            for cx, cy, weight in (
                (left, top, (1 - fx) * (1 - fy)),
                (left + 1, top, fx * (1 - fy)),
                (left, top + 1, (1 - fx) * fy),
                (left + 1, top + 1, fx * fy),
            ):
                if weight > 0 and 0 <= cx < SIDE and 0 <= cy < SIDE:
                    corners.append((cy * SIDE + cx, weight))
            out.append(corners)
    return out


def write_views(data, folder):
    """Writes the views that are not there yet; `{view: folder}`."""
    packed = gzip.decompress((data / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((data / "t10k-labels-idx1-ubyte.gz").read_bytes())
    pixels = packed[16 : 16 + IMAGES * SIDE * SIDE]
    header = struct.pack(">IIII", 0x803, IMAGES, SIDE, SIDE)
    labels = struct.pack(">II", 0x801, IMAGES) + labels[8 : 8 + IMAGES]
    folders = {}
    for view in VIEWS:
        # Its name tells danlu that the classes are those of Fashion-MNIST.
        target = folder / view.replace(" ", "-") / "fashion-mnist"
        folders[view] = target
        if (target / "t10k-labels-idx1-ubyte").exists():
            continue
        target.mkdir(parents=True, exist_ok=True)
        table = source(view)
        turned = bytearray(len(pixels))
        for i in range(IMAGES):
            start = i * SIDE * SIDE
            image = pixels[start : start + SIDE * SIDE]
            turned[start : start + SIDE * SIDE] = bytes(
                min(255, round(sum(image[k] * weight for k, weight in corners))) for corners in table
            )
        (target / "t10k-images-idx3-ubyte").write_bytes(header + bytes(turned))
        (target / "t10k-labels-idx1-ubyte").write_bytes(labels)
    return folders


def accuracies(danlu, run, data, folder):
    """`{view: accuracy}` of a run's best weights, by `danlu val RUN FOLDER`."""
    found = {}
    for view, images in write_views(pathlib.Path(data), pathlib.Path(folder)).items():
        done = subprocess.run([danlu, "val", str(run), str(images), "--json"], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"danlu val {run} {images}: {done.stderr}")
        found[view] = json.loads(done.stdout)["metrics"]["top1"]
    return found
