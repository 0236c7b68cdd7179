"""Which protocols answer which task, on which data sets and for which models; and what is asked for in one run."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from seem.api import Model
from seem.data.dataset import Dataset, LazyDataset, video_frames
from seem.data.opening import DatasetSpec, list_splits, open_dataset
from seem.data.pack import Pack
from seem.data.subset import Subset
from seem.evaluation.benchmark import Measure
from seem.evaluation.click_methods import BASELINES, CLOSER, CONTESTANTS, Contestant
from seem.evaluation.interfaces import NO_MODEL, ModelUnderTest, NoModel, Tracking
from seem.evaluation.label_space import Names
from seem.evaluation.protocols import composition, full_image, language, phrases, references, robustness, videos
from seem.evaluation.protocols.clicks import clicks
from seem.evaluation.protocols.clicks_seem import clicks_seem
from seem.evaluation.protocols.prompt_kinds import prompt_kinds
from seem.evaluation.selection import data_fingerprint, drawn_places
from seem.evaluation.subset_filter import Chosen
from seem.tasks.reference import place_of


class EvaluationTask(str, enum.Enum):
    """What is measured."""

    PANOPTIC = "panoptic"
    INSTANCE = "instance"
    SEMANTIC = "semantic"
    PHRASES = "phrases"
    CLICKS = "clicks"
    PROMPTS = "prompts"
    COMPOSITION = "composition"
    REFERENCE = "reference"
    VIDEO = "video"
    ROBUSTNESS = "robustness"
    CAPTION = "caption"
    RETRIEVAL = "retrieval"


_ALL_BASELINES, _NO_BASELINES = "all", "none"


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to run; it travels to other processes.

    Attributes:
        data: specifications of data sets, `kind:path`.
        tasks: None = all that a data set and the model can do.
        split: which part of each.
        at_most: of each set and protocol so many photos (videos), drawn with `seed`; None = all.
        classes: names with commas between, or "oracle"; None = all classes of the set.
        subset: a file of `seem data subset`; its photos alone are scored, and where single objects are asked about
            its objects alone.
        clicks: how often the user clicks.
        baselines: names of `BASELINES` with commas between, "all" or "none"; None = all on the photo pack, else none.
        seed: of what is drawn.
    """

    data: tuple[str, ...]
    tasks: tuple[EvaluationTask, ...] | None = None
    split: str = "val"
    at_most: int | None = None
    classes: str | None = None
    clicks: int = 20
    baselines: str | None = None
    seed: int = 0
    subset: str | None = None

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("There is no data set; pass --data kind:path.")
        if self.clicks < 1:
            raise ValueError(f"--clicks is {self.clicks}; a user clicks at least once.")
        if self.at_most is not None and self.at_most < 1:
            raise ValueError(f"--max is {self.at_most}; score at least one photo.")
        if self.subset is not None and len(self.data) > 1:
            raise ValueError(f"--subset is of one data set, {len(self.data)} are given; run it for that one alone.")
        named_baselines(self.baselines)

    def arguments(self) -> dict[str, object]:
        """Say what was asked for, without the folders: they belong to one machine."""
        told = asdict(self)
        told.pop("data")
        return told | {
            "tasks": None if self.tasks is None else [task.value for task in self.tasks],
            "subset": None if self.subset is None else Subset.read(Path(self.subset)).fingerprint,
        }


@dataclass(frozen=True, slots=True)
class Decided:
    """What one process has decided about a data set, for the others.

    `kept` numbers the measures that ask about any photo; `places` are the photos that each is played on, None = all.
    """

    fingerprint: str
    kept: tuple[int, ...]
    places: tuple[frozenset[int] | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One data set with all that is asked about it."""

    dataset: Dataset
    measures: tuple[Measure, ...]
    decided: Decided

    def measures_at(self, place: int) -> list[int]:
        """List the measures that may ask about the photo at this place."""
        return [k for k, places in enumerate(self.decided.places) if places is None or place in places]

    def places(self) -> list[int]:
        """List the places of the photos that anything may be asked about."""
        drawn = [places for places in self.decided.places if places is not None]
        if len(drawn) < len(self.measures):
            return list(range(len(self.dataset.images)))
        return sorted(frozenset[int]().union(*drawn))


def plan(request: EvaluationRequest, model: ModelUnderTest) -> list[Step]:
    """Open the data sets, and decide what is asked.

    Raises:
        ValueError: the model or a data set cannot do a task that was asked for; the message says what each can.
        DataError: a data set is not there, incomplete, or its part is empty.
    """
    able = abilities(model)
    if unable := [task for task in request.tasks or () if task not in able]:
        raise ValueError(f"{name_of(model)} cannot do {unable[0].value}; it can do {_listed(able)}.")
    return [_step(open_split(spec, request.split), request, model) for spec in request.data]


def plan_as(decided: Sequence[Decided], request: EvaluationRequest, model: ModelUnderTest) -> list[Step]:
    """Open the data sets for what another process has decided."""
    found = []
    for spec, each in zip(request.data, decided, strict=True):
        dataset = open_split(spec, request.split)
        made = [measure for _, measure in _made(dataset, request, model)]
        found.append(Step(dataset, tuple(made[k] for k in each.kept), each))
    return found


def _made(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[tuple[EvaluationTask, Measure]]:
    """Make everything that might be asked, task by task."""
    wanted = dict.fromkeys(abilities(model) if request.tasks is None else request.tasks)
    made = [(task, measure) for task in wanted for measure in MAKERS[task](dataset, request, model)]
    if request.subset is None:
        return made
    chosen = Chosen.of(Path(request.subset), dataset)
    return [(task, chosen.limit(measure, is_prompted=task is EvaluationTask.PROMPTS)) for task, measure in made]


def _step(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> Step:
    made = _made(dataset, request, model)
    kept = [k for k, (_, measure) in enumerate(made) if is_asked(measure, dataset)]
    where = f"{dataset.name}, part {dataset.split},"
    if missing := set(request.tasks or ()) - {made[k][0] for k in kept}:
        others = [
            task for task in EvaluationTask if any(is_asked(m, dataset) for m in MAKERS[task](dataset, request, model))
        ]
        first = next(task for task in EvaluationTask if task in missing)
        raise ValueError(f"{where} has no truth for {first.value}; it can be asked for {_listed(others)}.")
    if not kept:
        raise ValueError(f"{where} has no truth for anything that {name_of(model)} can do.")
    measures = [made[k][1] for k in kept]
    places = tuple(_drawn(measure, dataset, request) for measure in measures)
    return Step(dataset, tuple(measures), Decided(data_fingerprint(dataset), tuple(kept), places))


def _drawn(measure: Measure, dataset: Dataset, request: EvaluationRequest) -> frozenset[int] | None:
    if request.at_most is None and request.subset is None:
        return None
    most = len(dataset.images) if request.at_most is None else request.at_most
    return frozenset(drawn_places(dataset.images, lambda photo: len(measure.items(photo)) > 0, most, request.seed))


def open_split(spec: str, split: str) -> Dataset:
    """Open a part of a data set that has a photo."""
    dataset = open_dataset(spec, split)
    if not dataset.images:
        raise ValueError(f"{spec} has no photo in its part {split!r}; it has {', '.join(list_splits(spec)) or 'none'}.")
    return dataset


def is_asked(measure: Measure, dataset: Dataset) -> bool:
    """Whether there is any photo that this measure asks about."""
    return any(len(measure.items(photo)) for photo in dataset.images)


def name_of(model: ModelUnderTest) -> str:
    """Say which model it is, and on what it was fine-tuned."""
    if isinstance(model, NoModel):
        return NO_MODEL
    if not isinstance(model, Model):
        return type(model).__name__
    sets = dict.fromkeys(DatasetSpec.parse(each.spec).path.name for each in model.learnt)
    return f"{model.name} fine-tuned on {', '.join(sets)}" if sets else model.name


def kind_of(dataset: Dataset) -> str:
    """Say which format a data set has."""
    return "pack" if isinstance(dataset, Pack) else dataset.kind if isinstance(dataset, LazyDataset) else "other"


def abilities(model: ModelUnderTest) -> tuple[EvaluationTask, ...]:
    """List the tasks that a model was made for."""
    if isinstance(model, NoModel):
        return (EvaluationTask.CLICKS,)
    able = set(EvaluationTask) - (
        set() if isinstance(model, Model) else {EvaluationTask.RETRIEVAL}
    )  # which looks at the network's vectors
    if isinstance(model, Model):
        network = model.network
        if network.decoder.policy.visual is None:
            able -= {
                EvaluationTask.CLICKS,
                EvaluationTask.PROMPTS,
                EvaluationTask.COMPOSITION,
                EvaluationTask.VIDEO,
                EvaluationTask.ROBUSTNESS,
            }  # a mask is given
        if place_of(network) is None:
            able -= {EvaluationTask.REFERENCE}
        if network.decoder.captions is None:
            able -= {EvaluationTask.CAPTION}
        if network.image_projection is None:
            able -= {EvaluationTask.RETRIEVAL}
    if not isinstance(model, Tracking):
        able -= {EvaluationTask.VIDEO}
    return tuple(task for task in EvaluationTask if task in able)


def named_baselines(words: str | None, *, is_pack: bool = True) -> tuple[Contestant, ...]:
    """Read which baselines answer clicks as well."""
    if words is None:
        words = _ALL_BASELINES if is_pack else _NO_BASELINES
    if words in (_ALL_BASELINES, _NO_BASELINES):
        return tuple(BASELINES.values()) if words == _ALL_BASELINES else ()
    given = [word.strip() for word in words.split(",")]
    if unknown := [word for word in given if word not in BASELINES]:
        raise ValueError(f"There is no baseline {unknown[0]!r}; there are {', '.join(BASELINES)}, all and none.")
    return tuple(BASELINES[word] for word in given)


def _listed(tasks: Sequence[EvaluationTask]) -> str:
    return ", ".join(task.value for task in tasks) or "nothing"


# --- From tasks to protocols ------------------------------------------------------------------------------------------


def _whole(
    make: Callable[[Dataset, Names], Measure],
) -> Callable[[Dataset, EvaluationRequest, ModelUnderTest], list[Measure]]:
    def made(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:  # noqa: ARG001
        if not any(category.text for category in dataset.categories.values()):
            return []
        return [make(dataset, Names.of(dataset, request.classes))]

    return made


def _clicks(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:
    baselines = named_baselines(request.baselines, is_pack=isinstance(dataset, Pack))
    if isinstance(model, NoModel):
        if not baselines:
            raise ValueError("Without a model and without baselines nobody answers; pass --baselines all.")
        return [clicks(dataset, baselines, request.clicks)]
    models = (*CONTESTANTS[:2], CLOSER) if isinstance(model, Model) else CONTESTANTS[:2]
    ritm = clicks(dataset, (*models, *baselines), request.clicks)
    return [ritm, clicks_seem(dataset, request.clicks)] if isinstance(model, Model) else [ritm]


def _prompts(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:  # noqa: ARG001
    polygon_rule = model.network.config.polygon_rule if isinstance(model, Model) else "filled"
    return [prompt_kinds(dataset, polygon_rule)]


def _phrases(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:  # noqa: ARG001
    names = [] if kind_of(dataset) == "refcoco" else [phrases.class_names(dataset)]
    return names + ([phrases.referring(dataset)] if dataset.expressions else [])


def _composition(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:  # noqa: ARG001
    return [composition.phrase_and_stroke(dataset), composition.named_clicks(dataset, request.clicks)]


def _reference(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:  # noqa: ARG001
    if video_frames(dataset):
        return [references.in_context(dataset)]
    return [references.pairs(dataset, request.seed)]


def _video(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:  # noqa: ARG001
    return [videos.video(dataset)]


def _robustness(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:  # noqa: ARG001
    return [robustness.robustness(dataset)]


def _caption(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:  # noqa: ARG001
    return [language.caption(dataset)]


def _retrieval(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Measure]:  # noqa: ARG001
    return [language.retrieval(dataset)]


MAKERS: Mapping[EvaluationTask, Callable[[Dataset, EvaluationRequest, ModelUnderTest], list[Measure]]] = (
    MappingProxyType(
        {
            EvaluationTask.PANOPTIC: _whole(full_image.panoptic),
            EvaluationTask.INSTANCE: _whole(full_image.instance),
            EvaluationTask.SEMANTIC: _whole(full_image.semantic),
            EvaluationTask.PHRASES: _phrases,
            EvaluationTask.CLICKS: _clicks,
            EvaluationTask.PROMPTS: _prompts,
            EvaluationTask.COMPOSITION: _composition,
            EvaluationTask.REFERENCE: _reference,
            EvaluationTask.VIDEO: _video,
            EvaluationTask.ROBUSTNESS: _robustness,
            EvaluationTask.CAPTION: _caption,
            EvaluationTask.RETRIEVAL: _retrieval,
        }
    )
)
"""What a task asks about a data set; a measure without any item where the set has no truth for it."""
