#!/usr/bin/env python3
"""Draws bar charts with matplotlib: JSON on standard input, SVG files into the folder of the first argument.

The JSON is `{name: {"title": .., "unit": .., "bars": [{"name": .., "values": [..] or null, "note": ..}]}}`. A bar is the
median of the values, dots are the single rounds. Run by `tests/bench/run`, by a Python that has matplotlib.
"""

import json
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

# The same figures make the same file; text stays text, so the files are small.
matplotlib.rcParams.update({"svg.hashsalt": "regrip", "svg.fonttype": "none", "font.family": "sans-serif"})


def draw(chart, path):
    bars = chart["bars"]
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.32 * len(bars)), layout="constrained")
    for row, bar in enumerate(bars):
        if bar["values"] is None:
            axes.text(0, row, f" {bar['note']}", va="center", color="#a33", fontsize=9)
            continue
        middle = statistics.median(bar["values"])
        axes.barh(row, middle, color="#2a6f97" if bar["name"].startswith("regrip") else "#b8c4cc", height=0.7)
        axes.plot(bar["values"], [row] * len(bar["values"]), ".", color="#222", markersize=3)
        axes.annotate(f"{middle:.2f}", (max(bar["values"]), row), (5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(bars)), [bar["name"] for bar in bars])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.margins(x=0.12)
    axes.set_xlabel(chart["unit"])
    axes.set_title(chart["title"], fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", transparent=False, metadata={"Date": None})
    plt.close(figure)


folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
for name, chart in json.load(sys.stdin).items():
    draw(chart, folder / f"{name}.svg")
