#!/usr/bin/env python3
"""Times a training step (forward, backward, SGD momentum update) of danlu and of PyTorch alternately.

Every round runs danlu (`danlu bench step --json`, a process of its own) and then PyTorch (a process that stays, idle in between, once for each memory format); the
ratio of a row is the median over the rounds of danlu's images/s divided by the better PyTorch format's images/s of the same round.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# name -> (danlu arguments, batch, image size, channels)
ROWS = {
    "small": (["--network", "small"], 128, 28, 1),
    "small-256": (["--network", "small"], 256, 28, 1),
    # What the advisor chooses for Fashion-MNIST: a stem of stride 2 and twice the channels.
    "default": (["--network", "small", "--set", "width=32", "--set", "stride=2"], 128, 28, 1),
    "resnet18-64": (["--network", "resnet18", "--stem", "cifar"], 64, 32, 3),
    "resnet18-128": (["--network", "resnet18", "--stem", "cifar"], 128, 32, 3),
    "vgg16_bn": (["--network", "vgg16_bn"], 64, 32, 3),
    "resnet50-128": (["--network", "resnet50"], 16, 128, 3),
    "resnet50-224": (["--network", "resnet50"], 16, 224, 3),
    "mobilenet_v2": (["--network", "mobilenet_v2"], 32, 112, 3),
}


def build(row, torch):
    """The same network in PyTorch."""
    import torchvision
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(cout)
            self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(cout)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None
            if stride != 1 or cin != cout:
                self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

        def forward(self, x):
            shortcut = x if self.downsample is None else self.downsample(x)
            return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + shortcut)

    name = row.split("-")[0]
    if name in ("small", "default"):
        # The network `danlu bench step --network small` reports; its table is printed by `danlu show network small`.
        first, stride = (32, 2) if name == "default" else (16, 1)
        layers = [nn.Conv2d(1, first, 3, stride, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)]
        layers.append(Residual(first, first, 1))
        for cin, width in ((first, 2 * first), (2 * first, 4 * first)):
            layers += [nn.Conv2d(cin, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            layers.append(Residual(width, width, 1))
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * first, 10))
    if name == "resnet18":
        net = torchvision.models.resnet18(num_classes=10)
        net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = nn.Identity()
        return net
    return getattr(torchvision.models, name)(num_classes=10)


def serve(threads):
    """The PyTorch side: one JSON request a line, one JSON answer a line."""
    import time

    import torch

    torch.set_num_threads(threads)
    cache = {}
    for line in sys.stdin:
        request = json.loads(line)
        row, fmt, bf16, steps = request["row"], request["format"], request["bf16"], request["steps"]
        clock = time.process_time if request["cpu_time"] else time.perf_counter
        _, batch, size, channels = ROWS[row]
        key = (row, fmt)
        if key not in cache:
            cache.clear()
            torch.manual_seed(0)
            layout = torch.channels_last if fmt == "channels_last" else torch.contiguous_format
            net = build(row, torch).train().to(memory_format=layout)
            x = torch.randn(batch, channels, size, size).to(memory_format=layout)
            y = torch.randint(0, 10, (batch,))
            optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
            cache[key] = (net, x, y, optimizer)
        net, x, y, optimizer = cache[key]

        def step():
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = torch.nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()

        step()
        times = []
        for _ in range(steps):
            start = clock()
            step()
            times.append(clock() - start)
        seconds = statistics.median(times)
        parameters = sum(p.numel() for p in net.parameters())
        print(json.dumps({"images_per_second": batch / seconds, "parameters": parameters, "torch": torch.__version__}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="small,small-256,resnet18-64,vgg16_bn", help=f"comma separated: {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each side in a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--cpu-time", action="store_true", help="count processor seconds of both sides instead of wall time: for a busy machine, with --threads 1")
    parser.add_argument("--danlu", default=ROOT / "target" / "release" / "danlu", help="the program (default: %(default)s)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.threads)
    danlu = arguments.danlu
    environment = dict(os.environ, OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS=str(arguments.threads))
    peer = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--threads", str(arguments.threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )

    def torch_rate(row, fmt):
        request = {"row": row, "format": fmt, "bf16": arguments.precision == "bf16", "steps": arguments.steps, "cpu_time": arguments.cpu_time}
        peer.stdin.write(json.dumps(request) + "\n")
        peer.stdin.flush()
        return json.loads(peer.stdout.readline())

    def danlu_rate(command, batch):
        def run(steps):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            out = subprocess.run([*map(str, command), "--steps", str(steps)], check=True, capture_output=True, text=True).stdout
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return json.loads(out), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        mine, seconds = run(1 + arguments.steps)
        if arguments.cpu_time:
            # What the process needs besides the steps is in both and falls out.
            mine["images_per_second"] = batch * arguments.steps / (seconds - run(1)[1])
        return mine

    print(f"{'row':14} {'danlu img/s':>12} {'torch img/s':>12} {'ratio':>7}   ratios of the rounds")
    for row in arguments.rows.split(","):
        network, batch, size, channels = ROWS[row]
        command = [danlu, "bench", "step", *network, "--image-size", size, "--channels", channels, "--classes", 10, "--batch-size", batch,
                   "--precision", arguments.precision, "--threads", arguments.threads, "--json"]
        ours, theirs, ratios = [], [], []
        best = max(["channels_last", "contiguous"], key=lambda fmt: torch_rate(row, fmt)["images_per_second"])
        for _ in range(arguments.rounds):
            mine = danlu_rate(command, batch)
            other = torch_rate(row, best)
            if mine["parameters"] != other["parameters"]:
                sys.exit(f"{row}: danlu's network has {mine['parameters']} parameters, PyTorch's {other['parameters']}: not the same network")
            ours.append(mine["images_per_second"])
            theirs.append(other["images_per_second"])
            ratios.append(ours[-1] / theirs[-1])
        print(f"{row:14} {statistics.median(ours):12.1f} {statistics.median(theirs):12.1f} {statistics.median(ratios):6.2f}x   "
              + " ".join(f"{ratio:.2f}" for ratio in ratios) + f"   torch {other['torch']} {best}", flush=True)
    peer.stdin.close()


if __name__ == "__main__":
    main()
