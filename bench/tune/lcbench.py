"""Compares danlu's tuning policies with Optuna's on LCBench learning curves, side by side.

    python bench/tune/lcbench.py --data ../shared/lcbench --seeds 20 [--policies tpe+asha,optuna_default,...]

The curves come from the `lcbench` surrogate of YAHPO Gym (validation balanced accuracy per epoch, 8 tasks). Cost is counted in
full trainings of 52 epochs. Normalised regret = (best of 3000 random configurations - best found so far) / (best - median of those
3000), where the value of a configuration is its best epoch. All policies of one (task, seed) are compared in pairs.
A policy of danlu is `sampler+scheduler[:eta[:first rung]]` or `freeze_thaw`; `@advice` gives the space the defaults of LCBench's
configuration space as advised values, `@misled` the opposite corner (least learning rate and momentum, largest dropout and weight decay).
Needs numpy, onnxruntime, scipy and, for the Optuna rows, optuna. Without the data it says so and exits 0.
"""
import argparse, functools, json, math, os, subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

TASKS = "3945 7593 126026 146212 167168 189862 189906 168908".split()
EPOCHS = 52
BUDGETS = (1, 2, 5, 10, 20)
SPACE = [  # name, kind, low, high, log: in the order of the model's inputs
    ("batch_size", "int", 16, 512, True),
    ("learning_rate", "float", 1e-4, 1e-1, True),
    ("momentum", "float", 0.1, 0.99, False),
    ("weight_decay", "float", 1e-5, 1e-1, False),
    ("num_layers", "int", 1, 5, False),
    ("max_units", "int", 64, 1024, True),
    ("max_dropout", "float", 0.0, 1.0, False),
]
ROOT = Path(__file__).resolve().parents[2]


class Curves:
    """The surrogate; one thread, so that runs side by side do not disturb one another."""

    def __init__(self, data):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(str(Path(data) / "model.onnx"), options)
        self.encoding = json.loads((Path(data) / "encoding.json").read_text())["OpenML_task_id"]

    def __call__(self, task, configs):
        import numpy as np

        x = np.asarray(configs, dtype=np.float64)
        n = len(x)
        epochs = np.tile(np.arange(1, EPOCHS + 1), n)[:, None]
        inputs = np.concatenate([epochs, np.repeat(x, EPOCHS, axis=0)], axis=1).astype(np.float32)
        tasks = np.full((n * EPOCHS, 1), self.encoding[task], np.int32)
        return self.session.run(None, {"x_cat": tasks, "x_cont": inputs})[0][:, 1].reshape(n, EPOCHS)


def reference(curves, task):
    """(best, median) of 3000 random configurations, each at its best epoch."""
    import numpy as np

    rng = np.random.default_rng(1)
    rows = []
    for _ in range(3000):
        row = []
        for _, kind, low, high, log in SPACE:
            pad = 0.5 if kind == "int" else 0.0
            a, b = low - pad, high + pad
            v = math.exp(rng.uniform(math.log(a), math.log(b))) if log else rng.uniform(a, b)
            row.append(min(max(round(v), low), high) if kind == "int" else v)
        rows.append(row)
    best = curves(task, rows).max(axis=1)
    return float(best.max()), float(np.median(best))


# Defaults of LCBench's own configuration space (config_space.json), and advice that could hardly be worse.
ADVICE = {"advice": (91, 3.1622777e-3, 0.545, 0.050005, 3, 256, 0.5), "misled": (512, 1e-4, 0.1, 0.1, 5, 64, 1.0)}


def danlu_space(advice):
    space = []
    for name, kind, low, high, log in SPACE:
        if kind == "int":
            d = {"name": "IntDistribution", "attributes": {"log": log, "step": 1, "low": low, "high": high}}
        else:
            d = {"name": "FloatDistribution", "attributes": {"step": None, "low": low, "high": high, "log": log}}
        space.append({"name": name, "distribution": d})
        if advice:
            space[-1]["advised"] = ADVICE[advice][len(space) - 1]
    return space


def run_danlu(curves, policy, task, seed, budget, binary):
    process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    policy, _, advice = policy.partition("@")
    job = dict(space=danlu_space(advice), max_steps=EPOCHS, budget_steps=budget, seed=seed, policy=policy, direction="maximize")
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    for line in process.stdout:
        answer = json.loads(line)
        if "trace" in answer:
            process.wait()
            return answer["trace"]
        config = [answer["values"][s[0]] for s in SPACE]
        process.stdin.write(json.dumps([float(v) for v in curves(task, [config])[0]]) + "\n")
        process.stdin.flush()
    raise RuntimeError(f"danlu's example ended without a trace (exit {process.wait()})")


def run_optuna(curves, policy, task, seed, budget):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {
        "optuna_default": lambda: optuna.samplers.TPESampler(seed=seed),
        "optuna_tpe_hyperband": lambda: optuna.samplers.TPESampler(seed=seed),
        "optuna_random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "optuna_asha": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    pruners = {
        "optuna_default": lambda: optuna.pruners.MedianPruner(),
        "optuna_tpe_hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3),
        "optuna_random": lambda: optuna.pruners.NopPruner(),
        "optuna_asha": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    }
    study = optuna.create_study(direction="maximize", sampler=samplers[policy](), pruner=pruners[policy]())
    spent, best, trace = 0, -math.inf, []
    while spent < budget:
        trial = study.ask()
        config = []
        for name, kind, low, high, log in SPACE:
            suggest = trial.suggest_int if kind == "int" else trial.suggest_float
            config.append(suggest(name, low, high, log=log))
        values = [float(v) for v in curves(task, [config])[0]]
        state = optuna.trial.TrialState.COMPLETE
        for epoch, value in enumerate(values, 1):
            spent += 1
            trial.report(value, epoch)
            if value > best:
                best = value
                trace.append([spent, value])
            if epoch < EPOCHS and trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
            if spent >= budget:
                break
        study.tell(trial, values[EPOCHS - 1] if state == optuna.trial.TrialState.COMPLETE else None, state=state)
    return trace


@functools.cache
def curves_of(data):
    return Curves(data)


def one(args):
    data, policy, task, seed, budget, binary, best, median = args
    curves = curves_of(data)
    started = time.time()
    if policy.startswith("optuna"):
        trace = run_optuna(curves, policy, task, seed, budget)
    else:
        trace = run_danlu(curves, policy, task, seed, budget, binary)
    row = []
    for full in BUDGETS:
        found = [value for spent, value in trace if spent <= full * EPOCHS]
        row.append((best - max(found)) / (best - median))
    return policy, task, seed, row, time.time() - started


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", default=str(ROOT.parent / "shared" / "lcbench"))
    p.add_argument("--seeds", type=int, default=20)
    p.add_argument("--first-seed", type=int, default=0)
    p.add_argument("--policies", default="tpe+asha,prior+asha@advice,prior+asha@misled,random+asha,tpe+asha:3:1,random+asha:3:1,tpe+hyperband,random+none,freeze_thaw,"
                   "optuna_default,optuna_tpe_hyperband,optuna_asha,optuna_random")
    p.add_argument("--binary", default=None, help="the example `serve_curves`, built with --release")
    p.add_argument("--workers", type=int, default=os.cpu_count())
    p.add_argument("--tasks", default=",".join(TASKS))
    p.add_argument("--by-task", action="store_true")
    p.add_argument("--log", help="a line of JSON for each run; what stands there is not run again, so that a cut run goes on")
    a = p.parse_args()
    if not (Path(a.data) / "model.onnx").exists():
        print(f"skipped: no LCBench surrogate at {a.data} (github: slds-lmu/yahpo_data, folder lcbench)")
        return 0
    import numpy as np
    from scipy.stats import wilcoxon

    binary = a.binary
    if binary is None:
        subprocess.run(["cargo", "build", "--release", "-q", "-p", "danlu-tune", "--example", "serve_curves"], cwd=ROOT, check=True)
        target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
        binary = str(Path(target) / "release" / "examples" / "serve_curves")
    curves = Curves(a.data)
    tasks = a.tasks.split(",")
    scale = {t: reference(curves, t) for t in tasks}
    policies = a.policies.split(",")
    jobs = [
        (a.data, policy, task, seed, max(BUDGETS) * EPOCHS, binary, *scale[task])
        for seed in range(a.first_seed, a.first_seed + a.seeds) for task in tasks for policy in policies
    ]
    result = {policy: {} for policy in policies}
    seconds = dict.fromkeys(policies, 0.0)
    done = {}
    if a.log and Path(a.log).exists():
        for policy, task, seed, row, took in map(json.loads, Path(a.log).read_text().splitlines()):
            done[policy, task, seed] = policy, task, seed, row, took
    log = open(a.log, "a", buffering=1) if a.log else None
    open_jobs = [job for job in jobs if job[1:4] not in done]
    with ProcessPoolExecutor(a.workers) as pool:
        for answer in pool.map(one, open_jobs):
            done[answer[:3]] = answer
            if log:
                print(json.dumps(answer), file=log)
    for policy, task, seed, row, took in (done[job[1:4]] for job in jobs):
        result[policy][task, seed] = row
        seconds[policy] += took
    print(f"mean normalised regret +- standard error, {len(tasks)} tasks x {a.seeds} seeds, by full trainings spent")
    print(f"{'policy':24}" + "".join(f"{b:>16}" for b in BUDGETS) + "   s/run")
    for policy in policies:
        rows = np.array(list(result[policy].values()))
        cells = "".join(f"{m:>9.3f} +-{s:.3f}" for m, s in zip(rows.mean(0), rows.std(0) / math.sqrt(len(rows))))
        print(f"{policy:24}{cells}  {seconds[policy] / len(rows):6.1f}")
        if a.by_task:
            for task in tasks:
                part = np.array([r for (t, _), r in result[policy].items() if t == task])
                print(f"    {task:20}" + "".join(f"{m:>16.3f}" for m in part.mean(0)))
    first = policies[0]
    for policy in policies[1:]:
        keys = list(result[first])
        cells = []
        for i in range(len(BUDGETS)):
            d = np.array([result[first][k][i] - result[policy][k][i] for k in keys])
            p_value = wilcoxon(d).pvalue if np.any(d) else 1.0
            cells.append(f"{d.mean():+.3f} (p={p_value:.1e})")
        print(f"{first} - {policy}: " + "  ".join(cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
