"""Which names a model is asked for on a data set, and under which numbers they are scored."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from seem.data.dataset import Dataset, vocabulary_from_categories
from seem.evaluation.metrics.open_vocabulary import LabelMode
from seem.vocabulary import Vocabulary

ORACLE = "oracle"
"""The word that asks for the classes of each photo's own truth."""


@dataclass(frozen=True, slots=True)
class Names:
    """The classes of a data set as a model is asked for them.

    Attributes:
        vocabulary: all that are scored, with the ids under which they are.
        number: the id in `vocabulary` of a category of the data set; a category that is not here does not count.
        mode: whether a photo is asked for all of them, or for those in its truth.
        is_closed: the 133 COCO categories that the published models are trained with: no open vocabulary.
        rule: the same in words.
    """

    vocabulary: Vocabulary
    number: Mapping[int, int]
    mode: LabelMode
    is_closed: bool
    rule: str

    @classmethod
    def of(cls, dataset: Dataset, classes: str | None = None) -> Names:
        """Read what is to be scored: None = all classes, "oracle", or names with commas between.

        Raises:
            ValueError: no class of the set has a name, or one that is asked for is not among them.
        """
        coco = Vocabulary.coco_panoptic()
        ids = dict(zip(coco.ids, coco.names, strict=True))
        is_coco = all(ids.get(category.id) == category.name for category in dataset.categories.values())
        whole = coco if is_coco else vocabulary_from_categories(dataset.categories.values())
        named = [key for key, category in dataset.categories.items() if category.text]
        moved = max(0, 1 - min(named, default=1))  # as vocabulary_of moves ids
        oracle = classes == ORACLE
        kept = whole if classes is None or oracle else chosen(whole, classes.split(","))
        number = {key: key + moved for key in named if key + moved in set(kept.ids)}
        given = "all classes" if len(kept) == len(whole) else "some classes"
        what = "classes in the photo's truth" if oracle else given
        return cls(
            kept,
            number,
            LabelMode.ORACLE if oracle else LabelMode.FULL,
            is_coco and not oracle and kept is whole,
            f"{what} of {len(whole)}" + (f": {', '.join(kept.names)}" if kept is not whole else ""),
        )

    def asked(self, present: Iterable[int]) -> Vocabulary | None:
        """Return what a photo is asked for whose truth holds these ids; None = COCO's own list."""
        if self.is_closed:
            return None
        there = set(present)
        if self.mode is LabelMode.FULL:
            return self.vocabulary
        return replace(self.vocabulary, categories=tuple(c for c in self.vocabulary if c.id in there))

    @property
    def is_thing(self) -> dict[int, bool]:
        """Whether each scored class is countable."""
        return dict(zip(self.vocabulary.ids, self.vocabulary.is_thing, strict=True))


def chosen(whole: Vocabulary, names: Sequence[str]) -> Vocabulary:
    """Keep some classes of a vocabulary, with their ids; `ValueError` for a name that it does not have."""
    known = {word.casefold(): category for category in whole for word in (category.name, category.phrase)}
    kept = set()
    for name in names:
        category = known.get(name.strip().casefold())
        if category is None:
            near = difflib.get_close_matches(name.strip().casefold(), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(whole.names[:8])}, ..."
            raise ValueError(f"The data set has no class {name.strip()!r}; {hint}")
        kept.add(category.id)
    return replace(whole, categories=tuple(category for category in whole if category.id in kept))
