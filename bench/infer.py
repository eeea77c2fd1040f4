#!/usr/bin/env python3
"""Times inference of danlu (folded and unfolded), PyTorch (eager) and ONNX Runtime alternately, on the networks of step.py.

Every round runs danlu (`danlu bench infer --json`, a process of its own), then PyTorch and ONNX Runtime in a process that stays; a ratio is the median
over the rounds of danlu's folded images/s divided by the peer's of the same round, PyTorch at the better of NCHW and channels_last. Needs the Python
packages torch, torchvision, onnx and onnxruntime.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from step import ROOT, ROWS, build

# row of step.py -> batch sizes
BATCHES = {"small": [1, 128], "resnet18-64": [1, 64], "resnet50-128": [16], "resnet50-224": [1]}


def serve(threads):
    """The peers' side: one JSON request a line, one JSON answer a line."""
    import tempfile
    import time

    import onnxruntime
    import torch

    torch.set_num_threads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    cache = {}
    for line in sys.stdin:
        request = json.loads(line)
        row, batch, passes = request["row"], request["batch"], request["passes"]
        if (row, batch) not in cache:
            cache.clear()
            torch.manual_seed(0)
            _, _, size, channels = ROWS[row]
            net = build(row, torch).eval()
            x = torch.randn(batch, channels, size, size)
            with tempfile.TemporaryDirectory() as folder:
                path = str(Path(folder) / "net.onnx")
                torch.onnx.export(net, (x,), path, input_names=["images"], dynamo=False)
                session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            nets = [(net, x)]
            last = build(row, torch).eval()
            last.load_state_dict(net.state_dict())
            nets.append((last.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)))
            cache[(row, batch)] = (nets, session, {"images": x.numpy()})
        nets, session, feed = cache[(row, batch)]

        def rate(run):
            run()
            times = []
            for _ in range(passes):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            return batch / statistics.median(times)

        with torch.inference_mode():
            torch_rate = max(rate(lambda net=net, x=x: net(x)) for net, x in nets)
        answer = {"torch": torch_rate, "onnxruntime": rate(lambda: session.run(None, feed))}
        print(json.dumps(answer), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="small,resnet18-64", help=f"comma separated: {', '.join(BATCHES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=10, help="timed passes of each in a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--danlu", default=ROOT / "target" / "release" / "danlu", help="the program (default: %(default)s)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.threads)
    environment = dict(os.environ, OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS=str(arguments.threads))
    peer = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--threads", str(arguments.threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )
    print(f"{'row':14} {'batch':>5} {'folded':>9} {'unfolded':>9} {'torch':>9} {'onnxrt':>9} img/s {'/torch':>7} {'/onnxrt':>8}")
    for row in arguments.rows.split(","):
        network, _, size, channels = ROWS[row]
        for batch in BATCHES[row]:
            rounds = []
            for _ in range(arguments.rounds):
                command = [arguments.danlu, "bench", "infer", *network, "--image-size", size, "--channels", channels, "--classes", 10,
                           "--batch-size", batch, "--threads", arguments.threads, "--passes", arguments.passes, "--json"]
                out = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
                mine = json.loads(out)[0]
                peer.stdin.write(json.dumps({"row": row, "batch": batch, "passes": arguments.passes}) + "\n")
                peer.stdin.flush()
                theirs = json.loads(peer.stdout.readline())
                rounds.append((mine["images_per_second"], mine["unfolded_images_per_second"], theirs["torch"], theirs["onnxruntime"]))
            folded, unfolded, torch_rate, ort_rate = (statistics.median(column) for column in zip(*rounds))
            ratios = [statistics.median(r[0] / r[peer] for r in rounds) for peer in (2, 3)]
            print(f"{row:14} {batch:5} {folded:9.1f} {unfolded:9.1f} {torch_rate:9.1f} {ort_rate:9.1f}       {ratios[0]:6.2f}x {ratios[1]:7.2f}x", flush=True)
    peer.stdin.close()


if __name__ == "__main__":
    main()
