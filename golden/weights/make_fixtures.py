"""State dicts that PyTorch saved, in every container, with the logits that belong to them.

Thin networks with torchvision's own blocks and names, seeded, small enough to commit. `*.safetensors` is the reference that
the other files of the same network must equal; it also holds `__images__` [N, C, H, W] and `__logits__` [N, classes].
"""
import io, json, pickle, struct, tarfile
from collections import OrderedDict
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock, Bottleneck, conv1x1
from torchvision.models.vgg import make_layers

OUT = Path(__file__).resolve().parents[2] / "crates/danlu-weights/tests/golden"


class ThinResNet(nn.Module):
    """torchvision's ResNet-18 with one block and few channels a stage."""

    def __init__(self, channels=3, classes=5):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 8))
        down = nn.Sequential(conv1x1(8, 16, 2), nn.BatchNorm2d(16))
        self.layer2 = nn.Sequential(BasicBlock(8, 16, 2, down))
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


class ThinBottlenecks(nn.Module):
    """ResNet-50 (groups 1, base width 64), ResNeXt or Wide-ResNet of torchvision's own bottleneck blocks, few and narrow."""

    def __init__(self, groups=1, base_width=64, classes=5):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        def block(inputs, planes, stride=1):
            same = stride == 1 and inputs == 4 * planes
            down = None if same else nn.Sequential(conv1x1(inputs, 4 * planes, stride), nn.BatchNorm2d(4 * planes))
            return Bottleneck(inputs, planes, stride, down, groups, base_width)
        self.layer1 = nn.Sequential(block(8, 4), block(16, 4))
        self.layer2 = nn.Sequential(block(16, 8, 2))
        self.fc = nn.Linear(32, classes)

    forward = ThinResNet.forward


class ThinVgg(nn.Module):
    """torchvision's VGG: the flatten before the classifier is what can go wrong."""

    def __init__(self, classes=5, batch_norm=True):
        super().__init__()
        self.features = make_layers([8, "M", 12, "M"], batch_norm=batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d((3, 2))
        self.classifier = nn.Sequential(nn.Linear(72, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, classes))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def thin_mobilenet():
    net = MobileNetV2(num_classes=5, width_mult=0.25, inverted_residual_setting=[[1, 32, 1, 1], [6, 32, 2, 2]])
    # The head of 1280 channels is most of the file.
    net.features[-1] = nn.Sequential(nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6())
    net.classifier[1] = nn.Linear(24, 5)
    return net


def thin_lite():
    """timm's EfficientNet-Lite with one block without expansion, a 5x5 stage with a shortcut, and a small head."""
    blocks = decode_arch_def([["ds_r1_k3_s1_e1_c8"], ["ir_r2_k5_s2_e6_c8"], ["ir_r1_k3_s2_e6_c16"]])
    return EfficientNet(block_args=blocks, num_classes=5, num_features=24, stem_size=8, fix_stem=True, act_layer=nn.ReLU6)


FAMILIES = {
    # name: (seed, images, network)
    "resnet_thin": (1, (2, 3, 33, 37), ThinResNet),
    "vgg_thin": (2, (2, 3, 19, 17), ThinVgg),
    "mobilenet_thin": (3, (2, 3, 29, 23), thin_mobilenet),
    "vgg_plain_thin": (4, (2, 3, 18, 21), lambda: ThinVgg(batch_norm=False)),
    "bottleneck_thin": (5, (2, 3, 33, 37), ThinBottlenecks),
    "resnext_thin": (6, (2, 3, 33, 37), lambda: ThinBottlenecks(groups=4, base_width=32)),
    "wide_thin": (7, (2, 3, 33, 37), lambda: ThinBottlenecks(base_width=128)),
    "lite_thin": (8, (2, 3, 31, 38), thin_lite),
}


def seeded(make, seed):
    torch.manual_seed(seed)
    net = make()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            module.num_batches_tracked.fill_(1234)
    return net.eval()


def save_tar(path, state):
    """The container of PyTorch before 0.1.10, which no living PyTorch writes (torch.load still reads it)."""
    def dump(value):
        return pickle.dumps(value, protocol=2)
    kinds = {torch.float32: (torch.FloatStorage, torch.FloatTensor, "f"), torch.int64: (torch.LongStorage, torch.LongTensor, "q")}
    storages, tensors, ids = dump(len(state)), dump(len(state)), {}
    for number, (name, tensor) in enumerate(state.items()):
        storage, kind, code = kinds[tensor.dtype]
        key = 1000 + number
        values = tensor.flatten().tolist()
        storages += dump((key, "cpu", storage)) + struct.pack("<q", len(values)) + struct.pack(f"<{len(values)}{code}", *values)
        tensors += dump((2000 + number, key, kind)) + struct.pack("<ii", tensor.dim(), 0)
        tensors += struct.pack(f"<{tensor.dim()}q", *tensor.shape) + struct.pack(f"<{tensor.dim()}q", *tensor.stride()) + struct.pack("<q", 0)
        ids[name] = str(2000 + number)
    storages += dump([])

    class Persistent(pickle.Pickler):
        def persistent_id(self, value):
            return value.id if isinstance(value, Ref) else None
    class Ref:
        def __init__(self, id): self.id = id
    main = io.BytesIO()
    Persistent(main, protocol=2).dump(OrderedDict((name, Ref(id)) for name, id in ids.items()))
    info = dump({"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}})
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in [("sys_info", info), ("pickle", main.getvalue()), ("tensors", tensors), ("storages", storages)]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    versions = {"torch": torch.__version__}
    nets = {name: seeded(make, seed) for name, (seed, _, make) in FAMILIES.items()}
    for name, net in nets.items():
        torch.manual_seed(9)
        images = torch.randn(FAMILIES[name][1])
        with torch.no_grad():
            logits = net.double()(images.double()).float()
            net.float()
        state = {k: v.clone() for k, v in net.state_dict().items()}
        assert logits.isfinite().all()
        safetensors.torch.save_file({**state, "__images__": images, "__logits__": logits}, OUT / f"{name}.safetensors", metadata=versions)
        torch.save(net.state_dict(), OUT / f"{name}.pth")
    vgg = nets["vgg_thin"].state_dict()
    torch.save(vgg, OUT / "legacy.pth", _use_new_zipfile_serialization=False)
    save_tar(OUT / "tar.pth", vgg)
    assert all(torch.equal(v, vgg[k]) for k, v in torch.load(OUT / "tar.pth", weights_only=False).items())
    averaged = {"n_averaged": torch.tensor(3), **{f"module.{k}": v * 2 for k, v in vgg.items()}}
    torch.save({"model": vgg, "model_ema": averaged, "epoch": 3, "args": {"lr": 0.1}}, OUT / "nested.pth")
    torch.save({"state_dict": {f"module.{k}": v for k, v in vgg.items()}}, OUT / "data_parallel.pth")
    torch.save(nets["vgg_thin"].features, OUT / "whole_module.pth")
    # A view into a larger storage, and one that is transposed.
    base = torch.arange(24, dtype=torch.float32)
    torch.save({"slice": base[5:11].view(2, 3), "transposed": base[:6].view(2, 3).t()}, OUT / "views.pth")
    small = torch.tensor([1.0, -2.5, 0.0001, 3e4])
    halves = {"f16": small.half(), "bf16": small.bfloat16(), "f64": small.double() / 3, "i32": torch.tensor([7, -7], dtype=torch.int32), "bool": torch.tensor([True, False])}
    torch.save(halves, OUT / "dtypes.pth")
    safetensors.torch.save_file(halves, OUT / "dtypes.safetensors")
    (OUT / "dtypes.json").write_text(json.dumps({k: v.float().tolist() for k, v in halves.items()}))
    folder = OUT / "sharded"
    folder.mkdir(exist_ok=True)
    keys = list(vgg)
    shards = {"model-00001-of-00002.safetensors": keys[: len(keys) // 2], "model-00002-of-00002.safetensors": keys[len(keys) // 2 :]}
    for file, names in shards.items():
        safetensors.torch.save_file({k: vgg[k] for k in names}, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": {k: file for file, names in shards.items() for k in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {"architecture": "vgg11_bn", "num_classes": 5, "label_names": ["a", "b", "c", "d", "e"], "pretrained_cfg": {"input_size": [3, 224, 224], "crop_pct": 0.875, "interpolation": "bicubic", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}
    (folder / "config.json").write_text(json.dumps(config))
    (OUT / "versions.json").write_text(json.dumps(versions))


if __name__ == "__main__":
    main()
