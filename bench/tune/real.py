"""Real networks: `danlu tune` against Optuna driving the same objective, on a tenth of Fashion-MNIST within a fixed wall clock.

    python bench/tune/real.py --danlu target/release/danlu [--data /usr/share/datasets/fashion-mnist] [--seconds 120] [--seeds 5] [--log real.jsonl]

Both sides search the same space (learning rate, momentum, weight decay, batch size, width, dropout, label smoothing; no advice) over trainings of
10 epochs on all cores, one at a time, for the same number of seconds. Optuna has its defaults (TPE, median pruner), starts
`danlu train` with the recipe that a trial of `danlu tune` has, and prunes by the epochs that the run folder's events tell. What counts is the test
accuracy of the best trial's kept weights (`danlu test`, after the search: neither side sees it) and its validation accuracy. The sides take
turns in going first. A line of JSON for each finished run goes to the log; what stands there is not run again. Where the file --wait-for exists,
the next run waits until it is gone. Needs optuna and scipy.
"""
import argparse, json, os, shutil, signal, subprocess, sys, tempfile, time
from pathlib import Path

EPOCHS = 10
SPACE = f"""
data = {{ limit = 0.1 }}
network = {{ name = "small", stride = 2, width = {{ int = [8, 48], step = 8 }}, dropout = {{ float = [0.0, 0.5] }} }}
train = {{ epochs = {EPOCHS}, batch_size = {{ choice = [32, 64, 128, 256] }} }}
loss = {{ label_smoothing = {{ float = [0.0, 0.2] }} }}
[optimizer]
name = "sgd"
lr = {{ log = [1e-3, 1.0] }}
momentum = {{ float = [0.0, 0.98] }}
weight_decay = {{ log = [1e-6, 1e-2] }}
"""


def suggest(trial):
    """The same space for Optuna."""
    return {
        "network.width": trial.suggest_int("network.width", 8, 48, step=8),
        "network.dropout": trial.suggest_float("network.dropout", 0.0, 0.5),
        "train.batch_size": trial.suggest_categorical("train.batch_size", [32, 64, 128, 256]),
        "loss.label_smoothing": trial.suggest_float("loss.label_smoothing", 0.0, 0.2),
        "optimizer.lr": trial.suggest_float("optimizer.lr", 1e-3, 1.0, log=True),
        "optimizer.momentum": trial.suggest_float("optimizer.momentum", 0.0, 0.98),
        "optimizer.weight_decay": trial.suggest_float("optimizer.weight_decay", 1e-6, 1e-2, log=True),
    }


def tested(a, folder, run):
    """Accuracy of the weights that a run kept on all 10,000 test images, and not only on the tenth that the space names."""
    env = {**os.environ, "DANLU_HOME": str(folder / "home")}
    whole = folder / "fashion-mnist-test"  # the name tells danlu the names of the classes
    whole.mkdir()
    for file in Path(a.data).glob("t10k*"):
        shutil.copy(file, whole)
    command = [a.danlu, "test", str(run), str(whole), "--json"]
    out = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout
    metrics = json.loads(out)["metrics"]
    assert metrics["samples"] == 10_000, metrics["samples"]
    return metrics["top1"]


def epochs(run):
    """(epoch, validation accuracy) of a run so far."""
    path = run / "events.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        if '"event":"epoch"' in line:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:  # a line that is being written
                break
            rows.append((event["epoch"], event["val"]["top1"]))
    return rows


def by_danlu(a, folder, seed):
    command = [a.danlu, "tune", "space.toml", a.data, "--budget", f"{a.seconds}s", "--workers", "1", "--seed", str(seed), "--json", "--quiet"]
    if a.policy:
        command += ["--policy", a.policy]
    out = json.loads(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout)
    return out["best"]["value"], folder / out["best"]["run"], out["trials"], out["epochs"]


def by_optuna(a, folder, seed, base):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    deadline = time.monotonic() + a.seconds
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed), pruner=optuna.pruners.MedianPruner())
    best = (-1.0, None)
    spent = 0
    while time.monotonic() < deadline:
        trial = study.ask()
        name = f"trial-{trial.number}"
        command = [a.danlu, "train", a.data, "--recipe", str(base), "--name", name, "--quiet"]
        for key, value in suggest(trial).items():
            command += ["--set", f"{key}={value}"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        run, seen, pruned = folder / "runs" / name, 0, False
        while True:
            ended = process.poll() is not None
            rows = epochs(run)
            for epoch, value in rows[seen:]:
                trial.report(value, epoch)
                best = max(best, (value, str(run)))
            spent += len(rows) - seen
            if len(rows) > seen and len(rows) < EPOCHS and trial.should_prune():
                pruned = True
            seen = len(rows)
            if ended:
                break
            if pruned or time.monotonic() >= deadline:
                process.send_signal(signal.SIGINT)
                process.wait()
                break
            time.sleep(0.02)
        if seen == EPOCHS:
            study.tell(trial, max(value for _, value in rows))
        elif pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif time.monotonic() < deadline:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return best[0], Path(best[1]), len(study.trials), spent


def base_recipe(a):
    """The whole recipe of a trial of `danlu tune`, which Optuna's trials start from."""
    folder = Path(tempfile.mkdtemp(prefix="danlu-real-"))
    (folder / "space.toml").write_text(SPACE)
    command = [a.danlu, "tune", "space.toml", a.data, "--budget", "1s", "--workers", "1", "--quiet"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return folder / "runs" / "space" / "trial-0" / "recipe.toml"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--danlu", default="target/release/danlu")
    p.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
    p.add_argument("--seconds", type=int, default=120)
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--log", default=str(Path(__file__).with_name("real.jsonl")))
    p.add_argument("--wait-for", default="", help="a file; while it exists no run starts")
    p.add_argument("--policy", default="", help="of danlu; its default without")
    a = p.parse_args()
    a.danlu = str(Path(a.danlu).resolve())
    log = Path(a.log)
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["side"], row["seed"]): row for row in rows if row["seconds"] == a.seconds}
    base = None
    for seed in range(a.seeds):
        for side in ("danlu", "optuna") if seed % 2 == 0 else ("optuna", "danlu"):
            if (side, seed) in done:
                continue
            while a.wait_for and os.path.exists(a.wait_for):
                time.sleep(5)
            base = base or base_recipe(a)
            folder = Path(tempfile.mkdtemp(prefix="danlu-real-"))
            (folder / "space.toml").write_text(SPACE)
            load = os.getloadavg()[0]
            val, run, trials, spent = by_danlu(a, folder, seed) if side == "danlu" else by_optuna(a, folder, seed, base)
            row = dict(side=side, seed=seed, seconds=a.seconds, val=val, test=tested(a, folder, run), trials=trials, epochs=spent, load=load)
            done[side, seed] = row
            with log.open("a") as out:
                print(json.dumps(row), file=out)
            print(json.dumps(row), flush=True)
            shutil.rmtree(folder)
    from scipy.stats import ttest_rel, wilcoxon

    for what in ("test", "val"):
        one, other = ([done[side, seed][what] for seed in range(a.seeds)] for side in ("danlu", "optuna"))
        mean = lambda v: 100 * sum(v) / len(v)
        print(
            f"{what}: danlu {mean(one):.2f} %, optuna {mean(other):.2f} %, difference {mean(one) - mean(other):+.2f}; "
            f"paired t p = {ttest_rel(one, other).pvalue:.3f}, Wilcoxon p = {wilcoxon(one, other).pvalue:.3f} ({a.seeds} seeds, {a.seconds} s a side)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
