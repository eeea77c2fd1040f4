#!/usr/bin/env python3
"""The experiments of the guide (docs/guide), on a stratified tenth of Fashion-MNIST with three seeds.

    python3 bench/guide/experiments.py run --danlu target/release/danlu --data fashion-mnist/ --runs guide-runs
    python3 bench/guide/experiments.py tables

`run` trains every setting of `settings.py` that `results.jsonl` does not have yet and appends one line for each training:
it can be stopped and started again at any time. `tables` writes the mean and the standard deviation over the seeds into the
chapters, between the lines `<!-- experiment NAME -->` and `<!-- end -->`. Only Python's standard library is needed. The
results do not depend on the number of threads; on another instruction set the last digits differ.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import rotated  # noqa: E402
from settings import EXPERIMENTS, SEEDS  # noqa: E402
from tables import write_tables  # noqa: E402

RESULTS = HERE / "results.jsonl"
BASE = HERE / "base.toml"


def results():
    """Every training that is on record, by (experiment, setting, seed)."""
    if not RESULTS.exists():
        return {}
    lines = [json.loads(line) for line in RESULTS.read_text().splitlines() if line.strip()]
    return {(line["experiment"], line["setting"], line["seed"]): line for line in lines}


def keep(line):
    """One training, written and synced before the next one begins."""
    with RESULTS.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def train(danlu, data, runs, name, seed, arguments):
    """One run of `danlu train`; its folder, and whether it went to its end."""
    folder = runs / name
    if folder.exists():
        shutil.rmtree(folder)
    command = [danlu, "train", str(data), "--recipe", str(BASE), "--seed", str(seed)]
    command += [*arguments, "--runs", str(runs), "--name", name, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1) or not (folder / "metrics.csv").exists():
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr}")
    return folder, done.returncode == 0


def read_run(folder):
    """What a run's `metrics.csv` and `events.jsonl` say of it."""
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    found = {"epochs": len(rows)}
    if rows:
        best = max(rows, key=lambda row: (float(row["val_top1"]), int(row["epoch"])))
        last = rows[-1]
        found["best_top1"] = float(best["val_top1"])
        found["last_top1"] = float(last["val_top1"])
        found["last_loss"] = finite(last["val_loss"])
        found["train_top1"] = finite(last["train_top1"])
        found["train_loss"] = finite(last["train_loss"])
        found["first_top1"] = float(rows[0]["val_top1"])
    for line in (folder / "events.jsonl").open():
        event = json.loads(line)
        if event["event"] == "optimizer_switch":
            found["switch"] = {key: event[key] for key in ("iteration", "lr") if key in event}
    return found


def finite(text):
    """JSON has no NaN; a column is empty where it means nothing, as training accuracy under MixUp."""
    value = float(text or "nan")
    return value if math.isfinite(value) else None


BASE_ARGUMENTS = {"--lr 0.1", "--batch-size 128", "--image-size 28", "--optimizer sgd", "--schedule OneCycleLR"}


def essence(stages, seed):
    """What tells one training from another: several experiments contain the base itself."""
    def words(stage):
        pairs = [" ".join(stage[i : i + 2]) for i in range(0, len(stage), 2)]
        return tuple(sorted(set(pairs) - BASE_ARGUMENTS))

    return tuple(words(stage) for stage in stages), seed


def run_setting(args, experiment, setting, seed):
    """Trains one setting with one seed, in as many stages as it has, and keeps what came of it."""
    name = f"{experiment.name}-{setting.slug}-{seed}"
    folder = None
    for number, stage in enumerate(setting.stages):
        arguments = list(stage)
        if folder is not None:
            arguments += ["--weights", str(folder)]
        stage_name = name if number + 1 == len(setting.stages) else f"{name}-stage{number}"
        folder, finished = train(args.danlu, args.data, args.runs, stage_name, seed, arguments)
    line = {"experiment": experiment.name, "setting": setting.name, "seed": seed, "finished": finished}
    line |= read_run(folder)
    if experiment.rotated:
        line["rotated"] = rotated.accuracies(args.danlu, folder, args.data, args.runs / "rotated")
    line["arguments"] = [" ".join(stage) for stage in setting.stages]
    keep(line)
    if seed != SEEDS[0]:
        shutil.rmtree(folder)
    return line


def known(found):
    """The trainings on record by what they are."""
    settings = {(e.name, s.name): s for e in EXPERIMENTS for s in e.settings}
    out = {}
    for (experiment, name, seed), line in found.items():
        setting = settings.get((experiment, name))
        if setting and "rotated" not in line:
            out[essence(setting.stages, seed)] = line
    return out


def missing(found, only):
    """The next training that is not on record: every setting with the first seed, then with the second, and so on."""
    for seed in SEEDS:
        for experiment in EXPERIMENTS:
            if only and experiment.name not in only:
                continue
            for setting in experiment.settings:
                if (experiment.name, setting.name, seed) not in found:
                    return experiment, setting, seed
    return None


def run(args):
    args.runs.mkdir(parents=True, exist_ok=True)
    while True:
        found = results()
        todo = missing(found, args.only)
        if todo is None:
            break
        while args.wait_for and pathlib.Path(args.wait_for).exists():
            time.sleep(5)
        experiment, setting, seed = todo
        same = None if experiment.rotated else known(found).get(essence(setting.stages, seed))
        if same:
            line = same | {"experiment": experiment.name, "setting": setting.name}
            keep(line)
        else:
            line = run_setting(args, *todo)
        top1 = line.get("best_top1", float("nan"))
        print(f"{time.strftime('%H:%M:%S')} {experiment.name}: {setting.name}, seed {seed}: {top1:.4f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    runner = verbs.add_parser("run", help="train what is not on record yet")
    runner.add_argument("--danlu", default="danlu", help="the binary")
    runner.add_argument("--data", type=pathlib.Path, required=True, help="the folder of Fashion-MNIST's four IDX files")
    runner.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("guide-runs"), help="where the runs go")
    runner.add_argument("--only", nargs="*", help="names of experiments")
    runner.add_argument("--wait-for", help="pause while this file exists, so that others can measure")
    verbs.add_parser("tables", help="write the tables into the chapters")
    verbs.add_parser("list", help="the experiments, and how many trainings each has")
    args = parser.parse_args()
    if args.verb == "run":
        run(args)
    elif args.verb == "tables":
        write_tables(HERE.parents[1] / "docs" / "guide", list(results().values()))
    else:
        for experiment in EXPERIMENTS:
            print(f"{experiment.name}: {len(experiment.settings)} settings, {len(SEEDS)} seeds")
if __name__ == "__main__":
    main()
