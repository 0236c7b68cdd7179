"""All scores of one model as tables in Markdown, generated from the reports of its runs.

One table for each kind of score: what was asked, of which data, who answered, on how many items, what came out.
Baselines stand under the model, from any report that asked them for the very same items; one that answered in another
run says so. Below are the figures that
were published for the smallest SEEM under the nearest protocol, each with its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seem.checkpoints.safe import atomic_write
from seem.evaluation.compare import OWN_NOTE, LoadedReport, Row, published_key
from seem.evaluation.formatting import CLICKS, MODEL, figures, markdown, taken_on, who, written
from seem.evaluation.interfaces import NO_MODEL
from seem.evaluation.protocols.composition import CLICKS as NAMED
from seem.zoo import PublishedScores, published_scores

BEGIN, END = "<!-- scores: generated, see seem evaluate --into -->", "<!-- scores: end -->"
SHOWN_FAMILY, SHOWN_BACKBONE = "SEEM", "FocalNet-T"

_HEADINGS = {
    "noc": "Clicks: mean IoU after each, clicks until 85 and 90%",
    "noc told": "Clicks beside the class name",
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


@dataclass(frozen=True, slots=True)
class Score:
    """One line of a report: who was asked what, on which items, and what came out."""

    told: LoadedReport
    entry: Mapping[str, Any]

    @property
    def question(self) -> tuple[str, str, str, int, str]:
        """What was asked, of which data and items there; larger draws come first."""
        chosen = self.entry["selection"]
        return self.entry["protocol"], chosen["set_name"], chosen["split"], -chosen["items"], chosen["fingerprint"]

    @property
    def heading(self) -> str:
        """The kind of the score, in words."""
        kind = next((name for name in ("noc", "changed") if name in self.entry["scores"]), next(iter(self.figures), ""))
        if kind == "noc" and self.entry["protocol"] == NAMED:
            kind = "noc told"
        return _HEADINGS.get(kind, kind or str(self.entry["protocol"]))

    @property
    def is_model(self) -> bool:
        """Whether the model itself answered, in whichever way."""
        return str(self.entry["contestant"]).startswith(MODEL)

    @property
    def figures(self) -> dict[str, float]:
        """What came out, by name."""
        return {_short(name): value for name, value in figures(self.entry["scores"])}

    @property
    def run(self) -> tuple[tuple[str, str, str, int, str], int]:
        """The question, and the report in which it was asked."""
        return self.question, id(self.told)

    def cells(self, columns: Sequence[str]) -> list[str]:
        """Write the line."""
        chosen, values, protocol = self.entry["selection"], self.figures, self.entry["protocol"]
        answered = who(str(self.entry["contestant"]), f"**{_name(self.told)}**")
        return [
            protocol, chosen["set_name"], taken_on(protocol, chosen), answered,
            *("" if name not in values else written(name, values[name]) for name in columns),
        ]  # fmt: skip


def _is_one_model(reports: Sequence[LoadedReport]) -> bool:
    """Whether all reports are of the same weights, or of baselines alone."""
    models = {(told.content["model"]["name"], told.content["model"].get("sha256")) for told in reports}
    return len({model for model in models if model[0] != NO_MODEL}) == 1


def scoreboard(reports: Sequence[LoadedReport], published: Sequence[PublishedScores] | None = None) -> str:
    """Write all scores of one model; `ValueError` for reports of several."""
    if not _is_one_model(reports):
        raise ValueError("A table of all scores is of one model; leave out --into to set several beside each other.")
    known = published_scores() if published is None else published
    sources: dict[str, int] = {}
    parts = [_what_was_run(reports)]
    for heading, scores in _groups(reports).items():
        columns = list(dict.fromkeys(name for score in scores if score.is_model for name in score.figures))
        head = ["protocol", "data", "taken on", "who", *columns]
        lines = list(_lines(scores, columns))
        lines += _published(scores, columns, known, sources)
        parts += [f"**{heading}**", markdown([head, *lines])]
    parts += [f"[{number}] {source}." for source, number in sources.items()]
    return "\n\n".join(parts + ([OWN_NOTE] if sources else [])) + "\n"


def _lines(scores: Sequence[Score], columns: Sequence[str]) -> Iterator[list[str]]:
    """Write the lines of a table; what only looks like the line above, another draw or another run, says so."""
    beside = {score.run for score in scores if score.is_model}
    draws: dict[tuple[str, ...], list[str]] = {}
    for score in scores:
        protocol, data, taken, answered, *rest = score.cells(columns)
        drawn = draws.setdefault((protocol, data, taken), [])
        if (fingerprint := score.question[-1]) not in drawn:
            drawn.append(fingerprint)
        if number := drawn.index(fingerprint):
            taken += f", draw {number + 1}"
        if score.run not in beside:
            answered += ", in another run"
        yield [protocol, data, taken, answered, *rest]


def _name(told: LoadedReport) -> str:
    return str(told.content["model"]["name"])


def _short(name: str) -> str:
    return name.split(" (")[0]  # without the mode of an open vocabulary, which the protocol's rules say


def _groups(reports: Sequence[LoadedReport]) -> dict[str, list[Score]]:
    """Sort all lines by the kind of their score, then by protocol and data; of the same items the model's come first.

    Whoever else was asked of items that the model was not is left out: there is nothing to compare.
    """
    scores = [Score(told, entry) for told in reports for entry in told.entries]
    asked = {score.question for score in scores if score.is_model}
    shown = [score for score in scores if score.question in asked]
    shown.sort(key=lambda score: (score.question, not score.is_model))
    found: dict[str, list[Score]] = {heading: [] for heading in _HEADINGS.values()}
    for score in shown:
        found.setdefault(score.heading, []).append(score)
    return {heading: those for heading, those in found.items() if those}


def _what_was_run(reports: Sequence[LoadedReport]) -> str:
    """Say in a line which weights answered, how and where."""
    own = next(told for told in reports if _name(told) != NO_MODEL)
    card, machine = own.content["model"], own.content.get("machine", {})
    sizes = f"short side {card.get('short_side')}, long side at most {card.get('long_side')}"
    seeds = sorted({told.content.get("arguments", {}).get("seed", 0) for told in reports})
    words = [
        f"`{card['name']}` (sha256 {str(card.get('sha256'))[:16]}), {sizes}, {card.get('precision')}",
        f"on {machine.get('processor', 'an unknown processor')}",
        f"seed {', '.join(map(str, seeds))}",
    ]
    return (
        "; ".join(words)
        + f". Percent, but for {CLICKS}: clicks, fewer is better. Rows of one protocol and data set that "
        "were taken on as many items were taken on the very same ones and, where nothing else is said, in one run."
    )


def _published(
    scores: Sequence[Score], columns: Sequence[str], published: Sequence[PublishedScores], sources: dict[str, int]
) -> Iterator[list[str]]:
    """Write what the authors report for the figures of a table."""
    keys: dict[str, str] = {}
    for score in scores:
        chosen, protocol = score.entry["selection"], score.entry["protocol"]
        data = f"{chosen['set_name']}, {chosen['split']}"
        for name in score.figures if score.is_model else ():
            row = Row(data, score.told.kind(dict(score.entry)), protocol, MODEL, name, ())
            if (found := published_key(row)) is not None:
                keys.setdefault(name, found[0])
    for each in published:
        if each.family != SHOWN_FAMILY or each.backbone != SHOWN_BACKBONE or each.setting:
            continue
        said = {name: figure for name, key in keys.items() if (figure := each.figure(key)) is not None}
        if said:
            number = sources.setdefault(each.source, len(sources) + 1)
            data = next(iter(said.values())).benchmark
            cells = [said[name].text if name in said else "" for name in columns]
            yield ["as published", data, "", f"{each.model} [{number}]", *cells]


# --- Into a page ------------------------------------------------------------------------------------------------------


def write_into(page: Path, text: str) -> None:
    """Put generated tables between the two marks of a page.

    Raises `ValueError` for a page without the marks.
    """
    content = page.read_text(encoding="utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1 or content.index(BEGIN) > content.index(END):
        raise ValueError(f"{page} has no place for the tables; write these two lines where they belong: {BEGIN} {END}")
    place = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    with atomic_write(page) as aside:
        aside.write_text(place.sub(lambda _: f"{BEGIN}\n\n{text}\n{END}", content), encoding="utf-8")
