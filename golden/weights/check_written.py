"""Opens what `cargo run -p danlu-weights --example write_samples -- OUT` wrote, with the tools that users have.

PyTorch loads the .pth (weights_only) and the safetensors strictly, timm's reader the Hugging Face folder; onnx checks each
model and ONNX Runtime's logits must agree to 1e-4 relative, for batches of 1 and 2.
"""
import json, sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import timm.models
import torch

sys.path.insert(0, str(Path(__file__).parent))
GOLDEN = Path(__file__).resolve().parents[2] / "crates/danlu-weights/tests/golden"


def run(path, images):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 17 and model.graph.input[0].name == "images"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    whole = session.run(["logits"], {"images": images})[0]
    single = np.concatenate([session.run(["logits"], {"images": image[None]})[0] for image in images])
    assert np.allclose(whole, single, atol=1e-5)
    return whole, model


def agree(name, found, expected, tolerance=1e-4):
    relative = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"{name:32} relative difference {relative:.1e}")
    assert relative <= tolerance and (found.argmax(1) == expected.argmax(1)).all(), name


def main(out):
    from make_fixtures import FAMILIES
    for name, (_, _, make) in FAMILIES.items():
        golden = safetensors.torch.load_file(GOLDEN / f"{name}.safetensors")
        images, logits = golden.pop("__images__"), golden.pop("__logits__").numpy()
        for state in (torch.load(out / f"{name}.pth", weights_only=True), safetensors.torch.load_file(out / f"{name}.safetensors"), timm.models.load_state_dict(str(out / f"{name}_hub/model.safetensors"))):
            assert all(torch.equal(state[k], v) and state[k].dtype == v.dtype for k, v in golden.items()) and len(state) == len(golden)
            net = make().eval()
            net.load_state_dict(state, strict=True)
            agree(f"{name} in PyTorch", net(images).detach().numpy(), logits)
        for ending in (".onnx", "_bn.onnx"):
            found, model = run(out / f"{name}{ending}", images.numpy())
            agree(name + ending, found, logits)
            has_norm = any(node.op_type == "BatchNormalization" for node in model.graph.node)
            assert has_norm == (ending == "_bn.onnx" and "plain" not in name), "a folded model has no batch norm"
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(metadata["classes"]) == list("abcde") and metadata["interpolation"] == "bilinear", metadata
        assert {"mean", "std", "resize", "crop", "danlu_version", "network"} <= metadata.keys()
        rng = np.random.default_rng(5)
        n, c, h, w = images.shape
        pixels = rng.integers(0, 256, (n, h, w, c), dtype=np.uint8)
        mean, std = (np.float64(json.loads(metadata[key])) for key in ("mean", "std"))
        normalised = torch.tensor(((pixels / 255.0 - mean) / std).transpose(0, 3, 1, 2))
        found, _ = run(out / f"{name}_u8.onnx", pixels)
        agree(name + "_u8.onnx", found, net.double()(normalised).detach().numpy())
        config = json.loads((out / f"{name}_hub/config.json").read_text())
        assert config["num_classes"] == 5 and config["pretrained_cfg"]["input_size"] == [c, h, w], config
    sample = json.loads((out / "every_operation.json").read_text())
    images = np.float32(sample["images_nhwc"]).reshape(sample["shape"]).transpose(0, 3, 1, 2)
    found, _ = run(out / "every_operation.onnx", np.ascontiguousarray(images))
    agree("every_operation.onnx", found, np.float32(sample["logits"]).reshape(found.shape))
    print("all agree: torch", torch.__version__, "onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)


main(Path(sys.argv[1]))
