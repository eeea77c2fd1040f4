"""Reads the TensorBoard files of a run (`train.tensorboard = true`) with PyPI's tensorboard and compares them with events.jsonl.

    pip install tensorboard pillow
    python golden/view/check_run_tensorboard.py RUN
"""

import json
import math
import pathlib
import sys

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

run = pathlib.Path(sys.argv[1])
sizes = {"tensors": 0, "scalars": 0, "images": 0, "histograms": 0}
acc = EventAccumulator(str(run), size_guidance=sizes)
acc.Reload()
tags = {kind: found for kind, found in acc.Tags().items() if found}
print("tensorboard", tensorboard.__version__, {k: v if v is True else len(v) for k, v in tags.items()})

events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
iterations = [e for e in events if e["event"] == "iteration"]
epochs = [e for e in events if e["event"] == "epoch"]


def same(tag, expected):
    found = [(e.step, e.value) for e in acc.Scalars(tag)]
    assert len(found) == len(expected), (tag, len(found), len(expected))
    for (step, value), (at, wanted) in zip(found, expected):
        assert step == at and math.isclose(value, wanted, rel_tol=1e-6, abs_tol=1e-9), (tag, step, value, at, wanted)


same("iteration/loss", [(e["iteration"], e["loss"]) for e in iterations])
same("iteration/grad_norm", [(e["iteration"], e["grad_norm"]) for e in iterations])
same("lr/group_0", [(e["iteration"], e["lr"][0]) for e in iterations])
same("epoch/val_loss", [(e["iteration"], e["val"]["loss"]) for e in epochs])
same("epoch/val_top1", [(e["iteration"], e["val"]["top1"]) for e in epochs])
weights = tags["histograms"]
assert weights and all(len(acc.Histograms(tag)) == len(epochs) for tag in weights), weights
assert len(acc.Images("filters")) == len(epochs)
metadata = acc.SummaryMetadata("_hparams_/session_start_info").plugin_data
assert metadata.plugin_name == "hparams"
hparams = plugin_data_pb2.HParamsPluginData.FromString(metadata.content).session_start_info.hparams
assert hparams["train.epochs"].number_value >= len(epochs), hparams["train.epochs"]
print(f"{len(iterations)} updates and {len(epochs)} epochs agree; {len(hparams)} hyper-parameters")
