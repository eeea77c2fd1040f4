#!/usr/bin/env python3
"""What watching costs a training: processor seconds of `danlu serve` with a run's page open in headless Chromium, over those of the training.

The browser's own time is not counted: it is that of whoever looks, as a rule on another machine.
"""
import argparse
import importlib.machinery
import importlib.util
import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def browser(folder):
    loader = importlib.machinery.SourceFileLoader("check_dashboard", str(ROOT / "scripts" / "check-dashboard"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module.Browser(folder)


def processor_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--danlu", default=ROOT / "target" / "release" / "danlu", help="the program (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=60, help="of the demo")
    parser.add_argument("--port", type=int, default=8798)
    arguments = parser.parse_args()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder, "runs")
        runs.mkdir()
        server = subprocess.Popen([arguments.danlu, "serve", runs, "--port", str(arguments.port)], **quiet)
        command = [arguments.danlu, "train", "demo", "--runs", runs, "--name", "watched", "--epochs", str(arguments.epochs)]
        training = subprocess.Popen(command, **quiet)
        try:
            while not (runs / "watched" / "events.jsonl").exists():
                if training.poll() is not None:
                    raise SystemExit(f"danlu ended with {training.returncode} before its first event")
                time.sleep(0.05)
            watcher = browser(tempfile.mkdtemp(dir=folder))
            watcher.send("Page.navigate", url=f"http://127.0.0.1:{arguments.port}/runs/watched")
            served = trained = 0.0
            while training.poll() is None:
                served, trained = processor_seconds(server), processor_seconds(training)
                time.sleep(0.2)
            watcher.process.kill()
        finally:
            server.kill()
            training.kill()
    print(f"serve {served:.2f} s, training {trained:.2f} s of processor time: {100 * served / trained:.2f} %")


if __name__ == "__main__":
    main()
