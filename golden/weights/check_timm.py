"""Hugging Face folders that danlu writes, opened by timm: `create_model(checkpoint_path=...)`, `local-dir:` and `load_state_dict`.

    cargo build --release -p danlu-weights --example write_zoo
    python golden/weights/check_timm.py target/release/examples/write_zoo

For each network danlu writes random weights, two images and its own logits; timm's model of that name must give the same to 1e-4.
"""
import json, subprocess, sys, tempfile
from pathlib import Path

import numpy as np
import safetensors.torch
import timm
import timm.models
import torch

NETWORKS = {"resnet18": "resnet18", "resnet50": "resnet50", "resnext50_32x4d": "resnext50_32x4d", "wide_resnet50_2": "wide_resnet50_2",
            "vgg11": "vgg11", "vgg11_bn": "vgg11_bn", "mobilenet_v2": "mobilenetv2_100", **{f"efficientnet_lite{i}": f"efficientnet_lite{i}" for i in range(5)}}


def main(binary):
    for network, name in NETWORKS.items():
        with tempfile.TemporaryDirectory() as out:
            subprocess.run([binary, network, "7", "96", out], check=True)
            folder = Path(out) / "hub"
            sample = safetensors.torch.load_file(Path(out) / "sample.safetensors")
            config = json.loads((folder / "config.json").read_text())
            assert config["architecture"] == name and config["num_classes"] == 7, config
            state = timm.models.load_state_dict(str(folder / "model.safetensors"))
            loaded = timm.create_model(name, num_classes=7)
            loaded.load_state_dict(state, strict=True)
            models = {"load_state_dict": loaded,
                      "checkpoint_path": timm.create_model(name, num_classes=7, checkpoint_path=str(folder / "model.safetensors")),
                      "local-dir": timm.create_model(f"local-dir:{folder}", pretrained=True)}
            for how, net in models.items():
                with torch.no_grad():
                    found = net.eval()(sample["images"]).numpy()
                expected = sample["logits"].numpy()
                relative = np.abs(found - expected).max() / np.abs(expected).max()
                print(f"{name:18} {how:16} relative difference {relative:.1e}")
                assert relative <= 1e-4, (name, how)
    print("all agree: timm", timm.__version__, "torch", torch.__version__)


main(sys.argv[1])
