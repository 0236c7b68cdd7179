"""Which protocols are run on which sets of the photo pack, and in which order."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from seem.data.pack import Pack, PackError, validation_objects
from seem.evaluation.contestants import CONTESTANTS, Contestant
from seem.evaluation.protocols.clicks import score_clicks
from seem.evaluation.protocols.phrases import named_photos, score_phrases
from seem.evaluation.protocols.prompt_kinds import score_prompt_kinds
from seem.evaluation.protocols.whole_photo import panoptic_photos, score_whole_photos
from seem.evaluation.report import Entry
from seem.evaluation.selection import drawn
from seem.evaluation.subject import Scored
from seem.simulation.strokes import PolygonRule

SPLIT = "val"


class Task(enum.Enum):
    """What is measured."""

    CLICKS = "clicks"
    PROMPTS = "prompts"
    PHRASES = "phrases"
    PANOPTIC = "panoptic"


_CLICK_SETS = ("coco_full", "voc_general", "open_mix", "duts")

SETS: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {
        Task.CLICKS: _CLICK_SETS,
        Task.PROMPTS: _CLICK_SETS,
        Task.PHRASES: ("coco_full", "voc_animals", "voc_general"),
        Task.PANOPTIC: ("coco_full",),
    }
)
"""Sets of the pack that a task is measured on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    `sets`: None = all of `SETS`. `max_objects`: of every set and task so many objects, or photos where a task goes by
    photos, drawn with `seed`; None = all.
    """

    tasks: tuple[Task, ...] = tuple(Task)
    sets: tuple[str, ...] | None = None
    contestants: tuple[Contestant, ...] = CONTESTANTS[:4]
    clicks: int = 10
    max_objects: int | None = None
    seed: int = 0
    polygon_rule: PolygonRule = PolygonRule.FILLED

    def steps(self) -> list[tuple[Task, str]]:
        """List tasks with their sets; `ValueError` if there is nothing to run."""
        steps = [(task, name) for task in self.tasks for name in SETS[task] if self.sets is None or name in self.sets]
        if not steps:
            wanted = ", ".join(task.value for task in self.tasks)
            raise ValueError(f"No set is left for {wanted}; they run on {', '.join(_CLICK_SETS)}, voc_animals.")
        return steps


def evaluate(model: Scored, data: Path, plan: Plan) -> Iterator[list[Entry]]:
    """Run a plan on the pack's root folder, one task on one set after the other.

    Raises:
        PackError: a set is missing.
    """
    for task, name in plan.steps():
        folder = data / name
        if not folder.is_dir():
            raise PackError(f"{data} holds no set {name}; give the pack's root folder, or leave the set out.")
        yield run_task(model, Pack.open(folder, SPLIT), task, plan)


def run_task(model: Scored, pack: Pack, task: Task, plan: Plan) -> list[Entry]:
    """Run one task on one set."""
    title = f"{task.value} {pack.name}"
    match task:
        case Task.CLICKS:
            objects = drawn(validation_objects(pack), plan.max_objects, plan.seed)
            with progress(len(objects), title) as step:
                return score_clicks(model, pack, objects, plan.contestants, plan.clicks, step)
        case Task.PROMPTS:
            objects = drawn(validation_objects(pack), plan.max_objects, plan.seed)
            with progress(len(objects), title) as step:
                return score_prompt_kinds(model, pack, objects, plan.polygon_rule, step)
        case Task.PHRASES:
            named = drawn(named_photos(pack), plan.max_objects, plan.seed)
            with progress(len(named), title) as step:
                return score_phrases(model, pack, named, step)
        case Task.PANOPTIC:
            photos = drawn(panoptic_photos(pack), plan.max_objects, plan.seed)
            with progress(len(photos), title) as step:
                return score_whole_photos(model, pack, photos, step)


@contextmanager
def progress(count: int, title: str) -> Iterator[Callable[[], object]]:
    """Show a bar on standard error; yields what to call after each of `count` pieces."""
    from tqdm import tqdm

    with tqdm(total=count, desc=title, dynamic_ncols=True) as bar:
        yield bar.update
