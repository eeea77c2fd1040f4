"""The settings of every experiment: what each changes of `base.toml`."""

import re
from dataclasses import dataclass, field

SEEDS = [0, 1, 2]


@dataclass
class Setting:
    """One row of a table: its name and the arguments of `danlu train` (of each stage, where one training follows another)."""

    name: str
    stages: list

    @property
    def slug(self):
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


@dataclass
class Experiment:
    """One table."""

    name: str
    settings: list
    columns: list = field(default_factory=lambda: ["best"])
    first: str = "setting"
    rotated: bool = False
    ranked: str = ""  # the column by which the rows are sorted; in the order of the settings otherwise


def row(name, *arguments):
    """A setting of one training; an argument `a=b` is short for `--set a=b`."""
    return stages(name, arguments)


def stages(name, *each):
    expanded = []
    for arguments in each:
        out = []
        for a in arguments:
            out += ["--set", a] if "=" in a and not a.startswith("--") else a.split(" ")
        expanded.append(out)
    return Setting(name, expanded)


LR = [0.001, 0.01, 0.1, 1, 10]
learning_rate = Experiment(
    "learning-rate",
    [row(f"OneCycleLR, {lr:g}", f"--lr {lr}") for lr in LR]
    + [row(f"constant, {lr:g}", f"--lr {lr}", "--schedule constant") for lr in LR],
    columns=["best", "last", "train_loss"],
    first="schedule and rate",
)

BATCH = [16, 64, 128, 256, 1024]
batch_size = Experiment(
    "batch-size",
    [row(f"{b}, lr 0.1", f"--batch-size {b}") for b in BATCH]
    + [
        row(f"{b}, lr {0.1 * b / 128:g}", f"--batch-size {b}", f"--lr {0.1 * b / 128}")
        for b in BATCH
        if b != 128
    ],
    columns=["updates", "best", "train_loss"],
    first="batch size and rate",
)

schedules = Experiment(
    "schedules",
    [
        row("constant", "--schedule constant"),
        row("StepLR (every 2 epochs, gamma 0.2)", "--schedule StepLR", "schedule.step_size=2", "schedule.gamma=0.2", 'schedule.unit="epoch"'),
        row("MultiStepLR (at 3 and 5, gamma 0.1)", "--schedule MultiStepLR", "schedule.milestones=[3, 5]", "schedule.gamma=0.1", 'schedule.unit="epoch"'),
        row("ExponentialLR (gamma 0.5 an epoch)", "--schedule ExponentialLR", "schedule.gamma=0.5", 'schedule.unit="epoch"'),
        row("LinearLR (to 1 %)", "--schedule LinearLR", "schedule.start_factor=1.0", "schedule.end_factor=0.01", "schedule.total_iters=228"),
        row("CosineAnnealingLR", "--schedule CosineAnnealingLR"),
        row("CosineAnnealingLR, warm-up of 1 epoch", "--schedule CosineAnnealingLR", "schedule.warmup={length=1}"),
        row("CosineAnnealingWarmRestarts (T_0 = 2 epochs)", "--schedule CosineAnnealingWarmRestarts", "schedule.T_0=76"),
        row("CyclicLR (two triangles from 0.01)", "--schedule CyclicLR", "schedule.base_lr=0.01", "schedule.max_lr=0.1", "schedule.step_size_up=57"),
        row("ReduceLROnPlateau (patience 0)", "--schedule ReduceLROnPlateau", "schedule.patience=0", 'schedule.unit="epoch"'),
        row("OneCycleLR"),
    ],
    columns=["best", "last", "train_loss"],
    first="schedule, lr 0.1",
)

# A usual rate of each for a batch of 128 and a short training; none was tuned, SGD's least of all.
RATES = {
    "sgd": (0.1, []),
    "sgd without momentum": (0.5, ["optimizer.momentum=0", "optimizer.nesterov=false"]),
    "adam": (0.003, []),
    "adamw": (0.003, []),
    "adagrad": (0.03, []),
    "adadelta": (1, []),
    "rmsprop": (0.001, []),
    "nadam": (0.003, []),
    "radam": (0.003, []),
    "adamax": (0.005, []),
    "asgd": (0.5, []),
    "rprop": (0.001, ["optimizer.step_sizes=[1e-6, 0.1]"]),
    "lars": (10, ["optimizer.momentum=0.9", "optimizer.weight_decay=5e-4"]),
    "lamb": (0.01, []),
    "lion": (0.0005, []),
    "muon": (0.02, []),
    "schedule_free_sgd": (1, ["--schedule constant"]),
    "schedule_free_adamw": (0.005, ["--schedule constant"]),
}
optimizers = Experiment(
    "optimizers",
    [
        row(f"{name}, {lr:g}", f"--optimizer {name.split()[0]}", f"--lr {lr}", *more)
        for name, (lr, more) in RATES.items()
    ],
    columns=["first", "best", "train_loss"],
    first="optimizer and rate",
    ranked="best",
)

STEP = ["--schedule StepLR", "schedule.step_size=4", "schedule.gamma=0.1", 'schedule.unit="epoch"']
adam_then_sgd = Experiment(
    "adam-then-sgd",
    [
        row("Adam, 0.001", "--optimizer adam", "--lr 0.001", *STEP),
        row("SGD, 0.1", *STEP),
        row("SWATS, 0.001", "--optimizer swats", "--lr 0.001", *STEP),
        stages(
            "Adam, 0.001 for 2 epochs, then SGD, 0.1 for 4",
            ["--optimizer adam", "--lr 0.001", "--schedule constant", "--epochs 2"],
            ["--lr 0.1", "--epochs 4", "--schedule StepLR", "schedule.step_size=2", "schedule.gamma=0.1", 'schedule.unit="epoch"'],
        ),
        stages(
            "Adam, 0.001 for 2 epochs, then SGD, 0.01 for 4",
            ["--optimizer adam", "--lr 0.001", "--schedule constant", "--epochs 2"],
            ["--lr 0.01", "--epochs 4", "--schedule StepLR", "schedule.step_size=2", "schedule.gamma=0.1", 'schedule.unit="epoch"'],
        ),
    ],
    columns=["first", "best", "switch"],
    first="optimizer",
)

INITS = [
    ("kaiming_normal (fan_out, relu)", '{name="kaiming_normal", mode="fan_out", nonlinearity="relu"}'),
    ("pytorch", '{name="pytorch"}'),
    ("xavier_uniform", '{name="xavier_uniform"}'),
    ("orthogonal (gain sqrt 2)", '{name="orthogonal", gain=1.41421356}'),
    ("trunc_normal (std 0.02)", '{name="trunc_normal", std=0.02}'),
    ("normal (std 1)", '{name="normal", std=1.0}'),
    ("dirac", '{name="dirac"}'),
    ("constant (0.1)", '{name="constant", value=0.1}'),
]
PLAIN = 'network={name="blocks", blocks=["conv 16 3x3 s2", "conv 16", "conv 16", "conv 32 3x3 s2", "conv 32", "conv 32", "conv 64 3x3 s2", "conv 64", "conv 64", "gap", "linear"]}'
initialisation = Experiment(
    "initialisation",
    [row("batch norm: default")]
    + [row(f"batch norm: {name}", f"init.weights={table}") for name, table in INITS[-4:] if "dirac" not in name]
    + [row("batch norm: default, zero_last_bn", "init.zero_last_bn=true")]
    + [row(f"no norm: {name}", PLAIN, "--lr 0.03", f"init.weights={table}") for name, table in INITS],
    columns=["first", "best", "train_loss"],
    first="network: initialisation",
)

image_size = Experiment(
    "image-size",
    [row(f"{size} x {size}", f"--image-size {size}") for size in (14, 28, 56)],
    columns=["best", "train_loss"],
    first="image size",
)

AUGMENTS = [
    ("none", []),
    ("horizontal_flip", ["augment.horizontal_flip={p=0.5}"]),
    ("random_crop (padding 2)", ["augment.random_crop={padding=2}"]),
    ("both", ["augment.horizontal_flip={p=0.5}", "augment.random_crop={padding=2}"]),
]
RISKY = [
    ("rotate90", ["augment.rotate90={p=0.75}"]),
    ("random_erasing", ["augment.random_erasing={}"]),
    ("mixup", ["augment.mixup={}"]),
]
augmentation = Experiment(
    "augmentation",
    [row(f"{name}, 6 epochs", *a) for name, a in AUGMENTS + RISKY]
    + [row(f"{name}, 18 epochs", "--epochs 18", *a) for name, a in (AUGMENTS[0], AUGMENTS[3])],
    columns=["best", "train_top1"],
    first="augmentation",
)

CBR = 'network={name="blocks", blocks=["cbr 16 3x3 s2", "cbr 32", "cbr 32", "maxpool 2", "cbr 64", "cbr 64", "gap", "linear"]}'
ACNET = CBR.replace("cbr 16 3x3 s2", "acnet 16 s2").replace("cbr", "acnet")
acnet = Experiment(
    "acnet",
    [
        row("cbr", CBR),
        row("acnet", ACNET),
    ],
    columns=["rotated"],
    first="blocks",
    rotated=True,
)
regularisation = Experiment(
    "regularisation",
    [
        row("base (weight decay 5e-4)"),
        row("weight_decay 0", "--weight-decay 0"),
        row("label_smoothing 0.1", "loss.label_smoothing=0.1"),
        row("bce, 5 times the rate", 'loss={name="bce"}', "--lr 0.5"),
        row("dropout 0.3", "network.dropout=0.3"),
        row("constant rate", "--schedule constant"),
        row("constant rate, ema 0.99", "--schedule constant", "train.ema=0.99"),
        row("constant rate, swa from epoch 4", "--schedule constant", "train.swa={start=0.5, anneal_epochs=1, swa_lr=0.02}"),
    ],
    columns=["best", "train_loss"],
    first="setting",
)

EXPERIMENTS = [
    learning_rate,
    batch_size,
    schedules,
    adam_then_sgd,
    initialisation,
    image_size,
    augmentation,
    optimizers,
    regularisation,
    acnet,
]
