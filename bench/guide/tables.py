"""Means and standard deviations over the seeds, as tables between two marks in the chapters."""

import re
import statistics

from settings import EXPERIMENTS, SEEDS

MARK = re.compile(r"(<!-- experiment ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def spread(values, percent):
    """`85.2 ± 0.4`: mean and sample standard deviation."""
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    if percent:
        values = [100 * value for value in values]
    digits = 1 if percent else 3
    if max(values) >= 1000:
        return f"{statistics.mean(values):.0e}"
    text = f"{statistics.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.{digits}f}"
    return text


def updates(lines):
    batch = re.match(r"\d+", lines[0]["setting"])
    return str(-(-4800 // int(batch.group())) * 6) if batch else ""


def switch(lines):
    found = [line["switch"] for line in lines if line.get("switch")]
    if not found:
        return "none"
    return ", ".join(f"{s['iteration']} (lr {s['lr']:.2g})" for s in found)


COLUMNS = {
    "first": ("after epoch 1, %", lambda lines: spread([line.get("first_top1") for line in lines], True)),
    "best": ("best validation accuracy, %", lambda lines: spread([line.get("best_top1") for line in lines], True)),
    "last": ("at the end, %", lambda lines: spread([line.get("last_top1") for line in lines], True)),
    "train_top1": ("training accuracy, %", lambda lines: spread([line.get("train_top1") for line in lines], True)),
    "train_loss": ("training loss at the end", lambda lines: spread([line.get("train_loss") for line in lines], False)),
    "updates": ("updates", updates),
    "switch": ("switched at update", switch),
}


def table(experiment, lines):
    """One experiment as Markdown, its settings in their order or ranked."""
    by_setting = {}
    for line in lines:
        if line["experiment"] == experiment.name:
            by_setting.setdefault(line["setting"], []).append(line)
    rows = []
    for setting in experiment.settings:
        found = sorted(by_setting.get(setting.name, []), key=lambda line: line["seed"])
        if not found:
            continue
        name = setting.name + ("" if len(found) == len(SEEDS) else f" ({len(found)} seed{'s' * (len(found) > 1)})")
        if not all(line["finished"] for line in found):
            name += ", stopped: not finite"
        if experiment.rotated:
            views = found[0]["rotated"]
            rows.append([name] + [spread([line["rotated"][view] for line in found], True) for view in views])
        else:
            rows.append([name] + [COLUMNS[column][1](found) for column in experiment.columns])
    if not rows:
        return ""
    if experiment.rotated:
        any_line = next(line for line in lines if line["experiment"] == experiment.name)
        head = [experiment.first, *any_line["rotated"]]
    else:
        head = [experiment.first] + [COLUMNS[column][0] for column in experiment.columns]
    if experiment.ranked:
        at = 1 + experiment.columns.index(experiment.ranked)
        rows.sort(key=lambda row: -float(row[at].split(" ")[0]) if row[at][0].isdigit() else 1.0)
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] + ["---:"] * (len(head) - 1), *rows]]
    return "\n".join(lines) + "\n"


def write_tables(guide, lines):
    """Rewrites every marked table under `guide`."""
    by_name = {experiment.name: experiment for experiment in EXPERIMENTS}
    for page in sorted(guide.glob("*.md")):
        old = page.read_text()
        new = MARK.sub(lambda m: m.group(1) + table(by_name[m.group(2)], lines) + m.group(3), old)
        if new != old:
            page.write_text(new)
            print(page)
