"""Names, shapes and parameter counts of torchvision's and timm's networks for crates/danlu-nn/tests/zoo.rs.

    python golden/nn/make_zoo.py
"""
import json
from pathlib import Path

import timm
import torch
import torchvision

OUT = Path(__file__).resolve().parents[2] / "crates/danlu-nn/tests/golden/zoo.json"
NAMES = ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "resnet18", "resnet34",
         "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2", "mobilenet_v2"]
NAMES += [f"efficientnet_lite{i}" for i in range(5)]

zoo = {}
with torch.device("meta"):
    for name in NAMES:
        if name.startswith("efficientnet"):
            model = timm.create_model(name)
        else:
            model = getattr(torchvision.models, name)()
        state = {k: list(v.shape) for k, v in model.state_dict().items()}
        zoo[name] = {"params": sum(p.numel() for p in model.parameters()),
                     # One line a tensor would be 400 KB: deep networks repeat, so the shapes are joined.
                     "state": " ".join(f"{k}:{'x'.join(map(str, s))}" for k, s in sorted(state.items()))}
OUT.write_text(json.dumps({"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__,
                           "zoo": zoo}))
