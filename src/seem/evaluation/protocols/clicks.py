"""Clicks, rule `ritm`: a simulated user corrects one object click by click.

The protocol of RITM (Sofiiuk et al., 2021), on the pack: objects are `validation_objects`; one at a time, at the size
of the stored photo; the next click is `ritm_click` of this contestant's own answer; nobody stops early. Where nothing
is left to click on, the answer stands for all clicks to come. RITM cuts probabilities at 0.49; here the mask is that of
`Results`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from seem.data.pack import Pack, ValidationObject
from seem.evaluation.contestants import Answer, Contestant, Shown
from seem.evaluation.metrics.clicks import ClickScores
from seem.evaluation.metrics.overlap import Overlap
from seem.evaluation.report import Entry, Stopwatch
from seem.evaluation.selection import Selection, by_photo
from seem.evaluation.subject import Scored
from seem.simulation.next_click import Click, ritm_click

PROTOCOL = "clicks: ritm"
RULES = ("one object at a time", "original size", "no early stop", "mask: that of Results, probability > 0.5")


@dataclass(slots=True)
class _Tally:
    contestant: Contestant
    scores: ClickScores
    answering: Stopwatch = field(default_factory=Stopwatch)


def score_clicks(
    model: Scored,
    pack: Pack,
    objects: Sequence[ValidationObject],
    contestants: Sequence[Contestant],
    clicks: int = 10,
    step: Callable[[], object] = lambda: None,
) -> list[Entry]:
    """Let every contestant answer up to `clicks` clicks on each object; `step` is called after each object.

    Photos are encoded once, for all their objects and all contestants.
    """
    tallies = [_Tally(each, ClickScores(min(clicks, each.most_clicks or clicks))) for each in contestants]
    encoding, playing = Stopwatch(), Stopwatch()
    for photo, group in by_photo(objects):
        pixels = pack.image(photo)
        with encoding.running():
            seen = model.encode(pixels)
        shown = Shown(pixels, seen)
        for item in group:
            truth = item.truth.mask()
            with playing.running():
                for tally in tallies:
                    answer = _timed(tally.contestant.begin(shown), tally.answering)
                    tally.scores.update(click_through(truth, answer, tally.scores.clicks))
            step()
    return _entries(tallies, Selection.of_objects(pack.name, pack.split, objects), encoding, playing)


def click_through(truth: Bool[np.ndarray, "h w"], answer: Answer, clicks: int) -> list[float]:
    """Play the user of one object; return the IoU (0-1) after every click."""
    predicted, clicked = np.zeros_like(truth), np.zeros_like(truth)
    said: list[Click] = []
    ious: list[float] = []
    while len(ious) < clicks:
        click = ritm_click(truth, predicted, clicked)
        if click is None:
            last = Overlap.of(predicted, truth).iou
            return ious + [last] * (clicks - len(ious))
        said.append(click)
        clicked[click.y, click.x] = True
        predicted = answer(said)
        ious.append(Overlap.of(predicted, truth).iou)
    return ious


def _timed(answer: Answer, watch: Stopwatch) -> Answer:
    def timed(clicks: Sequence[Click]) -> Bool[np.ndarray, "h w"]:
        with watch.running():
            return answer(clicks)

    return timed


def _entries(tallies: Iterable[_Tally], selection: Selection, encoding: Stopwatch, playing: Stopwatch) -> list[Entry]:
    """Report every contestant; `whole object` is all contestants' answers with the user's own time."""
    return [
        Entry(
            protocol=PROTOCOL,
            contestant=tally.contestant.name,
            selection=selection,
            scores=tally.scores.compute(),
            timings={"encode": encoding.read(), "click": tally.answering.read(), "whole object": playing.read()},
            rules=RULES,
        )
        for tally in tallies
    ]
