"""What a run writes while it trains: `log.jsonl` (loss terms), `results.csv` (scores), and TensorBoard's files."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seem.checkpoints.safe import atomic_write
from seem.errors import naming_file

LOG_FILE = "log.jsonl"
RESULTS_FILE = "results.csv"


def append_to_log(out: Path, step: int, terms: Mapping[str, float]) -> dict[str, float]:
    """Append the loss terms of a step to `log.jsonl` as one line; return what was written."""
    row = {"step": step, **_rounded(terms)}
    log = out / LOG_FILE
    with naming_file(log), log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    return row


def truncate_log(out: Path, step: int) -> None:
    """Drop the lines of `log.jsonl` after a step, which a resumed run writes again, and a line cut short by a crash."""
    file = out / LOG_FILE
    if not file.exists():
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    before = ""
    for line in lines:
        if line.endswith("\n") and json.loads(line)["step"] <= step:
            before += line
    with atomic_write(file) as aside:
        aside.write_text(before, encoding="utf-8")


def read_log(out: Path) -> list[dict[str, float]]:
    """Read the rows of `log.jsonl`; empty if there is none."""
    file = out / LOG_FILE
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def print_log_row(row: Mapping[str, float]) -> None:
    """Print one row of the log."""
    print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)  # noqa: T201


class ScoreHistory:
    """The scores of a run by step, kept in `results.csv`; the file is written whole, so no line is ever cut short.

    Rows after `step` are dropped: a resumed run writes them again.
    """

    def __init__(self, out: Path, step: int) -> None:
        self.file = out / RESULTS_FILE
        self._rows_by_step: dict[float, dict[str, float]] = {}
        for row in read_results(out):
            if row["step"] <= step:
                self._rows_by_step[row["step"]] = row

    @property
    def rows(self) -> list[dict[str, float]]:
        """The rows of the file."""
        return list(self._rows_by_step.values())

    def add(self, step: int, scores: Mapping[str, float]) -> None:
        """Write the scores of a step, in place of earlier ones of the same step."""
        self._rows_by_step.pop(step, None)
        self._rows_by_step[step] = {"step": step, **_rounded(scores)}
        columns: dict[str, None] = {}
        for row in self.rows:
            columns |= dict.fromkeys(row)
        with (
            atomic_write(self.file) as aside,
            aside.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(self.rows)


def read_results(out: Path) -> list[dict[str, float]]:
    """Read the rows of `results.csv`; empty if there is none."""
    file = out / RESULTS_FILE
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return [_parse_scores(row) for row in csv.DictReader(stream)]


def _parse_scores(row: Mapping[str, str]) -> dict[str, float]:
    scores: dict[str, float] = {name: float(text) for name, text in row.items() if text}
    scores["step"] = int(row["step"])
    return scores


class TensorBoardLog:
    """Curves for TensorBoard; does nothing where that is not installed."""

    def __init__(self, out: Path, step: int) -> None:
        self._writer: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(out / "tensorboard"), purge_step=step)

    @property
    def is_there(self) -> bool:
        """Whether TensorBoard is installed, so that anything is written."""
        return self._writer is not None

    def add(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Add a point to every curve of a group."""
        if self._writer is None:
            return
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write buffered points and close the files."""
        if self._writer is not None:
            self._writer.close()
