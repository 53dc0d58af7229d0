"""The table of one run: figures beside their peers, each bar held or missed."""

import datetime
import pathlib
import platform
import re
import subprocess
import sys


class Table:
    def __init__(self):
        self.rows = []
        self.notes = []

    def row(self, work, figure, peer="", ratio="", bar="", held=None):
        """`held` None: a figure without a bar."""
        verdict = "" if held is None else "held" if held else "MISSED"
        self.rows.append([work, figure, peer, ratio, bar, verdict])
        print(f"  {work}: {figure}  {peer} {ratio} {bar} {verdict}".rstrip(), file=sys.stderr, flush=True)

    def note(self, text):
        self.notes.append(text)
        print(f"  {text}", file=sys.stderr, flush=True)

    def missed(self):
        return [row[0] for row in self.rows if row[5] == "MISSED"]

    def text(self):
        head = ["work", "seance", "peer", "ratio", "bar", ""]
        cells = [head, *self.rows]
        widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
        lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])


def machine():
    processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal: *(\d+)", pathlib.Path("/proc/meminfo").read_text())
    distribution = re.search(r'PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text())
    cores = pathlib.Path("/proc/cpuinfo").read_text().count("processor\t")
    return (
        f"{processor[1] if processor else platform.machine()}, {cores} cores, {int(memory[1]) / 1e6:.0f} GB, "
        f"{distribution[1] if distribution else ''}, Linux {platform.release().split('-')[0]}"
    )


def keep(path, bench, table, root):
    """Replace this bench's section of RESULTS.md, leaving the others."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True).stdout.strip()
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    section = f"## {bench}\n`tests/bench/run {bench}`, {date}, commit {commit}; {machine()}\n\n{table.text()}\n"
    title = "# Benchmarks, as last run\n"
    old = path.read_text() if path.exists() else title
    sections = re.split(r"(?m)^(?=## )", old)
    kept = [part for part in sections[1:] if not part.startswith(f"## {bench}\n")]
    path.write_text("\n".join(part.strip() + "\n" for part in [title, *sorted([*kept, section])]))
