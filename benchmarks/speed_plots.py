"""Plots of a speed benchmark, from the content of its speed.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

AXES = {
    "panoptic": "long side of the photo, pixels",
    "several_clicks": "clicks on one object",
    "objects": "objects, a box each",
    "classes": "classes of a semantic map",
    "further_click": "clicks before, with memory",
}
BAR_WIDTH = 0.8


def plot_steps(record: Mapping[str, Any], path: Path) -> None:
    """Draw a panel for each size: the CPU time of every step and system, on a logarithmic axis."""
    sizes = distinct(record["timings"], "size")
    figure, panels = plt.subplots(
        1, len(sizes), figsize=(7 * len(sizes), 6), squeeze=False, layout="constrained"
    )
    for panel, size in zip(panels[0], sizes, strict=True):
        draw_bars(panel, select(record["timings"], "size", size))
        panel.set_title(f"photo {size} x {size * 3 // 4}")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    finish(figure, path)


def draw_bars(panel: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    steps, systems = distinct(rows, "step"), distinct(rows, "system")
    height = BAR_WIDTH / len(systems)
    for number, system in enumerate(systems):
        own = select(rows, "system", system)
        positions = [steps.index(row["step"]) + number * height for row in own]
        bars = panel.barh(positions, column(own, "cpu_ms"), height, label=system)
        panel.bar_label(bars, fmt="%.0f", fontsize=7, padding=2)
    middle = (BAR_WIDTH - height) / 2
    ticks = [index + middle for index in range(len(steps))]
    panel.set_yticks(ticks, [step.replace("_", " ") for step in steps])
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.margins(x=0.1)
    panel.set_xlabel("CPU time, ms")


def plot_growth(record: Mapping[str, Any], path: Path) -> None:
    """Draw a panel for each axis of growth: CPU time over its values, a line a system, quartiles shaded."""
    figure, panels = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    for panel, (step, label) in zip(panels.flat, AXES.items(), strict=False):
        rows = select(record["growth"], "step", step)
        axis = "size" if step == "panoptic" else "value"
        for system in distinct(rows, "system"):
            own = select(rows, "system", system)
            values = column(own, axis)
            low, high = zip(*column(own, "cpu_quartiles_ms"), strict=True)
            panel.plot(values, column(own, "cpu_ms"), marker="o", label=system)
            panel.fill_between(values, low, high, alpha=0.2)
        panel.set_title("photo to panoptic" if step == "panoptic" else step.replace("_", " "))
        panel.set_xlabel(label)
        panel.set_ylabel("CPU time, ms")
        panel.set_ylim(bottom=0)
        if rows:
            panel.legend()
    for panel in panels.flat[len(AXES) :]:
        panel.set_axis_off()
    finish(figure, path)


def plot_parts(record: Mapping[str, Any], path: Path) -> None:
    """Draw the share of the machine's rate of matrix products that each part reaches."""
    names, shares = [], []
    for row in record["parts"]:
        names.append(f"{row['part']} ({row['gflop']:.2f} GFLOP, {row['cpu_ms']:.0f} ms)")
        shares.append(100 * row["share"])
    figure, panel = plt.subplots(figsize=(7, 4), layout="constrained")
    panel.bar_label(panel.barh(names, shares), fmt="%.0f%%", padding=2)
    panel.invert_yaxis()
    panel.set_xlim(0, 105)
    panel.set_xlabel(f"% of {record['matrix_gflops']:.0f} GFLOP/s, a float32 matrix product here")
    finish(figure, path)


def distinct(rows: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """Return the values of a column, each once, in their order."""
    return list(dict.fromkeys(column(rows, key)))


def column(rows: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    return [row[key] for row in rows]


def select(rows: Sequence[Mapping[str, Any]], key: str, value: object) -> list[Mapping[str, Any]]:
    """Return the rows that have a value in a column."""
    return [row for row in rows if row[key] == value]


def finish(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110)
    plt.close(figure)
