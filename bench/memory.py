#!/usr/bin/env python3
"""Peak memory of a training step: what danlu plans, what its process takes at most, and what PyTorch's takes for the same network.

Every figure is of a process of its own (the peak of its resident set, as the kernel counts it, after three steps). `at rest` is a danlu process that does nothing; planned + at
rest is what the plan promises. PyTorch's share that an `import torch` alone takes is shown too.
"""
import argparse
import json
import os
import subprocess
import sys

import step

REST = ["--version"]


def peak(command, env=None):
    """Peak resident set of a process in MiB, and what it printed."""
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, env=env)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command}: exit {process.returncode}")
    return usage.ru_maxrss / 1024, out


def torch_step(row, fmt):
    import torch

    if row == "import":
        return
    _, batch, size, channels = step.ROWS[row]
    layout = torch.channels_last if fmt == "channels_last" else torch.contiguous_format
    net = step.build(row, torch).train().to(memory_format=layout)
    x = torch.randn(batch, channels, size, size).to(memory_format=layout)
    y = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="default,resnet18-64,vgg16_bn,resnet50-128", help=f"comma separated: {', '.join(step.ROWS)}")
    parser.add_argument("--danlu", default=step.ROOT / "target" / "release" / "danlu", help="the program (default: %(default)s)")
    parser.add_argument("--torch", nargs=2, metavar=("ROW", "FORMAT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.torch:
        return torch_step(*arguments.torch)
    rest, _ = peak([arguments.danlu, *REST])
    python = lambda row, fmt: peak([sys.executable, __file__, "--torch", row, fmt])[0]
    imported = python("import", "-")
    print(f"danlu at rest {rest:.1f} MiB, Python with torch imported {imported:.1f} MiB")
    print(f"{'row':14} {'planned':>9} {'+ at rest':>9} {'peak':>9} {'off by':>7} {'torch peak':>11} {'danlu/torch':>12}")
    for row in arguments.rows.split(","):
        network, batch, size, channels = step.ROWS[row]
        command = [arguments.danlu, "bench", "step", *network, "--image-size", size, "--channels", channels, "--classes", 10,
                   "--batch-size", batch, "--steps", 2, "--json"]
        mine, out = peak(command)
        planned = json.loads(out)["peak_bytes"] / 2**20
        theirs = min(python(row, fmt) for fmt in ("channels_last", "contiguous"))
        print(f"{row:14} {planned:9.1f} {planned + rest:9.1f} {mine:9.1f} {mine / (planned + rest) - 1:+7.1%} {theirs:11.1f} {mine / theirs:11.2f}x", flush=True)


if __name__ == "__main__":
    main()
