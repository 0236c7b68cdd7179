"""Plans an evaluation: which benchmarks belong to which task, for which data sets and models."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from seem.data.dataset import Dataset
from seem.data.lazy_dataset import LazyDataset
from seem.data.object_selection import video_frames
from seem.data.opening import DatasetSpec, list_splits, open_dataset
from seem.data.pack import Pack
from seem.data.readable_images import SkippedImage, find_unreadable_images, without_skipped
from seem.data.records import DataError
from seem.data.subset import Subset
from seem.errors import SeemError
from seem.evaluation.benchmark import Benchmark
from seem.evaluation.click_methods import (
    BASELINES,
    MODEL_IN_SESSION,
    MODEL_WITH_ZOOM,
    MODEL_WITHOUT_MEMORY,
    ClickMethod,
)
from seem.evaluation.interfaces import NO_MODEL, ModelUnderTest, NoModel, TrackerUnderTest
from seem.evaluation.label_space import LabelSpace, has_class_names
from seem.evaluation.protocols import (
    composition,
    full_image,
    language,
    phrases,
    references,
    robustness,
    videos,
)
from seem.evaluation.protocols.clicks import click_benchmark
from seem.evaluation.protocols.clicks_seem import seem_click_benchmark
from seem.evaluation.protocols.prompt_kinds import prompt_kind_benchmark
from seem.evaluation.selection import data_fingerprint, sample_indices
from seem.evaluation.subset_filter import SubsetFilter
from seem.model import Model


class EvaluationTask(str, enum.Enum):
    """What is scored."""

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


ALL_BASELINES, NO_BASELINES = "all", "none"


@dataclass(frozen=True, slots=True)
class EvaluationRequest:
    """What to evaluate; it is passed to other processes.

    Attributes:
        data: specifications of data sets, `kind:path`.
        tasks: None = all that the data set and the model support.
        split: the split of each data set.
        at_most: number of images (videos) for each data set and protocol, sampled with `seed`; None = all.
        classes: names separated by commas, or "oracle"; None = all classes of the data set.
        subset: a file of `seem data subset`; only its images are scored, and where single objects are scored only its
            objects.
        clicks: number of simulated clicks on each object.
        baselines: names of `BASELINES` separated by commas, "all" or "none": they take ten times as long as a model.
        seed: random seed for sampling.
        skip_bad: leave out images that cannot be read, or whose annotation cannot, instead of stopping at the first.
    """

    data: tuple[str, ...]
    tasks: tuple[EvaluationTask, ...] | None = None
    split: str = "val"
    at_most: int | None = None
    classes: str | None = None
    clicks: int = 20
    baselines: str = NO_BASELINES
    seed: int = 0
    subset: str | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("There is no data set; pass --data kind:path.")
        if self.clicks < 1:
            raise ValueError(f"--clicks is {self.clicks}; a user clicks at least once.")
        if self.at_most is not None and self.at_most < 1:
            raise ValueError(f"--max is {self.at_most}; score at least one photo.")
        if self.subset is not None and len(self.data) > 1:
            raise ValueError(
                f"--subset is of one data set, {len(self.data)} are given; run it for that one alone."
            )
        parse_baselines(self.baselines)

    def arguments(self) -> dict[str, object]:
        """Return the arguments for the report, without the data sets' paths, which belong to one machine."""
        arguments = asdict(self)
        arguments.pop("data")
        if self.tasks is not None:
            arguments["tasks"] = [task.value for task in self.tasks]
        if not self.skip_bad:
            arguments.pop("skip_bad")  # which reports had not before there was this choice
        if self.subset is not None:
            arguments["subset"] = Subset.read(Path(self.subset)).fingerprint
        return arguments


@dataclass(frozen=True, slots=True)
class DatasetChoice:
    """What the first process has chosen from a data set, for the other processes.

    Attributes:
        fingerprint: of the data set.
        benchmark_indices: the benchmarks that have items, by their index among all that could be made.
        image_indices: for each of them the sampled images; None = all.
        skipped: the images that are left out; indices count the others.
    """

    fingerprint: str
    benchmark_indices: tuple[int, ...]
    image_indices: tuple[frozenset[int] | None, ...]
    skipped: tuple[SkippedImage, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class DatasetPlan:
    """One data set with its benchmarks."""

    dataset: Dataset
    benchmarks: tuple[Benchmark, ...]
    choice: DatasetChoice

    def benchmarks_at(self, image_index: int) -> list[int]:
        """Return the indices of the benchmarks that may have items in an image."""
        indices = []
        for index, image_indices in enumerate(self.choice.image_indices):
            if image_indices is None or image_index in image_indices:
                indices.append(index)
        return indices

    def image_indices(self) -> list[int]:
        """Return the indices of the images in which any benchmark may have items."""
        union: set[int] = set()
        for image_indices in self.choice.image_indices:
            if image_indices is None:
                return list(range(len(self.dataset.images)))
            union |= image_indices
        return sorted(union)


def open_datasets(request: EvaluationRequest) -> list[Dataset]:
    """Open the data sets, and check what the request says about them.

    Raises:
        DataError: a data set is missing or incomplete, its split is empty, or the subset is none.
        ValueError: a class to score is not among the names of a data set.
    """
    if request.subset is not None:
        Subset.read(Path(request.subset))
    datasets = [open_split(spec, request.split, tolerant=True) for spec in request.data]
    for dataset in datasets:
        if request.classes is not None and has_class_names(dataset):
            LabelSpace.of(dataset, request.classes)
    return datasets


def plan_evaluation(
    request: EvaluationRequest, model: ModelUnderTest, datasets: Sequence[Dataset] | None = None
) -> list[DatasetPlan]:
    """Choose benchmarks and images of data sets, which are opened unless `open_datasets` has done it.

    Raises:
        ValueError: the model or a data set does not support a requested task; the message lists what it supports.
        DataError: a data set is missing or incomplete, or its split is empty.
    """
    supported = supported_tasks(model)
    for task in request.tasks or ():
        if task not in supported:
            raise ValueError(
                f"{model_name(model)} cannot do {task.value}; it can do {_join(supported)}."
            )
    plans = []
    if datasets is None:
        datasets = open_datasets(request)
    for spec, dataset in zip(request.data, datasets, strict=True):
        with naming_skip_bad(request):
            plans.append(_plan_checked_dataset(spec, dataset, request, model))
    return plans


@contextmanager
def naming_skip_bad(request: EvaluationRequest) -> Iterator[None]:
    """Name the option that leaves bad images out in the error about one."""
    try:
        yield
    except (DataError, SeemError) as error:
        cause = error if isinstance(error, DataError) else error.__cause__
        if request.skip_bad or not isinstance(cause, DataError) or cause.is_wrong_call:
            raise
        message = f"{str(error).rstrip('.')}. To leave such photos out, pass --skip-bad."
        if isinstance(error, SeemError):
            raise SeemError(message) from error
        raise DataError(message, cause.kind) from error


def rebuild_plan(
    choices: Sequence[DatasetChoice],
    request: EvaluationRequest,
    model: ModelUnderTest,
) -> list[DatasetPlan]:
    """Open the data sets for the choices of another process."""
    plans = []
    for spec, choice in zip(request.data, choices, strict=True):
        dataset = open_split(spec, request.split, tolerant=request.skip_bad)
        if choice.skipped:
            dataset = without_skipped(dataset, choice.skipped)
        possible = _possible_benchmarks(dataset, request, model)
        chosen = []
        for index in choice.benchmark_indices:
            _, benchmark = possible[index]
            chosen.append(benchmark)
        plans.append(DatasetPlan(dataset, tuple(chosen), choice))
    return plans


def _possible_benchmarks(
    dataset: Dataset,
    request: EvaluationRequest,
    model: ModelUnderTest,
) -> list[tuple[EvaluationTask, Benchmark]]:
    """Make the benchmarks of all requested tasks, also those without any item in the data set."""
    tasks = request.tasks
    if tasks is None:
        tasks = supported_tasks(model)
    possible = []
    for task in dict.fromkeys(tasks):
        for benchmark in MAKERS[task](dataset, request, model):
            possible.append((task, benchmark))
    if request.subset is None:
        return possible
    subset = SubsetFilter.of(Path(request.subset), dataset)
    restricted = []
    for task, benchmark in possible:
        check_prompts = task is EvaluationTask.PROMPTS
        restricted.append((task, subset.restrict(benchmark, check_prompts=check_prompts)))
    return restricted


def _plan_checked_dataset(
    spec: str, dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest
) -> DatasetPlan:
    """Plan a data set without its bad images, or raise `DataError` for the first flaw of its lists."""
    if not request.skip_bad:
        if isinstance(dataset, LazyDataset):
            dataset = replace(dataset, tolerant=False).checked()
        return _plan_dataset(dataset, request, model, ())
    skipped = find_unreadable_images(dataset)
    if not skipped:
        return _plan_dataset(dataset, request, model, ())
    readable = without_skipped(dataset, skipped)
    if not readable.images:
        raise DataError(f"{spec}: none of its photos can be read; first {skipped[0]}.")
    return _plan_dataset(readable, request, model, skipped)


def _plan_dataset(
    dataset: Dataset,
    request: EvaluationRequest,
    model: ModelUnderTest,
    skipped: tuple[SkippedImage, ...],
) -> DatasetPlan:
    indices, tasks, benchmarks = [], set(), []
    for index, (task, benchmark) in enumerate(_possible_benchmarks(dataset, request, model)):
        if has_items(benchmark, dataset):
            indices.append(index)
            tasks.add(task)
            benchmarks.append(benchmark)
    _check_tasks(dataset, request, model, tasks)
    image_indices = [_sample_images(benchmark, dataset, request) for benchmark in benchmarks]
    choice = DatasetChoice(data_fingerprint(dataset), tuple(indices), tuple(image_indices), skipped)
    return DatasetPlan(dataset, tuple(benchmarks), choice)


def _check_tasks(
    dataset: Dataset,
    request: EvaluationRequest,
    model: ModelUnderTest,
    possible: set[EvaluationTask],
) -> None:
    """Raise `ValueError` where a data set has no truth for a requested task, or for any task."""
    where = f"{dataset.name}, part {dataset.split},"
    missing = set(request.tasks or ()) - possible
    for task in EvaluationTask:
        if task in missing:
            others = [each for each in EvaluationTask if _has_truth(each, dataset, request, model)]
            raise ValueError(
                f"{where} has no truth for {task.value}; it can be asked for {_join(others)}."
            )
    if not possible:
        raise ValueError(f"{where} has no truth for anything that {model_name(model)} can do.")


def _has_truth(
    task: EvaluationTask, dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest
) -> bool:
    benchmarks = MAKERS[task](dataset, request, model)
    return any(has_items(benchmark, dataset) for benchmark in benchmarks)


def _sample_images(
    benchmark: Benchmark, dataset: Dataset, request: EvaluationRequest
) -> frozenset[int] | None:
    if request.at_most is None and request.subset is None:
        return None
    at_most = request.at_most
    if at_most is None:
        at_most = len(dataset.images)
    sampled = sample_indices(
        dataset.images, lambda image: len(benchmark.items(image)) > 0, at_most, request.seed
    )
    return frozenset(sampled)


def open_split(spec: str, split: str, *, tolerant: bool = False) -> Dataset:
    """Open a split of a data set; `ValueError` if it has no image. `tolerant`: its flaws are no errors."""
    dataset = open_dataset(spec, split, tolerant=tolerant)
    if not dataset.images:
        raise DataError(
            f"{spec} has no photo in its part {split!r}; it has {', '.join(list_splits(spec)) or 'none'}."
        )
    return dataset


def has_items(benchmark: Benchmark, dataset: Dataset) -> bool:
    """Whether a benchmark has items in any image of a data set."""
    return any(len(benchmark.items(image)) for image in dataset.images)


def model_name(model: ModelUnderTest) -> str:
    """Return the name of a model, with the data sets that it was fine-tuned on."""
    if isinstance(model, NoModel):
        return NO_MODEL
    if not isinstance(model, Model):
        return type(model).__name__
    if not model.fine_tuned_on:
        return model.name
    names: dict[str, None] = {}
    for each in model.fine_tuned_on:
        names[DatasetSpec.parse(each.spec).path.name] = None
    return f"{model.name} fine-tuned on {', '.join(names)}"


def dataset_kind(dataset: Dataset) -> str:
    """Return the format of a data set."""
    if isinstance(dataset, Pack):
        return "pack"
    if isinstance(dataset, LazyDataset):
        return dataset.kind
    return "other"


_VISUAL_PROMPT_TASKS = frozenset(
    {
        EvaluationTask.CLICKS,
        EvaluationTask.PROMPTS,
        EvaluationTask.COMPOSITION,
        EvaluationTask.VIDEO,  # its prompt is a mask
        EvaluationTask.ROBUSTNESS,
    }
)


def supported_tasks(model: ModelUnderTest) -> tuple[EvaluationTask, ...]:
    """List the tasks that a model was trained for."""
    if isinstance(model, NoModel):
        return (EvaluationTask.CLICKS,)
    unsupported: set[EvaluationTask] = set()
    if isinstance(model, Model):
        network = model.network
        if network.decoder.policy.visual is None:
            unsupported |= _VISUAL_PROMPT_TASKS
        if network.decoder.policy.reference is None:
            unsupported.add(EvaluationTask.REFERENCE)
        if network.decoder.captions is None:
            unsupported.add(EvaluationTask.CAPTION)
        if network.image_projection is None:
            unsupported.add(EvaluationTask.RETRIEVAL)
    else:
        unsupported.add(EvaluationTask.RETRIEVAL)  # it reads the embeddings of the network
    if not isinstance(model, TrackerUnderTest):
        unsupported.add(EvaluationTask.VIDEO)
    return tuple(task for task in EvaluationTask if task not in unsupported)


def parse_baselines(text: str) -> tuple[ClickMethod, ...]:
    """Parse the names of baselines; `ValueError` for an unknown one."""
    if text == ALL_BASELINES:
        return tuple(BASELINES.values())
    if text == NO_BASELINES:
        return ()
    return tuple(map(_find_baseline, text.split(",")))


def _find_baseline(text: str) -> ClickMethod:
    name = text.strip()
    if name not in BASELINES:
        raise ValueError(
            f"There is no baseline {name!r}; there are {', '.join(BASELINES)}, all and none."
        )
    return BASELINES[name]


def _join(tasks: Sequence[EvaluationTask]) -> str:
    return ", ".join(task.value for task in tasks) or "nothing"


# --- From tasks to benchmarks -----------------------------------------------------------------------------------------

Maker: TypeAlias = Callable[[Dataset, EvaluationRequest, ModelUnderTest], list[Benchmark]]


def _full_image(make: Callable[[Dataset, LabelSpace], Benchmark]) -> Maker:
    def make_benchmarks(
        dataset: Dataset,
        request: EvaluationRequest,
        model: ModelUnderTest,
    ) -> list[Benchmark]:
        if not has_class_names(dataset):
            return []
        return [make(dataset, LabelSpace.of(dataset, request.classes))]

    return make_benchmarks


def _clicks(dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest) -> list[Benchmark]:
    baselines = parse_baselines(request.baselines)
    if isinstance(model, NoModel):
        if not baselines:
            raise ValueError(
                "There is neither a model nor a baseline to score; pass --baselines all."
            )
        return [click_benchmark(dataset, baselines, request.clicks)]
    methods = [MODEL_IN_SESSION, MODEL_WITHOUT_MEMORY]
    if not isinstance(model, Model):
        return [click_benchmark(dataset, (*methods, *baselines), request.clicks)]
    methods.append(MODEL_WITH_ZOOM)
    return [
        click_benchmark(dataset, (*methods, *baselines), request.clicks),
        seem_click_benchmark(dataset, request.clicks),
    ]


def _prompts(
    dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest
) -> list[Benchmark]:
    if isinstance(model, Model):
        return [prompt_kind_benchmark(dataset, model.network.config.polygon_rule)]
    return [prompt_kind_benchmark(dataset, "filled")]


def _phrases(
    dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest
) -> list[Benchmark]:
    benchmarks = []
    if dataset_kind(dataset) != "refcoco":
        benchmarks.append(phrases.class_name_benchmark(dataset))
    if dataset.expressions:
        benchmarks.append(phrases.referring_benchmark(dataset))
    return benchmarks


def _composition(
    dataset: Dataset,
    request: EvaluationRequest,
    model: ModelUnderTest,
) -> list[Benchmark]:
    return [
        composition.phrase_and_stroke_benchmark(dataset),
        composition.named_click_benchmark(dataset, request.clicks),
    ]


def _reference(
    dataset: Dataset, request: EvaluationRequest, model: ModelUnderTest
) -> list[Benchmark]:
    if video_frames(dataset):
        return [references.in_context_benchmark(dataset)]
    return [references.reference_pair_benchmark(dataset, request.seed)]


def _from_dataset(make: Callable[[Dataset], Benchmark]) -> Maker:
    return lambda dataset, request, model: [make(dataset)]  # noqa: ARG005


MAKERS: Mapping[EvaluationTask, Maker] = MappingProxyType(
    {
        EvaluationTask.PANOPTIC: _full_image(full_image.panoptic_benchmark),
        EvaluationTask.INSTANCE: _full_image(full_image.instance_benchmark),
        EvaluationTask.SEMANTIC: _full_image(full_image.semantic_benchmark),
        EvaluationTask.PHRASES: _phrases,
        EvaluationTask.CLICKS: _clicks,
        EvaluationTask.PROMPTS: _prompts,
        EvaluationTask.COMPOSITION: _composition,
        EvaluationTask.REFERENCE: _reference,
        EvaluationTask.VIDEO: _from_dataset(videos.video_benchmark),
        EvaluationTask.ROBUSTNESS: _from_dataset(robustness.robustness_benchmark),
        EvaluationTask.CAPTION: _from_dataset(language.caption_benchmark),
        EvaluationTask.RETRIEVAL: _from_dataset(language.retrieval_benchmark),
    }
)
"""The benchmarks of a task on a data set; they have no items where the data set has no truth for the task."""
