"""The classes of a data set, numbered as objects come: those that were looked for first, then other names."""

from __future__ import annotations

from collections.abc import Iterable

from seem.coco_format import CocoCategory
from seem.vocabulary import distinct_colours

NUM_COLOURS = 1000  # of names outside of the vocabulary, before they repeat


class ClassTable:
    """Classes by name, in the order in which they came; ids are positive and all different."""

    def __init__(self) -> None:
        self._by_name: dict[str, CocoCategory] = {}
        self._names: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def categories(self) -> list[CocoCategory]:
        """All classes."""
        return list(self._by_name.values())

    @property
    def names(self) -> list[str]:
        """The names of all classes."""
        return list(self._by_name)

    def add_all(self, classes: Iterable[CocoCategory]) -> None:
        """Add classes that are not there; an id that another name has gives way to the next free one."""
        for category in classes:
            if category["name"] not in self._by_name:
                number = category["id"]
                if number <= 0 or number in self._names:
                    number = self._next_id()
                self._add({**category, "id": number})

    def named(self, name: str) -> CocoCategory:
        """Return the class of a name; a new one, countable, if there is none."""
        if name not in self._by_name:
            colour = list(distinct_colours(NUM_COLOURS)[len(self) % NUM_COLOURS])
            category = CocoCategory(id=self._next_id(), name=name, isthing=1, color=colour)
            self._add(category)
        return self._by_name[name]

    def index(self, name: str) -> int:
        """Return the number of a class in the list, from 0."""
        self.named(name)
        return self.names.index(name)

    def _add(self, category: CocoCategory) -> None:
        self._by_name[category["name"]] = category
        self._names[category["id"]] = category["name"]

    def _next_id(self) -> int:
        return max(self._names, default=0) + 1
