"""The classes that a model is prompted with on a data set, and the ids under which they are scored."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from seem.data.classes import vocabulary_from_categories
from seem.data.dataset import Dataset
from seem.evaluation.metrics.open_vocabulary import LabelMode
from seem.vocabulary import Vocabulary

ORACLE = "oracle"
"""The value of `classes` that stands for the classes of each image's own truth."""


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """The scored classes of a data set.

    Attributes:
        vocabulary: all that are scored, with the ids under which they are.
        class_ids: the id in `vocabulary` of a category of the data set; a category that is missing is not scored.
        mode: whether the model is prompted with all of them, or with those in the truth of the image.
        is_closed: whether they are the 133 COCO categories of the published models: no open vocabulary.
        rule: a description of the above.
    """

    vocabulary: Vocabulary
    class_ids: Mapping[int, int]
    mode: LabelMode
    is_closed: bool
    rule: str

    @classmethod
    def of(cls, dataset: Dataset, classes: str | None = None) -> LabelSpace:
        """Choose the classes to score: None = all, "oracle", or names separated by commas.

        Raises:
            ValueError: no class of the data set has a name, or a given name is not among them.
        """
        full, is_coco = _full_vocabulary(dataset)
        is_oracle = classes == ORACLE
        selected = full
        if classes is not None and not is_oracle:
            selected = select_classes(full, classes.split(","))
        mode = LabelMode.ORACLE if is_oracle else LabelMode.FULL
        return cls(
            vocabulary=selected,
            class_ids=_class_ids(dataset, selected),
            mode=mode,
            is_closed=is_coco and not is_oracle and selected is full,
            rule=_describe(full, selected, is_oracle),
        )

    def prompted_vocabulary(self, present: Iterable[int]) -> Vocabulary | None:
        """Return the vocabulary for an image whose truth holds these ids; None = the model's own COCO vocabulary."""
        if self.is_closed:
            return None
        if self.mode is LabelMode.FULL:
            return self.vocabulary
        return _with_ids(self.vocabulary, set(present))

    @property
    def is_thing(self) -> dict[int, bool]:
        """Whether each scored class is countable."""
        return dict(zip(self.vocabulary.ids, self.vocabulary.is_thing, strict=True))


def _full_vocabulary(dataset: Dataset) -> tuple[Vocabulary, bool]:
    """Return all named classes of a data set, and whether they are COCO's."""
    coco = Vocabulary.coco_panoptic()
    coco_names = dict(zip(coco.ids, coco.names, strict=True))
    categories = dataset.categories.values()
    for category in categories:
        if coco_names.get(category.id) != category.name:
            return vocabulary_from_categories(categories), False
    return coco, True


def has_class_names(dataset: Dataset) -> bool:
    """Whether any category of a data set has a name to prompt a model with."""
    return any(category.text for category in dataset.categories.values())


def _class_ids(dataset: Dataset, vocabulary: Vocabulary) -> dict[int, int]:
    named = [key for key, category in dataset.categories.items() if category.text]
    shift = max(
        0, 1 - min(named, default=1)
    )  # as in vocabulary_from_categories, whose ids begin at 1
    scored = set(vocabulary.ids)
    class_ids: dict[int, int] = {}
    first_of_text: dict[str, int] = {}
    for key in named:
        first = first_of_text.setdefault(dataset.categories[key].text, key)
        if first + shift in scored:
            class_ids[key] = first + shift
    return class_ids


def _describe(full: Vocabulary, selected: Vocabulary, is_oracle: bool) -> str:
    if is_oracle:
        given = "classes in the photo's truth"
    elif len(selected) == len(full):
        given = "all classes"
    else:
        given = "some classes"
    rule = f"{given} of {len(full)}"
    if selected is full:
        return rule
    return f"{rule}: {', '.join(selected.names)}"


def select_classes(full: Vocabulary, names: Sequence[str]) -> Vocabulary:
    """Select classes of a vocabulary by name or phrase; they keep their ids.

    Raises `ValueError` for a name that is not in the vocabulary.
    """
    known = {}
    for category in full:
        known[category.name.casefold()] = category
        known[category.phrase.casefold()] = category
    selected = set()
    for name in names:
        key = name.strip().casefold()
        if key not in known:
            hint = f"there are {', '.join(full.names[:8])}, ..."
            near = difflib.get_close_matches(key, known, 1)
            if near:
                hint = f"did you mean {near[0]!r}?"
            raise ValueError(f"The data set has no class {name.strip()!r}; {hint}")
        selected.add(known[key].id)
    return _with_ids(full, selected)


def _with_ids(vocabulary: Vocabulary, ids: set[int]) -> Vocabulary:
    categories = [category for category in vocabulary if category.id in ids]
    return replace(vocabulary, categories=tuple(categories))
