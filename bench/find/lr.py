#!/usr/bin/env python3
"""How near `danlu find lr` comes to the best of a grid of nine learning rates.

    python3 bench/find/lr.py run --danlu target/release/danlu --data fashion-mnist/
    python3 bench/find/lr.py table

Three networks times three optimizers, each trained for three epochs on a stratified tenth of Fashion-MNIST with each of the
nine rates (a factor of the square root of 10 apart) and every seed; the best rate is the one with the lowest mean loss on
the validation images. `danlu find lr` is asked once for each pair, with seed 0, and knows nothing of the grid. The mean of the
seeds is also taken at the rate that it chose: how much is lost by it matters more than how far it is away.

`run` appends every result to `lr.jsonl` as soon as it is there and leaves out what is there already: it can be stopped and
started again at any time. Only Python's standard library is needed.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "lr.jsonl"
SEEDS = [0, 1, 2]

COMMON = """
train.epochs = 3
train.batch_size = 64
data.limit = 0.1
data.image_size = 28
augment.horizontal_flip.p = 0.5
augment.random_crop = "none"
schedule = { name = "OneCycleLR", unit = "iteration", pct_start = 0.3 }
loss.label_smoothing = 0.0
"""
NETWORKS = {
    "small": 'network = { name = "small", width = 16, stride = 2 }',
    "resnet18 of 8 channels": 'network = { name = "resnet18", stem = "cifar", width = 8 }',
    "plain, no batch norm": 'network = { name = "blocks", blocks = ["conv 16", "conv 16 s2", "conv 32", "conv 32 s2", "conv 64"] }',
}
HALF = math.sqrt(10.0)


def grid(lowest):
    return [float(f"{lowest * HALF**i:.2e}") for i in range(9)]


# name -> (recipe, the nine rates)
OPTIMIZERS = {
    "sgd": ('optimizer = { name = "sgd", momentum = 0.9, nesterov = true, weight_decay = 5e-4, lr = LR }', grid(1e-3)),
    "adamw": ('optimizer = { name = "adamw", weight_decay = 0.05, lr = LR }', grid(1e-5)),
    "rmsprop": ('optimizer = { name = "rmsprop", lr = LR }', grid(1e-5)),
}


def recipe(network, optimizer, lr):
    return COMMON + NETWORKS[network] + "\n" + OPTIMIZERS[optimizer][0].replace("LR", f"{lr:g}") + "\n"


def results():
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text().splitlines() if line.strip()]


def keep(line):
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def wait(path):
    """Lets somebody who measures have the machine."""
    while path and os.path.exists(path):
        time.sleep(5)


def train(arguments, folder, network, optimizer, lr, seed):
    """Loss and accuracy on the validation images after the last epoch; none where it diverged."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    (folder / "recipe.toml").write_text(recipe(network, optimizer, lr))
    command = [arguments.danlu, "train", arguments.data, "--recipe", str(folder / "recipe.toml"), "--seed", str(seed)]
    command += ["--runs", str(folder), "--name", "run", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        last = (run / "metrics.csv").read_text().splitlines()[-1].split(",")
        return float(last[4]), float(last[5])
    if done.returncode == 1 and (run / "events.jsonl").exists():
        return None, None
    sys.exit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr}")


def find(arguments, folder, network, optimizer):
    """What `danlu find lr` says; the rate in the recipe is the usual start, which it does not look at."""
    (folder / "recipe.toml").write_text(recipe(network, optimizer, 0.001))
    command = [arguments.danlu, "find", "lr", arguments.data, "--recipe", str(folder / "recipe.toml"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr}")
    found = json.loads(done.stdout)
    return {key: found[key] for key in ("lr", "seconds", "uncertainty", "suggestions", "trials")}


def run(arguments):
    done = {(r["network"], r["optimizer"], r["lr"], r["seed"]) for r in results() if r["what"] == "training"}
    found = {(r["network"], r["optimizer"]): r["lr"] for r in results() if r["what"] == "found"}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def trained(network, optimizer, lr, seed):
            if (network, optimizer, lr, seed) in done:
                return
            wait(arguments.wait_for)
            begun = time.time()
            loss, top1 = train(arguments, folder, network, optimizer, lr, seed)
            line = {"what": "training", "network": network, "optimizer": optimizer, "lr": lr, "seed": seed}
            keep({**line, "loss": loss, "top1": top1, "seconds": round(time.time() - begun, 1)})
            print(f"{network}, {optimizer}, {lr:g}, seed {seed}: {loss} {top1}", flush=True)

        # A whole grid with the first seed, then again with the next: stopped early, it is a grid of fewer seeds.
        pairs = [(network, optimizer) for network in NETWORKS for optimizer in OPTIMIZERS]
        for seed in SEEDS[: arguments.seeds]:
            for network, optimizer in pairs:
                for lr in OPTIMIZERS[optimizer][1]:
                    trained(network, optimizer, lr, seed)
            for network, optimizer in pairs:
                if (network, optimizer) not in found:
                    wait(arguments.wait_for)
                    seen = find(arguments, folder, network, optimizer)
                    found[network, optimizer] = seen["lr"]
                    keep({"what": "found", "network": network, "optimizer": optimizer, **seen})
                    print(f"{network}, {optimizer}: found {seen['lr']:g}", flush=True)
                trained(network, optimizer, found[network, optimizer], seed)


def mean(values):
    """The mean; a training that diverged is worse than any."""
    return math.inf if not values or None in values else sum(values) / len(values)


def table(_):
    lines = results()
    found = {(r["network"], r["optimizer"]): r for r in lines if r["what"] == "found"}
    print("| network | optimizer | best of the grid | found | factor | loss, best / found | top-1 %, best / found | seconds |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    within = 0
    for (network, optimizer), seen in found.items():
        def means(key, lr):
            return mean([r[key] for r in lines if (r["network"], r["optimizer"], r.get("lr")) == (network, optimizer, lr) and r["what"] == "training"])

        best = min(OPTIMIZERS[optimizer][1], key=lambda lr: means("loss", lr))
        factor = max(seen["lr"] / best, best / seen["lr"])
        within += factor <= 2.0
        losses = f"{means('loss', best):.3f} / {means('loss', seen['lr']):.3f}"
        tops = f"{100 * means('top1', best):.1f} / {100 * means('top1', seen['lr']):.1f}"
        print(f"| {network} | {optimizer} | {best:g} | {seen['lr']:g} | {factor:.1f} | {losses} | {tops} | {seen['seconds']:.0f} |")
    spent = sum(r["seconds"] for r in lines)
    print(f"\n{within} of {len(found)} within a factor of 2; {len(lines)} trainings and searches in {spent / 60:.0f} minutes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    runs = commands.add_parser("run")
    runs.add_argument("--danlu", default="target/release/danlu")
    runs.add_argument("--data", required=True)
    runs.add_argument("--seeds", type=int, default=len(SEEDS))
    runs.add_argument("--wait-for", metavar="FILE", help="pause before each training while this file exists")
    runs.set_defaults(do=run)
    commands.add_parser("table").set_defaults(do=table)
    arguments = parser.parse_args()
    arguments.do(arguments)


main()
