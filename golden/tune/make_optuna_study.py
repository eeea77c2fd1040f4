"""Makes crates/danlu-tune/tests/golden/optuna.db: a small study as Optuna writes it, of every kind of trial that it knows.

    python golden/tune/make_optuna_study.py

The space is that of the test (`x` float, `lr` log float, `n` int, `kind` choice). Pages of 512 bytes keep the file small.
"""
import math
import sqlite3
from pathlib import Path

import optuna

PATH = Path(__file__).resolve().parents[2] / "crates/danlu-tune/tests/golden/optuna.db"
DISTRIBUTIONS = {
    "x": optuna.distributions.FloatDistribution(0.0, 1.0),
    "lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True),
    "n": optuna.distributions.IntDistribution(16, 128, step=16),
    "kind": optuna.distributions.CategoricalDistribution(["sgd", "adamw"]),
}


def main():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.unlink(missing_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{PATH}")
    study = optuna.create_study(study_name="from-optuna", direction="maximize", storage=storage)
    params = {"x": 0.25, "lr": 0.01, "n": 48, "kind": "adamw"}
    state = optuna.trial.TrialState
    add = lambda **kw: study.add_trial(optuna.trial.create_trial(params=params, distributions=DISTRIBUTIONS, **kw))
    add(state=state.COMPLETE, value=0.875, intermediate_values={1: 0.5, 2: 0.75, 3: 0.875})
    add(state=state.PRUNED, value=0.5, intermediate_values={1: 0.5, 2: math.nan, 3: math.inf})
    add(state=state.FAIL)
    add(state=state.COMPLETE, value=math.inf)
    study.enqueue_trial({"x": 0.5, "kind": "sgd"})
    study.ask()  # the enqueued one: it runs, in another tool, and has its values not yet
    study.enqueue_trial({"x": 0.75, "n": 64})
    storage.engine.dispose()
    connection = sqlite3.connect(PATH)
    connection.executescript("PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM;")
    connection.close()
    print(f"{PATH} ({PATH.stat().st_size} bytes) by optuna {optuna.__version__}")


if __name__ == "__main__":
    main()
