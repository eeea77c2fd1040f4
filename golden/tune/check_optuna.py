"""Optuna opens and continues a study of danlu's, and danlu one of Optuna's, in one store; both directions are checked.

    cargo build -p danlu-tune --example tune_function
    python golden/tune/check_optuna.py sqlite:/tmp/new.db target/debug/examples/tune_function
    python golden/tune/check_optuna.py postgres://me@host:5432/empty_database target/debug/examples/tune_function

The store must be new. Needs optuna 5, and psycopg2 for PostgreSQL. Exits 1 with the first difference.
"""
import math
import subprocess
import sys

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

STEPS = 20
DISTRIBUTIONS = {"x": FloatDistribution(0.0, 1.0), "lr": FloatDistribution(1e-4, 1.0, log=True)}


def optuna_url(url):
    if url.startswith("sqlite:"):
        return "sqlite:///" + url.removeprefix("sqlite:")
    return "postgresql+psycopg2://" + url.split("://", 1)[1]


def check(fact, text):
    if not fact:
        sys.exit(f"failed: {text}")
    print(f"ok: {text}")


def danlu(binary, url, name):
    subprocess.run([binary, url, name], check=True, stdout=subprocess.DEVNULL)


def objective(trial):
    x, lr = trial.suggest_float("x", 0, 1), trial.suggest_float("lr", 1e-4, 1.0, log=True)
    end = (x - 0.3) ** 2 + (math.log10(lr) + 2) ** 2
    for step in range(1, STEPS + 1):
        trial.report(end + 1 / step, step)
    return end + 1 / STEPS


def count(study, *states):
    return len(study.get_trials(states=states))


def main():
    url, binary = sys.argv[1:]
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    # danlu begins, Optuna goes on, danlu goes on.
    danlu(binary, url, "by-danlu")
    study = optuna.load_study(study_name="by-danlu", storage=optuna_url(url))
    before = study.trials
    check(study.direction == optuna.study.StudyDirection.MINIMIZE, "Optuna reads danlu's direction")
    check([t.number for t in before] == list(range(len(before))), f"{len(before)} trials, numbered without a gap")
    check(all(t.distributions == DISTRIBUTIONS for t in before), "Optuna reads danlu's distributions as its own")
    check(all(0 <= t.params["x"] <= 1 and 1e-4 <= t.params["lr"] <= 1 for t in before), "and its values")
    check(study.best_value < 1.0, f"best value {study.best_value:.4f}, with {count(study, TrialState.COMPLETE)} complete trials")
    complete = [t for t in before if t.state == TrialState.COMPLETE]
    check(all(sorted(t.intermediate_values) == list(range(1, STEPS + 1)) for t in complete), "every step of a complete trial is there")
    check(all(t.duration.total_seconds() >= 0 for t in complete), "times are readable")
    study.enqueue_trial({"x": 0.3, "lr": 0.01})
    study.optimize(objective, n_trials=6)
    check(len(study.trials) == len(before) + 6, "Optuna adds six trials, the first enqueued")
    check(abs(study.best_value - 1 / STEPS) < 1e-9, "the enqueued one is the best")
    study.enqueue_trial({"x": 0.31, "lr": 0.01})
    waiting = len(study.trials) - 1
    danlu(binary, url, "by-danlu")
    study = optuna.load_study(study_name="by-danlu", storage=optuna_url(url))
    again = study.trials
    check(all(again[t.number] == t for t in before if t.state.is_finished()), "danlu changes no finished trial")
    check(again[waiting].params == {"x": 0.31, "lr": 0.01}, "danlu runs what Optuna enqueued, with its values")

    # Optuna begins, danlu goes on, Optuna goes on.
    study = optuna.create_study(study_name="by-optuna", storage=optuna_url(url), sampler=optuna.samplers.TPESampler(seed=1))
    study.optimize(objective, n_trials=5)
    pruned = study.ask(DISTRIBUTIONS)
    pruned.report(math.nan, 1)
    study.tell(pruned, state=TrialState.PRUNED)
    failed = study.ask(DISTRIBUTIONS)
    study.tell(failed, state=TrialState.FAIL)
    study.enqueue_trial({"x": 0.3})
    before = study.trials
    danlu(binary, url, "by-optuna")
    study = optuna.load_study(study_name="by-optuna", storage=optuna_url(url))
    after = study.trials
    check(len(after) > len(before), f"danlu goes on with Optuna's study: {len(before)} trials, then {len(after)}")
    # In words, since one of them reported what is not a number.
    check(all(repr(after[t.number]) == repr(t) for t in before if t.state.is_finished()), "and changes no finished trial")
    enqueued = after[7]
    check(enqueued.params["x"] == 0.3 and set(enqueued.params) == {"x", "lr"}, "what Optuna had enqueued is completed by danlu's draw")
    check(enqueued.state in (TrialState.COMPLETE, TrialState.RUNNING), f"and was run: {enqueued.state.name}")
    study.optimize(objective, n_trials=3)
    check(count(study, TrialState.WAITING) == 0, "nothing waits, and a trial that danlu paused is not taken by Optuna")
    optuna.delete_study(study_name="by-optuna", storage=optuna_url(url))
    check(optuna.get_all_study_names(optuna_url(url)) == ["by-danlu"], "Optuna deletes a study that danlu worked on")


if __name__ == "__main__":
    main()
