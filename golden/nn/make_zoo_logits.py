"""Logits of whole networks of torchvision and timm for crates/danlu-nn/tests/zoo_logits.rs.

The weights are too many to commit, so both sides compute them: value i of a tensor is a hash of i and of the tensor's name.

    python golden/nn/make_zoo_logits.py
"""
import json
import zlib
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision

OUT = Path(__file__).resolve().parents[2] / "crates/danlu-nn/tests/golden/zoo_logits.json"
NAMES = ["resnet18", "resnet50", "resnext50_32x4d", "mobilenet_v2"] + [f"efficientnet_lite{i}" for i in range(5)]
SIDE, CLASSES, IMAGES = 64, 7, 2


def values(name, count):
    """Evenly spread over [-1, 1)."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(zlib.crc32(name.encode()))
    x ^= x >> 16
    x *= np.uint32(2246822519)
    x ^= x >> 13
    return x.astype(np.float64) / 2.0**31 - 1.0


def fill(name, tensor):
    v = values(name, tensor.numel())
    if name.endswith("running_var"):
        v = 1 + 0.5 * v
    elif name.endswith("running_mean") or name.endswith("bias"):
        v = 0.1 * v
    elif tensor.dim() == 1:
        v = 1 + 0.2 * v
    else:
        v = v * np.sqrt(6 / (tensor.numel() // tensor.shape[0]))
    return torch.tensor(v.astype(np.float32)).reshape(tensor.shape)


out = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__, "logits": {}}
images = torch.tensor(values("images", IMAGES * SIDE * SIDE * 3).astype(np.float32)).reshape(IMAGES, SIDE, SIDE, 3)
for name in NAMES:
    make = timm.create_model if name.startswith("efficientnet") else lambda name, **kw: getattr(torchvision.models, name)(**kw)
    net = make(name, num_classes=CLASSES)
    state = {k: v if k.endswith("num_batches_tracked") else fill(k, v) for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    with torch.no_grad():
        logits = net.double().eval()(images.permute(0, 3, 1, 2).double())
    print(name, logits[0].tolist())
    out["logits"][name] = logits.flatten().tolist()
OUT.write_text(json.dumps(out))
