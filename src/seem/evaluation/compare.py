"""Compares reports with each other, and with the scores that the authors of the original models published."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seem.data.dataset import ALL_SPLIT
from seem.errors import UnusableFileError
from seem.evaluation.formatting import (
    MODEL,
    NOC,
    align_columns,
    describe_sample,
    format_figure,
    key_figures,
    markdown_table,
    method_label,
)
from seem.evaluation.interfaces import NO_MODEL
from seem.evaluation.protocols import clicks_seem, full_image, phrases, prompt_kinds
from seem.evaluation.report import EvaluationReport
from seem.regular_file import read_regular_file
from seem.zoo import PublishedFigure, PublishedScores, published_scores

DIFFERENT_MARK = "*"
DIFFERENT_NOTE = f"{DIFFERENT_MARK} other photos, objects or rules than in the first report: the two do not compare."
OWN_NOTE = (
    "Own photos, or some of the photos or classes alone: not what the published figures were measured on. The two "
    "stand beside each other and do not compare."
)


@dataclass(frozen=True, slots=True)
class LoadedReport:
    """The content of a report file, and the label of the report in tables."""

    label: str
    content: dict[str, Any]

    @classmethod
    def of(cls, report: EvaluationReport) -> LoadedReport:
        """Convert a report that was just made."""
        return cls(report.model.name, json.loads(report.to_json()))

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries of the report."""
        return list(self.content["entries"])

    @property
    def model_name(self) -> str:
        """The name of the model."""
        return _model_name(self.content)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the run."""
        arguments: dict[str, Any] = self.content.get("arguments", {})
        return arguments

    @property
    def is_partial(self) -> bool:
        """Whether some of the photos or classes alone were scored."""
        return bool(self.arguments.get("at_most") or self.arguments.get("classes"))

    def dataset(self, name: str) -> dict[str, Any]:
        """Return the description of a data set; empty for an unknown one."""
        for description in self.content.get("data", ()):
            if description["name"] == name:
                return dict(description)
        return {}

    def dataset_kind(self, entry: dict[str, Any]) -> str:
        """Return the format of the data set of an entry."""
        return str(self.dataset(entry["selection"]["set_name"]).get("kind", ""))


@dataclass(frozen=True, slots=True)
class ComparedValue:
    """A figure in one report, and whether photos, objects and rules are those of the first report that has it."""

    value: float
    is_same: bool


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One figure in several reports.

    Attributes:
        data: name and split of the data set.
        kind: format of the data set.
        protocol: name of the protocol.
        contestant: name of the method.
        figure: name of the figure.
        values: its value in each report; None where a report does not have it.
        sample: on how many items; where reports differ, for each.
    """

    data: str
    kind: str
    protocol: str
    contestant: str
    figure: str
    values: tuple[ComparedValue | None, ...]
    sample: str = ""

    def head(self, model: str) -> list[str]:
        """Return the cells that describe the figure."""
        return [
            self.data,
            self.protocol,
            method_label(self.contestant, model),
            self.sample,
            self.figure,
        ]

    def cells(self) -> list[str]:
        """Return the cells with its values."""
        return list(map(self._cell, self.values))

    def _cell(self, compared: ComparedValue | None) -> str:
        if compared is None:
            return ""
        text = format_figure(self.figure, compared.value)
        if compared.is_same:
            return text
        return text + DIFFERENT_MARK

    @property
    def has_difference(self) -> bool:
        """Whether a report has other photos, objects or rules than the first."""
        return any(map(_is_different, self.values))


def _is_different(compared: ComparedValue | None) -> bool:
    return compared is not None and not compared.is_same


def read_reports(paths: Sequence[Path]) -> list[LoadedReport]:
    """Read report files.

    Raises:
        ValueError: there is no file, or one is not a report.
        OSError: a file cannot be read.
    """
    if not paths:
        raise ValueError("There is nothing to compare; name the JSON files of two runs or more.")
    contents = list(map(_read_report, paths))
    num_reports_of = Counter(map(_model_name, contents))
    reports = []
    for path, content in zip(paths, contents, strict=True):
        label = _model_name(content)
        if num_reports_of[label] > 1:
            label = f"{label} ({path.stem})"
        reports.append(LoadedReport(label, content))
    return reports


def _model_name(content: Mapping[str, Any]) -> str:
    return str(content["model"]["name"])


def _read_report(path: Path) -> dict[str, Any]:
    text = read_regular_file(path)
    try:
        content = json.loads(text)
        is_report = {"entries", "model"} <= content.keys() and "name" in content["model"]
    except (ValueError, AttributeError, TypeError):
        is_report = False
    if not is_report:
        raise UnusableFileError(f"{path} is no report of `seem evaluate`.")
    return dict(content)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A figure in one report: its value, what identifies photos, objects and rules, and the size of the sample."""

    value: float
    identity: str
    sample: str


def comparison_rows(reports: Sequence[LoadedReport]) -> list[ComparisonRow]:
    """Collect the figures of all reports, in the order in which they first occur."""
    comparison_table: dict[tuple[str, str, str, str, str], list[_Measured | None]] = {}
    for column, report in enumerate(reports):
        for entry in report.entries:
            selection = entry["selection"]
            data = f"{selection['set_name']}, {selection['split']}"
            identity = json.dumps([selection["fingerprint"], entry["rules"]])
            sample = describe_sample(entry["protocol"], selection)
            for name, value in key_figures(entry["scores"]):
                key = (
                    data,
                    report.dataset_kind(entry),
                    entry["protocol"],
                    entry["contestant"],
                    name,
                )
                measured = comparison_table.setdefault(key, [None] * len(reports))
                measured[column] = _Measured(value, identity, sample)
    return [_comparison_row(*key, measured) for key, measured in comparison_table.items()]


def _comparison_row(
    data: str,
    kind: str,
    protocol: str,
    contestant: str,
    figure: str,
    measured: Sequence[_Measured | None],
) -> ComparisonRow:
    first: _Measured | None = None
    values: list[ComparedValue | None] = []
    samples: dict[str, None] = {}
    for each in measured:
        if each is None:
            values.append(None)
            continue
        first = first or each
        values.append(ComparedValue(each.value, each.identity == first.identity))
        samples[each.sample] = None
    return ComparisonRow(
        data=data,
        kind=kind,
        protocol=protocol,
        contestant=contestant,
        figure=figure,
        values=tuple(values),
        sample="; ".join(samples),
    )


HEAD = ("data", "protocol", "who", "taken on", "figure")


def _model_label(reports: Sequence[LoadedReport]) -> str:
    """Return the name of the model of all reports, or "model" where there are several, each with a column."""
    names = {report.model_name for report in reports} - {NO_MODEL}
    if len(names) == 1:
        return names.pop()
    return MODEL


def comparison_table(reports: Sequence[LoadedReport]) -> str:
    """Return a table of all figures, with a column for each report, for a terminal."""
    rows = comparison_rows(reports)
    return "\n".join([align_columns(_table_cells(rows, reports)), *_notes(rows)])


def _table_cells(rows: Sequence[ComparisonRow], reports: Sequence[LoadedReport]) -> list[list[str]]:
    model = _model_label(reports)
    cells = [[*HEAD, *_labels(reports)]]
    for row in rows:
        cells.append([*row.head(model), *row.cells()])
    return cells


def _labels(reports: Sequence[LoadedReport]) -> list[str]:
    return [report.label for report in reports]


def _notes(rows: Sequence[ComparisonRow]) -> list[str]:
    for row in rows:
        if row.has_difference:
            return [DIFFERENT_NOTE]
    return []


# --- Published scores -------------------------------------------------------------------------------------------------


def results_markdown(
    reports: Sequence[LoadedReport], published: Sequence[PublishedScores] | None = None
) -> str:
    """Return all figures as Markdown, then tables with the published scores of the originals and their sources."""
    rows = comparison_rows(reports)
    parts = [markdown_table(_table_cells(rows, reports)), *_notes(rows)]
    is_partial = any(report.is_partial for report in reports)
    if published is None:
        published = published_scores()
    heads = _published_heads(published)
    for data, columns in _published_columns(rows).items():
        published_columns = [column for column in columns if column.key in heads]
        if not published_columns:
            continue
        cells = _published_table(data, _labels(reports), published_columns, heads, published)
        parts.append(markdown_table(cells))
        if is_partial or not all(column.is_same_benchmark for column in columns):
            parts.append(OWN_NOTE)
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True, slots=True)
class _PublishedColumn:
    """A figure that may be published: its key, our row, and whether ours is of the same images."""

    key: str
    row: ComparisonRow
    is_same_benchmark: bool


def _published_heads(published: Sequence[PublishedScores]) -> dict[str, str]:
    """Return the head of the column of each published figure, by its key."""
    heads = {}
    for scores in published:
        for figure in scores.figures:
            heads[figure.key] = f"{figure.benchmark}: {figure.metric}"
    return heads


def _published_columns(rows: Sequence[ComparisonRow]) -> dict[str, list[_PublishedColumn]]:
    """Return the figures of the model that may be published, by data set."""
    columns: dict[str, list[_PublishedColumn]] = {}
    for row in rows:
        published = published_key(row)
        if published is not None and row.contestant == MODEL:
            key, is_same_benchmark = published
            columns.setdefault(row.data, []).append(_PublishedColumn(key, row, is_same_benchmark))
    return columns


def _published_table(
    data: str,
    labels: Sequence[str],
    columns: Sequence[_PublishedColumn],
    heads: Mapping[str, str],
    published: Sequence[PublishedScores],
) -> list[list[str]]:
    """Return a row for each of our reports and for each published model."""
    keys = [column.key for column in columns]
    table = [["network", *map(heads.__getitem__, keys), "source"]]
    for index, label in enumerate(labels):
        cells = [column.row.cells()[index] for column in columns]
        if any(cells):
            table.append([f"**{label}**", *cells, f"ours, on {data}"])
    for scores in published:
        cells = [figure_text(scores.figure(key)) for key in keys]
        if any(cells):
            table.append([scores.model, *cells, _source(scores)])
    return table


def figure_text(figure: PublishedFigure | None) -> str:
    """Return the text of a published figure; "" where there is none."""
    if figure is None:
        return ""
    return figure.text


def _source(scores: PublishedScores) -> str:
    remarks = "; ".join(filter(None, (scores.setting, scores.note)))
    if not remarks:
        return scores.source
    return f"{scores.source} ({remarks})"


PROMPT_KIND_KEYS = {
    "point": "point",
    "circle": "stroke",
    "scribble": "scribble",
    "polygon": "polygon",
    "box": "box",
}
"""Our kinds of prompts, and what the table of the paper calls them."""

_FULL_IMAGE_FIGURES = {
    full_image.PANOPTIC: ("PQ", "pq"),
    full_image.INSTANCE: ("AP", "map"),
    full_image.SEMANTIC: ("mIoU", "miou"),
}
_FULL_IMAGE_DATASETS = {
    "coco": "coco",
    "ade20k": "ade150",
    "ade20k_full": "ade847",
    "cityscapes": "cityscapes",
    "bdd100k": "bdd",
    "bdd100k_panoptic": "bdd",
    "sunrgbd": "sun",
    "scannet20": "scannet",
    "scannet40": "scannet40",
}
_PROMPT_DATASETS = {
    "coco": "coco",
    "openimages": "openimages",
    "ade20k": "ade",
    "ade20k_full": "ade",
}
_REFERRING_KEYS = {"cIoU": "refcocog_ciou", "mIoU": "refcocog_miou", "P@0.5": "refcocog_ap50"}
_PACK_KINDS = {"coco_full": "coco", "voc_general": "voc"}


def published_key(row: ComparisonRow) -> tuple[str, bool] | None:
    """Return the key of the published figure that a row corresponds to, and whether it is of the same images."""
    name = row.data.split(",")[0]
    kind = row.kind
    # A data set without parts is somebody's own, in the format of the benchmark.
    is_own = kind == "pack" or row.data.endswith(f", {ALL_SPLIT}")
    if kind == "pack":
        kind = _PACK_KINDS.get(name, "")
    figure = row.figure.split(" (")[0]  # without the mode of an open vocabulary
    is_refcocog = name == "refcocog" or kind == "coco"
    if row.protocol in _FULL_IMAGE_FIGURES:
        measured_figure, suffix = _FULL_IMAGE_FIGURES[row.protocol]
        if figure == measured_figure and kind in _FULL_IMAGE_DATASETS:
            return f"{_FULL_IMAGE_DATASETS[kind]}_{suffix}", not is_own
    elif row.protocol == prompt_kinds.PROTOCOL:
        if kind in _PROMPT_DATASETS:
            return f"{_PROMPT_DATASETS[kind]}_{PROMPT_KIND_KEYS[figure]}", False
    elif row.protocol == clicks_seem.PROTOCOL and kind == "voc" and figure.startswith(NOC):
        maximum, _, threshold = figure.removeprefix(NOC).partition("@")
        return f"voc_noc{threshold}_{maximum}", not is_own
    elif row.protocol == phrases.REFERRING and figure in _REFERRING_KEYS and is_refcocog:
        return _REFERRING_KEYS[figure], not is_own
    return None
