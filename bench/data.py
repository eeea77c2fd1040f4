#!/usr/bin/env python3
"""How fast photos become batches: `danlu bench data` against torchvision's DataLoader, in turn.

Every image: decode a 500 x 375 JPEG, RandomResizedCrop(224), flip, ColorJitter(0.4, 0.4, 0.4), to float, normalise, batches of 64.
  PIL path     ImageFolder's loader and torchvision.transforms (the usual way)
  tensor path  torchvision.io.decode_jpeg and torchvision.transforms.v2 on u8 tensors (the fast way)
  danlu        danlu bench data --normalize, without a cache, and from the cache on disk once it is filled

CPU ms an image are processor seconds of one process without workers (PyTorch on one thread), images/s the wall time of two workers.
The photos are windows of the sample photos of scikit-image and scikit-learn, made into 500 x 375 JPEGs of quality 90, 4:2:0.

    pip install torch torchvision scikit-image scikit-learn
    cargo build --release && python bench/data.py
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import tempfile
import time

JITTER = 0.4
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def photos(folder, count):
    """Writes `count` JPEGs of two classes; of the same count always the same ones."""
    from PIL import Image
    from skimage import data
    from sklearn.datasets import load_sample_images

    arrays = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), *load_sample_images().images]
    sources = [Image.fromarray(array).convert("RGB") for array in arrays]
    draw = random.Random(1)
    sizes = []
    for number in range(count):
        source = sources[number % len(sources)]
        most = min(source.width / 4, source.height / 3)
        unit = most * draw.uniform(0.6, 1.0)
        width, height = int(4 * unit), int(3 * unit)
        left, top = draw.randint(0, source.width - width), draw.randint(0, source.height - height)
        image = source.resize((500, 375), Image.BICUBIC, (left, top, left + width, top + height))
        if draw.random() < 0.5:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        path = folder / "ab"[number % 2] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=90, subsampling="4:2:0")
        sizes.append(path.stat().st_size)
    return statistics.mean(sizes)


def torchvision_loader(path, folder, workers):
    import torch
    import torchvision
    from torchvision import transforms as v1
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    if path == "pil":
        transform = v1.Compose([
            v1.RandomResizedCrop(224), v1.RandomHorizontalFlip(), v1.ColorJitter(JITTER, JITTER, JITTER),
            v1.ToTensor(), v1.Normalize(MEAN, STD),
        ])
        dataset = torchvision.datasets.ImageFolder(folder, transform)
    else:
        transform = v2.Compose([
            v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip(),
            v2.ColorJitter(JITTER, JITTER, JITTER), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD),
        ])
        mode = torchvision.io.ImageReadMode.RGB
        load = lambda path: torchvision.io.decode_jpeg(torchvision.io.read_file(path), mode)
        dataset = torchvision.datasets.ImageFolder(folder, transform, loader=load)
    return torch.utils.data.DataLoader(
        dataset, batch_size=64, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )


def torchvision_worker(path, folder, workers, passes):
    """Runs in a process of its own; prints what it measured."""
    loader = torchvision_loader(path, folder, workers)
    for _ in loader:
        pass  # start of the workers, files into the page cache
    images, wall, cpu = 0, time.perf_counter(), time.process_time()
    for _ in range(passes):
        for x, _ in loader:
            images += len(x)
    print(json.dumps({
        "images_per_second": images / (time.perf_counter() - wall),
        "cpu_ms": 1e3 * (time.process_time() - cpu) / images,
    }))


def torchvision_run(path, folder, workers, passes):
    command = [os.sys.executable, __file__, "--worker", path, "--folder", str(folder)]
    command += ["--workers", str(workers), "--passes", str(passes)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def danlu_run(binary, folder, workers, passes, cache, home, shrink=None):
    command = [
        binary, "bench", "data", str(folder), "--json", "--normalize", "--cache", cache, "--image-size", "224",
        "--batch-size", "64", "--workers", str(workers), "--passes", str(passes + 1),
        "--set", "data.val_fraction=0.0", "--set", "data.test_fraction=0.0",
        "--set", "augment.random_resized_crop.scale=[0.08,1.0]", "--set", "augment.horizontal_flip.p=0.5",
    ]
    if shrink:
        command += ["--set", f"data.shrink={shrink}"]
    for key in ["brightness", "contrast", "saturation"]:
        command += ["--set", f"augment.color_jitter.{key}={JITTER}"]
    environment = {**os.environ, "DANLU_HOME": str(home)}
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    report = json.loads(out)
    # The first pass fills page cache or cache file on either side.
    epochs = report["epochs"][1:]
    images = sum(epoch["images"] for epoch in epochs)
    return {
        "images_per_second": images / sum(epoch["images"] / epoch["images_per_second"] for epoch in epochs),
        "cpu_ms": sum(epoch["cpu_ms_per_image"] * epoch["images"] for epoch in epochs) / images,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--danlu", default="target/release/danlu", help="the binary")
    parser.add_argument("--turbo", help="a second binary, built with the feature `turbo`")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--folder", type=pathlib.Path, help="class folders of your own JPEGs in place of the made ones")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        torchvision_worker(arguments.worker, arguments.folder, arguments.workers, arguments.passes)
        return
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        folder = arguments.folder
        if folder is None:
            folder = temporary / "photos"
            mean = photos(folder, arguments.images)
            print(f"{arguments.images} photos of 500 x 375, {mean / 1024:.0f} KiB each")
        passes = arguments.passes
        sides = {
            "torchvision PIL": lambda workers: torchvision_run("pil", folder, workers, passes),
            "torchvision v2 tensor": lambda workers: torchvision_run("tensor", folder, workers, passes),
            "danlu": lambda w: danlu_run(arguments.danlu, folder, max(w, 1), passes, "off", temporary),
            "danlu, cache": lambda w: danlu_run(arguments.danlu, folder, max(w, 1), 4 * passes, "disk", temporary),
        }
        if arguments.turbo:
            sides["danlu turbo"] = lambda w: danlu_run(arguments.turbo, folder, max(w, 1), passes, "off", temporary)
        results = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, side in sides.items():
                results[name].append({"cpu": side(0)["cpu_ms"], "speed": side(2)["images_per_second"]})
        pil, tensor = results["torchvision PIL"], results["torchvision v2 tensor"]
        print(f"{'':22} {'CPU ms':>8} {'/ PIL':>8} {'/ v2':>8} {'img/s, 2':>9} {'/ PIL':>8} {'/ v2':>8}")
        for name, rounds in results.items():
            cpu = statistics.median(one["cpu"] for one in rounds)
            speed = statistics.median(one["speed"] for one in rounds)
            ratio = lambda other, key: statistics.median(
                (b[key] / a[key]) if key == "cpu" else (a[key] / b[key]) for a, b in zip(rounds, other)
            )
            print(
                f"{name:22} {cpu:8.3f} {ratio(pil, 'cpu'):7.2f}x {ratio(tensor, 'cpu'):7.2f}x"
                f" {speed:9.0f} {ratio(pil, 'speed'):7.2f}x {ratio(tensor, 'speed'):7.2f}x"
            )


if __name__ == "__main__":
    main()
