"""All scores of one model as tables in Markdown, generated from the reports of its runs.

One table for each kind of score: protocol, data set, method, number of items, figures. Baselines stand under the model,
from any report that scored them on the very same items; one that was scored in another run is marked. Below are the
figures that were published for the smallest SEEM under the nearest protocol, each with its source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from seem.checkpoints.safe import atomic_write
from seem.errors import UnusableFileError
from seem.evaluation.compare import (
    OWN_NOTE,
    ComparisonRow,
    LoadedReport,
    figure_text,
    published_key,
)
from seem.evaluation.formatting import (
    MODEL,
    NOC,
    describe_sample,
    format_figure,
    key_figures,
    markdown_table,
    method_label,
)
from seem.evaluation.interfaces import NO_MODEL
from seem.evaluation.protocols.composition import NAMED_CLICKS
from seem.regular_file import read_regular_file
from seem.zoo import PublishedScores, published_scores

BEGIN, END = "<!-- scores: generated, see seem evaluate --into -->", "<!-- scores: end -->"
SHOWN_FAMILY, SHOWN_BACKBONE = "SEEM", "FocalNet-T"

_HEADINGS = {
    "noc": "Clicks: mean IoU after each, clicks until 85 and 90%",
    "noc named": "Clicks beside the class name",
    "point": "One prompt of each kind: mean IoU",
    "cIoU": "Phrases and references",
    "refused": "Refusing what is not there",
    "PQ": "Panoptic quality",
    "AP": "Instances: mask AP",
    "mIoU": "Semantic segmentation",
    "J&F": "Video",
    "cIoU both": "A phrase and a stroke together",
    "changed": "Robustness: mean IoU after one click",
}
"""Headings of the tables, by the first figure of a score or by one of its keys."""

Question: TypeAlias = tuple[str, str, str, int, str]
"""Protocol, data set, split, minus the number of items, fingerprint of the items: larger samples sort first."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row of a table: an entry of a report."""

    report: LoadedReport
    entry: Mapping[str, Any]

    @property
    def question(self) -> Question:
        """What was scored: rows with the same question compare."""
        selection = self.entry["selection"]
        return (
            self.entry["protocol"],
            selection["set_name"],
            selection["split"],
            -selection["items"],
            selection["fingerprint"],
        )

    @property
    def heading(self) -> str:
        """The heading of its table."""
        kind = self._kind()
        return _HEADINGS.get(kind, kind or str(self.entry["protocol"]))

    def _kind(self) -> str:
        if self.entry["protocol"] == NAMED_CLICKS and "noc" in self.entry["scores"]:
            return "noc named"
        if "noc" in self.entry["scores"]:
            return "noc"
        if "changed" in self.entry["scores"]:
            return "changed"
        return next(iter(self.figures), "")

    @property
    def is_model(self) -> bool:
        """Whether the method is the model, in any setting."""
        return str(self.entry["contestant"]).startswith(MODEL)

    @property
    def figures(self) -> dict[str, float]:
        """The figures by name, without the mode of an open vocabulary, which is among the protocol's rules."""
        return {name.split(" (")[0]: value for name, value in key_figures(self.entry["scores"])}

    @property
    def run(self) -> tuple[Question, int]:
        """The question and the report in which it was scored."""
        return self.question, id(self.report)

    def cells(self, columns: Sequence[str]) -> list[str]:
        """Return protocol, data set, sample, method and the figures of the given columns."""
        selection = self.entry["selection"]
        cells = [
            self.entry["protocol"],
            selection["set_name"],
            describe_sample(self.entry["protocol"], selection),
            method_label(str(self.entry["contestant"]), f"**{self.report.model_name}**"),
        ]
        figures = self.figures
        for name in columns:
            if name in figures:
                cells.append(format_figure(name, figures[name]))
            else:
                cells.append("")
        return cells

    def published_keys(self) -> dict[str, str]:
        """Return the keys of the published figures that its figures correspond to, by name."""
        selection = self.entry["selection"]
        keys = {}
        for name in self.figures:
            row = ComparisonRow(
                data=f"{selection['set_name']}, {selection['split']}",
                kind=self.report.dataset_kind(dict(self.entry)),
                protocol=self.entry["protocol"],
                contestant=MODEL,
                figure=name,
                values=(),
            )
            published = published_key(row)
            if published is not None:
                keys[name] = published[0]
        return keys


def scoreboard(
    reports: Sequence[LoadedReport], published: Sequence[PublishedScores] | None = None
) -> str:
    """Return all scores of one model as Markdown; `ValueError` for reports of several models."""
    if not _is_one_model(reports):
        raise ValueError(
            "A table of all scores is of one model; leave out --into to set several beside each other."
        )
    if published is None:
        published = published_scores()
    sources = _Sources()
    parts = [_describe_run(reports)]
    for heading, rows in _group_by_heading(reports).items():
        columns = _columns(rows)
        head = ["protocol", "data", "taken on", "who", *columns]
        lines = [*_row_cells(rows, columns), *_published_cells(rows, columns, published, sources)]
        parts += [f"**{heading}**", markdown_table([head, *lines])]
    parts += sources.lines()
    if sources.numbers:
        parts.append(OWN_NOTE)
    return "\n\n".join(parts) + "\n"


def _is_one_model(reports: Sequence[LoadedReport]) -> bool:
    """Whether all reports are of the same weights, or of baselines alone."""
    models = set()
    for report in reports:
        if report.model_name != NO_MODEL:
            models.add((report.model_name, report.content["model"].get("sha256")))
    return len(models) == 1


@dataclass(frozen=True, slots=True)
class _Sources:
    """Numbered sources of published scores."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, source: str) -> int:
        """Return the number of a source; a new one gets the next number."""
        return self.numbers.setdefault(source, len(self.numbers) + 1)

    def lines(self) -> list[str]:
        """List the sources."""
        return [f"[{number}] {source}." for source, number in self.numbers.items()]


def _group_by_heading(reports: Sequence[LoadedReport]) -> dict[str, list[ScoreRow]]:
    """Group all rows by their heading, sorted by protocol and data set; for the same items the model's come first.

    Rows of baselines on items that the model was not scored on are left out: there is nothing to compare.
    """
    groups: dict[str, list[ScoreRow]] = {}
    for row in _rows_beside_the_model(reports):
        groups.setdefault(row.heading, []).append(row)
    return dict(sorted(groups.items(), key=lambda group: _heading_rank(group[0])))


def _rows_beside_the_model(reports: Sequence[LoadedReport]) -> list[ScoreRow]:
    """List the rows on items that the model was scored on, sorted."""
    rows = []
    for report in reports:
        for entry in report.entries:
            rows.append(ScoreRow(report, entry))
    questions = {row.question for row in rows if row.is_model}
    comparable = [row for row in rows if row.question in questions]
    return sorted(comparable, key=lambda row: (row.question, not row.is_model))


def _heading_rank(heading: str) -> int:
    """Return the position of a heading in the page; all others come last."""
    known = list(_HEADINGS.values())
    if heading in known:
        return known.index(heading)
    return len(known)


def _columns(rows: Sequence[ScoreRow]) -> list[str]:
    """Return the names of all figures of the model, in the order in which they first occur."""
    names: dict[str, None] = {}
    for row in rows:
        if row.is_model:
            names.update(dict.fromkeys(row.figures))
    return list(names)


def _row_cells(rows: Sequence[ScoreRow], columns: Sequence[str]) -> Iterator[list[str]]:
    """Return the cells of a table; a row on another sample or from another run than the one above is marked."""
    model_runs = {row.run for row in rows if row.is_model}
    samples: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        protocol, data, sample, method, *figures = row.cells(columns)
        fingerprint = row.question[-1]
        fingerprints = samples.setdefault((protocol, data, sample), [])
        if fingerprint not in fingerprints:
            fingerprints.append(fingerprint)
        number = fingerprints.index(fingerprint)
        if number:
            sample += f", draw {number + 1}"
        if row.run not in model_runs:
            method += ", in another run"
        yield [protocol, data, sample, method, *figures]


def _describe_run(reports: Sequence[LoadedReport]) -> str:
    """Return a line with the weights, the settings and the machine."""
    own = next(report for report in reports if report.model_name != NO_MODEL)
    model, machine = own.content["model"], own.content.get("machine", {})
    sizes = f"short side {model.get('short_side')}, long side at most {model.get('long_side')}"
    seeds = sorted({report.arguments.get("seed", 0) for report in reports})
    parts = [
        f"`{model['name']}` (sha256 {str(model.get('sha256'))[:16]}), {sizes}, {model.get('precision')}",
        f"on {machine.get('processor', 'an unknown processor')}",
        f"seed {', '.join(map(str, seeds))}",
    ]
    return (
        "; ".join(parts)
        + f". Percent, but for {NOC}: clicks, fewer is better. Rows of one protocol and data set that "
        "were taken on as many items were taken on the very same ones and, where nothing else is said, in one run."
    )


def _published_cells(
    rows: Sequence[ScoreRow],
    columns: Sequence[str],
    published: Sequence[PublishedScores],
    sources: _Sources,
) -> Iterator[list[str]]:
    """Return a row for each published model that has some of the figures."""
    keys: dict[str, str] = {}
    for row in rows:
        if row.is_model:
            for name, key in row.published_keys().items():
                keys.setdefault(name, key)
    for scores in published:
        if scores.family != SHOWN_FAMILY or scores.backbone != SHOWN_BACKBONE or scores.setting:
            continue
        figures = {}
        for name, key in keys.items():
            figure = scores.figure(key)
            if figure is not None:
                figures[name] = figure
        if figures:
            cells = [figure_text(figures.get(name)) for name in columns]
            data = next(iter(figures.values())).benchmark
            yield [
                "as published",
                data,
                "",
                f"{scores.model} [{sources.number(scores.source)}]",
                *cells,
            ]


# --- Into a page ------------------------------------------------------------------------------------------------------


def write_into(page: Path, text: str) -> None:
    """Replace the text between the two marks of a page.

    Raises `ValueError` for a page without the marks.
    """
    content = read_regular_file(page).decode("utf-8")
    has_marks = content.count(BEGIN) == 1 and content.count(END) == 1
    if not has_marks or content.index(BEGIN) > content.index(END):
        raise UnusableFileError(
            f"{page} has no place for the tables; write these two lines where they belong: {BEGIN} {END}"
        )
    before, after = content[: content.index(BEGIN)], content[content.index(END) + len(END) :]
    with atomic_write(page) as aside:
        aside.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
