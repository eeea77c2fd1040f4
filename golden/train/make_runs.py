#!/usr/bin/env python3
"""Whole trainings of 30 updates in f64 from given initial weights, for crates/danlu-cli/tests/knobs.rs: every optimizer, the schedules, parameter groups, clipping,
accumulation, label smoothing and class weights. Each case holds danlu's recipe and what PyTorch finds: the loss before each update, and of every weight at the end
the sum and the L2 norm. The network, the images (`pixel`) and the order of the batches are the same in both.

The optimizers that PyTorch lacks are those of ../optim/make_optimizers.py (timm's, the schedule-free formulas, SWATS's algorithm).
"""
import json
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.optim import lr_scheduler as S

warnings.filterwarnings("ignore")
HERE = Path(__file__).parent
OUT = HERE.parents[1] / "crates/danlu-cli/tests/golden"
SIDE, CLASSES, EACH, BATCH, UPDATES = 12, 3, 8, 10, 30

# Only the definitions of that script: it makes its values when it is run.
optimizers = {"__file__": str(HERE.parent / "optim/make_optimizers.py")}
exec((HERE.parent / "optim/make_optimizers.py").read_text().split("def check_schedule_free")[0], optimizers)
torch.set_default_dtype(torch.float64)


def pixel(c, i, y, x):
    """Class 0 is bright above, class 1 on the left, class 2 above the diagonal."""
    bright = (c == 0 and y < 6) or (c == 1 and x < 6) or (c == 2 and x + y < 11)
    return 40 + 60 * bright + (x * 7 + y * 13 + i * 29 + c * 3 + x * y * i) % 97


IMAGES = torch.tensor([[[[pixel(c, i, y, x) for x in range(SIDE)] for y in range(SIDE)]] for c in range(CLASSES) for i in range(EACH)]).double()
IMAGES = (IMAGES / 255 - 0.5) / 0.25
LABELS = torch.tensor([c for c in range(CLASSES) for _ in range(EACH)])


def cbr(i, o, stride):
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())


def network():
    return nn.ModuleDict({"blocks": nn.Sequential(cbr(1, 6, 1), nn.MaxPool2d(2), cbr(6, 8, 2), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(8, CLASSES))})


torch.manual_seed(11)
START = {name: tensor.float() for name, tensor in network().state_dict().items() if "num_batches" not in name}


def toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(v)}" for key, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def schedule_of(optimizer, config, epochs, per_epoch):
    o = {k: v for k, v in config.items() if k not in ("name", "unit")}
    total = epochs if config.get("unit", "epoch") == "epoch" else epochs * per_epoch
    if config["name"] == "LambdaLR":
        return S.LambdaLR(optimizer, lambda epoch: eval(o["lambda"].replace("^", "**"), dict(epoch=epoch)))
    if config["name"] == "OneCycleLR":
        o["total_steps"] = total
    if config["name"] == "SequentialLR":
        parts = [getattr(S, p["name"])(optimizer, **{k: v for k, v in p.items() if k != "name"}) for p in o["schedulers"]]
        return S.SequentialLR(optimizer, parts, o["milestones"])
    return getattr(S, config["name"])(optimizer, **o)


def run(optimizer, schedule=None, clip_norm=None, accumulate=1, loss=None, groups=(), decay_all=True):
    per_epoch = math.ceil(math.ceil(len(LABELS) / BATCH) / accumulate)
    epochs = UPDATES // per_epoch
    optimizer = dict(optimizer)
    if optimizer["name"] == "sgd":
        optimizer = dict(dict(momentum=0.0, nesterov=False), **optimizer)
    if optimizer["name"] != "rprop":
        optimizer.setdefault("weight_decay", 0.0)
    recipe = dict(
        data=dict(sampling="sequential", test_fraction=0.0, image_size=SIDE),
        network=dict(name="blocks", blocks=["cbr 6 3x3", "maxpool 2", "cbr 8 3x3 s2", "gap", "linear"]),
        finetune=dict(weights="initial.safetensors", head="keep", mean=[0.5], std=[0.25]),
        train=dict(epochs=epochs, batch_size=BATCH, accumulate=accumulate, device="reference", precision="f64"),
        optimizer=dict(optimizer, decay_norm_and_bias=decay_all, **(dict(groups=[g for g in groups]) if groups else {})),
        schedule=schedule or dict(name="constant"),
        loss=dict(dict(name="cross_entropy", label_smoothing=0.0), **(loss or {})),
    )
    if clip_norm:
        recipe["train"]["clip_norm"] = clip_norm
    if any(g.get("freeze") for g in groups):
        recipe["finetune"]["frozen_norm"] = "batch"  # as PyTorch, where only requires_grad is off

    net = network()
    net.load_state_dict({k: v.double() for k, v in START.items()}, strict=False)
    named = dict(net.named_parameters())
    if decay_all and not groups:
        opt = optimizers["build"](list(named.values()), optimizer)
    else:
        # As danlu: later groups win; biases and norms get no weight decay.
        made = {}
        for name, p in named.items():
            options = {k: v for k, v in optimizer.items() if k in ("lr", "momentum", "weight_decay")}
            frozen = False
            for g in groups:
                if name.startswith(g["match"].rstrip("*")):
                    options.update({k: v for k, v in g.items() if k in options})
                    frozen = g.get("freeze", frozen)
            if p.ndim <= 1 and not decay_all:
                options["weight_decay"] = 0.0
            p.requires_grad_(not frozen)
            if not frozen:
                made.setdefault(tuple(sorted(options.items())), []).append(p)
        opt = optimizers["build"]([dict(params=ps, **dict(options)) for options, ps in made.items()], optimizer)
    scheduler = schedule_of(opt, schedule, epochs, per_epoch) if schedule else None
    per_iteration = schedule and schedule.get("unit") == "iteration"
    loss = loss or {}
    weights = torch.tensor(loss["class_weights"]) if "class_weights" in loss else None
    net.train()
    losses = []
    for _ in range(epochs):
        batches = [(IMAGES[i : i + BATCH], LABELS[i : i + BATCH]) for i in range(0, len(LABELS), BATCH)]
        for first in range(0, len(batches), accumulate):
            group = batches[first : first + accumulate]
            total = sum(len(labels) for _, labels in group)
            opt.zero_grad()
            value = 0.0
            for images, labels in group:
                logits = images
                for block in net["blocks"]:
                    logits = block(logits)
                mean = nn.functional.cross_entropy(logits, labels, weights, label_smoothing=loss.get("label_smoothing", 0.0))
                (mean * (len(labels) / total)).backward()
                value += float(mean) * len(labels) / total
            losses.append(value)
            if clip_norm:
                nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
            opt.step()
            if per_iteration:
                scheduler.step()
        if scheduler and not per_iteration:
            scheduler.step()
    assert len(losses) == UPDATES and all(map(math.isfinite, losses)), losses
    final = {k: [float(v.sum()), float(v.norm())] for k, v in net.state_dict().items() if "num_batches" not in k}
    recipe["augment"] = {key: "none" for key in ("horizontal_flip", "random_crop", "random_resized_crop", "random_erasing")}
    text = "".join(f"{section} = {toml(values)}\n" for section, values in recipe.items())
    switched = {"switch": opt.switch} if getattr(opt, "switch", None) else {}
    return dict(recipe=text, losses=losses, final=final, **switched)


SGD = dict(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.01)
ADAMW = dict(name="adamw", lr=0.01, betas=[0.8, 0.97], eps=1e-6, weight_decay=0.1)
CASES = [(label, dict(optimizer=config)) for label, config in optimizers["CASES"] if not config.get("bf16")]
CASES += [
    ("SWATS that switches on the way", dict(optimizer=dict(name="swats", lr=0.05, betas=[0.8, 0.9], eps=0.03, weight_decay=0.01))),
    ("StepLR an epoch", dict(optimizer=SGD, schedule=dict(name="StepLR", step_size=3, gamma=0.3))),
    ("CosineAnnealingLR an iteration", dict(optimizer=SGD, schedule=dict(name="CosineAnnealingLR", unit="iteration", T_max=30, eta_min=0.001))),
    ("OneCycleLR with its momentum", dict(optimizer=SGD, schedule=dict(name="OneCycleLR", unit="iteration", max_lr=0.2, pct_start=0.3))),
    ("CyclicLR with its momentum", dict(optimizer=SGD, schedule=dict(name="CyclicLR", unit="iteration", base_lr=0.01, max_lr=0.2, step_size_up=4, step_size_down=7))),
    ("CosineAnnealingWarmRestarts", dict(optimizer=ADAMW, schedule=dict(name="CosineAnnealingWarmRestarts", unit="iteration", T_0=7, T_mult=2))),
    ("LambdaLR", dict(optimizer=ADAMW, schedule={"name": "LambdaLR", "lambda": "0.8 ^ epoch"})),
    ("SequentialLR of a warm-up and an exponential", dict(optimizer=ADAMW, schedule=dict(name="SequentialLR", milestones=[3], schedulers=[
        dict(name="LinearLR", start_factor=0.1, total_iters=3), dict(name="ExponentialLR", gamma=0.7)]))),
    ("no weight decay on biases and norms", dict(optimizer=SGD, decay_all=False)),
    ("groups: a smaller rate below, a frozen layer, another decay above", dict(optimizer=SGD, decay_all=False, groups=[
        dict(match="blocks.0.*", lr=0.02), dict(match="blocks.2.0.*", freeze=True), dict(match="blocks.4.*", lr=0.3, weight_decay=0.05, momentum=0.5)])),
    ("clipping", dict(optimizer=SGD, clip_norm=0.3)),
    ("accumulation over two batches, the last of one", dict(optimizer=ADAMW, accumulate=2)),
    ("label smoothing, clipping and one-cycle", dict(optimizer=ADAMW, clip_norm=0.5, loss=dict(label_smoothing=0.1),
                                                      schedule=dict(name="OneCycleLR", unit="iteration", max_lr=0.02))),
]

OUT.mkdir(parents=True, exist_ok=True)
save_file({k: v.numpy().astype(np.float32) for k, v in START.items()}, OUT / "initial.safetensors")
cases = [dict(label=label, **run(**case)) for label, case in CASES]
for case in cases:
    print(f"{case['label']}: loss {case['losses'][0]:.4f} to {case['losses'][-1]:.4f}")
OUT.joinpath("runs.json").write_text(json.dumps(dict(made_with=dict(torch=torch.__version__), cases=cases), indent=0, separators=(",", ":")))
print("runs.json", OUT.joinpath("runs.json").stat().st_size, "initial.safetensors", OUT.joinpath("initial.safetensors").stat().st_size)
