"""Reports beside each other, and beside what the authors of the originals published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seem.evaluation.formatting import MODEL, columns, figures, markdown, taken_on, who, written
from seem.evaluation.interfaces import NO_MODEL
from seem.evaluation.protocols import clicks_seem, full_image, phrases, prompt_kinds
from seem.evaluation.report import EvaluationReport
from seem.zoo import PublishedScores, published_scores

OTHER = "*"
OTHER_NOTE = f"{OTHER} other photos, objects or rules than in the first report: the two do not compare."
OWN_NOTE = (
    "Own photos, or some of the photos or classes alone: not what the published figures were measured on. The two "
    "stand beside each other and do not compare."
)


@dataclass(frozen=True, slots=True)
class LoadedReport:
    """A report as its file tells it; `label` names it in tables."""

    label: str
    content: dict[str, Any]

    @classmethod
    def of(cls, report: EvaluationReport) -> LoadedReport:
        """Tell a report that was just made."""
        return cls(report.model.name, json.loads(report.to_json()))

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Its lines."""
        return list(self.content["entries"])

    def kind(self, entry: dict[str, Any]) -> str:
        """Return the format of the data set of a line."""
        wanted = entry["selection"]["set_name"]
        return next((str(card["kind"]) for card in self.content.get("data", ()) if card["name"] == wanted), "")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, in every report that has it: its value, and whether it is of the same photos, objects and rules.

    `taken` says on what, once or, where reports differ, for each.
    """

    data: str
    kind: str
    protocol: str
    contestant: str
    figure: str
    values: tuple[tuple[float, bool] | None, ...]
    taken: str = ""

    def head(self, model: str) -> list[str]:
        """Write whose figure it is, of what."""
        return [self.data, self.protocol, who(self.contestant, model), self.taken, self.figure]

    def cells(self) -> list[str]:
        """Write the values."""
        return [
            "" if found is None else written(self.figure, found[0]) + ("" if found[1] else OTHER)
            for found in self.values
        ]


def read_reports(paths: Sequence[Path]) -> list[LoadedReport]:
    """Read the files of several runs.

    Raises:
        ValueError: no file, or one that is no report.
        OSError: a file that cannot be read.
    """
    if not paths:
        raise ValueError("There is nothing to compare; name the JSON files of two runs or more.")
    contents = [_read(path) for path in paths]
    names = [str(content["model"]["name"]) for content in contents]
    labels = [
        name if names.count(name) == 1 else f"{name} ({path.stem})" for name, path in zip(names, paths, strict=True)
    ]
    return [LoadedReport(label, content) for label, content in zip(labels, contents, strict=True)]


def _read(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        content = json.loads(text)
        known = {"entries", "model"} <= content.keys() and "name" in content["model"]
    except (ValueError, AttributeError, TypeError):
        known = False
    if not known:
        raise ValueError(f"{path} is no report of `seem evaluate`.")
    return dict(content)


def rows_of(reports: Sequence[LoadedReport]) -> list[Row]:
    """Bring the figures of all reports together, in the order in which they first appear."""
    found: dict[tuple[str, str, str, str, str], list[tuple[float, str, str] | None]] = {}
    for number, report in enumerate(reports):
        for entry in report.entries:
            chosen = entry["selection"]
            same = json.dumps([chosen["fingerprint"], entry["rules"]])
            data = f"{chosen['set_name']}, {chosen['split']}"
            for name, value in figures(entry["scores"]):
                key = (data, report.kind(entry), entry["protocol"], entry["contestant"], name)
                taken = taken_on(entry["protocol"], chosen)
                found.setdefault(key, [None] * len(reports))[number] = (value, same, taken)
    return [Row(*key, tuple(_compared(values)), _taken(values)) for key, values in found.items()]


def _compared(values: Sequence[tuple[float, str, str] | None]) -> Iterator[tuple[float, bool] | None]:
    first = next(found for found in values if found is not None)
    for found in values:
        yield None if found is None else (found[0], found[1] == first[1])


def _taken(values: Sequence[tuple[float, str, str] | None]) -> str:
    told = [found[2] for found in values if found is not None]
    return "; ".join(dict.fromkeys(told))


HEAD = ("data", "protocol", "who", "taken on", "figure")


def _model(reports: Sequence[LoadedReport]) -> str:
    """Name the model that all reports are of; of several models each has a column."""
    names = {str(report.content["model"]["name"]) for report in reports} - {NO_MODEL}
    return names.pop() if len(names) == 1 else MODEL


def comparison_table(reports: Sequence[LoadedReport]) -> str:
    """Set reports beside each other for a terminal."""
    rows = rows_of(reports)
    head = [*HEAD, *(report.label for report in reports)]
    body = [[*row.head(_model(reports)), *row.cells()] for row in rows]
    return "\n".join([columns([head, *body]), *_notes(rows)])


def _notes(rows: Sequence[Row]) -> list[str]:
    return [OTHER_NOTE] if any(found is not None and not found[1] for row in rows for found in row.values) else []


# --- Beside the published scores --------------------------------------------------------------------------------------


def results_markdown(reports: Sequence[LoadedReport], published: Sequence[PublishedScores] | None = None) -> str:
    """Write our results as Markdown, beside the published scores of the originals, each with its source."""
    rows = rows_of(reports)
    labels = [report.label for report in reports]
    body = [[*row.head(_model(reports)), *row.cells()] for row in rows]
    parts = [markdown([[*HEAD, *labels], *body]), *_notes(rows)]
    asked = [report.content.get("arguments", {}) for report in reports]
    whole = not any(each.get("at_most") or each.get("classes") for each in asked)
    parts += list(_beside(rows, labels, published_scores() if published is None else published, whole))
    return "\n\n".join(parts) + "\n"


def _beside(
    rows: Sequence[Row], labels: Sequence[str], published: Sequence[PublishedScores], whole: bool
) -> Iterator[str]:
    """Write a table for every data set of ours that the authors have a score of; `whole`: nothing was left out."""
    keyed: dict[str, list[tuple[str, bool, Row]]] = {}
    for row in rows:
        found = published_key(row)
        if found is not None and row.contestant == MODEL:
            keyed.setdefault(row.data, []).append((*found, row))
    for data, columns_of in keyed.items():
        keys = [key for key, _, _ in columns_of]
        known = {figure.key: figure for scores in published for figure in scores.figures}
        heads = [f"{known[key].benchmark}: {known[key].metric}" for key in keys if key in known]
        keys = [key for key in keys if key in known]
        if not keys:
            continue
        lines = [["network", *heads, "source"]]
        for number, label in enumerate(labels):
            cells = [row.cells()[number] for key, _, row in columns_of if key in known]
            if any(cells):
                lines.append([f"**{label}**", *cells, f"ours, on {data}"])
        for scores in published:
            texts = [figure.text if (figure := scores.figure(key)) else "" for key in keys]
            if any(texts):
                remarks = "; ".join(filter(None, (scores.setting, scores.note)))
                lines.append([scores.model, *texts, scores.source + (f" ({remarks})" if remarks else "")])
        yield markdown(lines)
        if not (whole and all(same for _, same, _ in columns_of)):
            yield OWN_NOTE


KINDS = {"point": "point", "circle": "stroke", "scribble": "scribble", "polygon": "polygon", "box": "box"}
"""Our kinds of prompt by the words of the paper's table."""

_WHOLE = {
    full_image.PANOPTIC: ("PQ", "pq"),
    full_image.INSTANCE: ("AP", "map"),
    full_image.SEMANTIC: ("mIoU", "miou"),
}
_WHOLE_SETS = {
    "coco": "coco", "ade20k": "ade150", "ade20k_full": "ade847", "cityscapes": "cityscapes", "bdd100k": "bdd",
    "bdd100k_panoptic": "bdd", "sunrgbd": "sun", "scannet20": "scannet", "scannet40": "scannet40",
}  # fmt: skip
_PROMPT_SETS = {"coco": "coco", "openimages": "openimages", "ade20k": "ade", "ade20k_full": "ade"}
_REFERRING = {"cIoU": "refcocog_ciou", "mIoU": "refcocog_miou", "P@0.5": "refcocog_ap50"}


def published_key(row: Row) -> tuple[str, bool] | None:
    """Return the key of the published figure that a row answers to, and whether it is of the same photos."""
    name = row.data.split(",")[0]
    own = row.kind == "pack"
    kind = {"coco_full": "coco", "voc_general": "voc"}.get(name, "") if own else row.kind
    figure = row.figure.split(" (")[0]  # without the mode of an open vocabulary
    match row.protocol:
        case full_image.PANOPTIC | full_image.INSTANCE | full_image.SEMANTIC as task:
            wanted, suffix = _WHOLE[task]
            return (f"{_WHOLE_SETS[kind]}_{suffix}", not own) if figure == wanted and kind in _WHOLE_SETS else None
        case prompt_kinds.PROTOCOL:
            return (f"{_PROMPT_SETS[kind]}_{KINDS[figure]}", False) if kind in _PROMPT_SETS else None
        case clicks_seem.PROTOCOL if kind == "voc" and figure.startswith("NoC"):
            most, _, threshold = figure.removeprefix("NoC").partition("@")
            return f"voc_noc{threshold}_{most}", not own
        case phrases.REFERRING if (name == "refcocog" or kind == "coco") and figure in _REFERRING:
            return _REFERRING[figure], not own
    return None
