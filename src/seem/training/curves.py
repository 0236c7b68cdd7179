"""The scores of a run as files: `results.csv`, and TensorBoard where it is installed."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seem.checkpoints.safe import atomic_write
from seem.training.engine import LOG_FILE

RESULTS_FILE = "results.csv"


class Results:
    """Rows of scores by step, written whole each time, so that no line is ever cut short.

    Rows after `step` are forgotten: a resumed run writes them again.
    """

    def __init__(self, out: Path, step: int) -> None:
        self.file = out / RESULTS_FILE
        self.rows: list[dict[str, float]] = [row for row in read_results(out) if row["step"] <= step]

    def add(self, step: int, scores: Mapping[str, float]) -> None:
        """Write the scores of a step, in place of earlier ones of the same step."""
        self.rows = [row for row in self.rows if row["step"] != step]
        self.rows.append({"step": step, **{name: round(value, 4) for name, value in scores.items()}})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_write(self.file) as aside, aside.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(self.rows)


def read_results(out: Path) -> list[dict[str, float]]:
    """Read the scores of a run; empty where none were written."""
    file = out / RESULTS_FILE
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return [
            {name: int(value) if name == "step" else float(value) for name, value in row.items() if value}
            for row in csv.DictReader(stream)
        ]


def read_log(out: Path) -> list[dict[str, float]]:
    """Read the terms of a run's loss; empty where none were written."""
    file = out / LOG_FILE
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


class Board:
    """Curves for TensorBoard; does nothing where that is not installed."""

    def __init__(self, out: Path, step: int) -> None:
        self._writer: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(out / "tensorboard"), purge_step=step)

    @property
    def is_there(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def add(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Add a point to every curve of a group."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
