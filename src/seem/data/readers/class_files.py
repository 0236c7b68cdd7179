"""Lists of classes that lie beside label maps: which number, and which colour, means which class.

labelmap.txt      name:red,green,blue:parts:actions          CVAT, Datumaro
class_names.txt   a name a line, _background_ is 0            labelme
classes.txt       a name a line, the first is 1; or "1 cat" a line
classes.json      {"1": "cat", ...}
dataset.json      {"labels": {"background": 0, "cat": 1}}     nnU-Net
class_mapping.csv class_name,class_color                      Darwin of V7: three channels, or the number itself
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seem.data.classes import prompt_name
from seem.data.image_files import first_file
from seem.data.readers.class_maps import Colour, Legend
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind
from seem.data.text_files import TextFile

BACKGROUND_NAMES = frozenset({"background", "_background_"})

_NUMBERED_FROM_ZERO = ("labelmap.txt", "class_names.txt")
_LABEL_MAP_LINE = re.compile(r"(.*):(\d+)\s*,\s*(\d+)\s*,\s*(\d+):[^:]*:[^:]*")
_NUMBERED_LINE = re.compile(r"(\d+)\s*[:=,;.)\s]\s*(\S.*)")
_IGNORED = "__ignore__"  # labelme's first line: what is not labelled


@dataclass(frozen=True, slots=True)
class ClassFile:
    """The classes of a list: names by the number that maps use (0 is left out), and numbers by colour (R, G, B)."""

    file: Path
    names: Mapping[int, str]
    number_of_colour: Mapping[Colour, int] = field(default_factory=dict)
    notes: tuple[Flaw, ...] = ()

    def legend(self) -> Legend:
        """Return the class numbers of colours; none where the list has no colours."""
        return Legend(self.file.name, self.number_of_colour)

    def categories(self, *, is_thing: bool) -> tuple[CategoryRecord, ...]:
        """Return the classes with their numbers as ids."""
        categories = []
        for number, name in self.names.items():
            categories.append(CategoryRecord(number, name, prompt_name(name), is_thing=is_thing))
        return tuple(categories)


def read_class_file(folder: Path, file_names: Sequence[str]) -> ClassFile | None:
    """Read the first of several lists of classes that a folder holds; None if it holds none.

    Raises:
        DataError: it is no such list.
    """
    file = first_file(*map(folder.joinpath, file_names))
    if file is None:
        return None
    text = TextFile.read(file)
    if file.suffix == ".json":
        return ClassFile(file, _parse_table(text), notes=text.notes())
    if file.name == "labelmap.txt":
        return _parse_label_map(text)
    if file.suffix == ".csv":
        return _parse_class_mapping(text)
    numbered = _names_by_written_number(text)
    if numbered:
        number_notes = (_note_numbers(file, numbered),)
        return ClassFile(file, numbered, notes=text.notes() + number_notes)
    if file.name in _NUMBERED_FROM_ZERO:
        names = _names_from_zero(text)
    else:
        names = _names_from_one(text)
    if not names:
        raise DataError(f"{file} names no class; write a name a line, or delete it.")
    background_notes = tuple(_note_background(file, names))
    return ClassFile(file, names, notes=text.notes() + background_notes)


def is_background(name: str) -> bool:
    """Whether a class is called background."""
    return name.strip().lower() in BACKGROUND_NAMES


def _names_from_one(text: TextFile) -> dict[int, str]:
    return {number: line for number, line in enumerate(text.lines(), 1) if line}


def _names_from_zero(text: TextFile) -> dict[int, str]:
    """Read labelme's list: what is ignored has no number, the background is 0; without a background the first is 1."""
    names = [line for line in text.lines() if line not in ("", _IGNORED)]
    if names and is_background(names[0]):
        names = names[1:]
    return dict(enumerate(names, 1))


def _names_by_written_number(text: TextFile) -> dict[int, str]:
    """Read lines that count themselves, "1 cat" or "1: cat", from 0 (the background) or 1 on; none for other lists."""
    lines = list(filter(None, text.lines()))
    matches = list(filter(None, map(_NUMBERED_LINE.fullmatch, lines)))
    numbers = [int(match[1]) for match in matches]
    names = [match[2] for match in matches]
    if len(matches) < len(lines) or len(lines) < 2:
        return {}
    if len(set(names)) < len(names):
        return {}
    first = numbers[0]
    if numbers != list(range(first, first + len(lines))):
        return {}
    if first == 0 and is_background(names[0]):
        return dict(zip(numbers[1:], names[1:], strict=True))
    if first == 1:
        return dict(zip(numbers, names, strict=True))
    return {}


def _note_numbers(file: Path, names: Mapping[int, str]) -> Flaw:
    number, name = next(iter(names.items()))
    what = (
        f"its lines begin with numbers, which are taken for those of the maps: {number} is {name}"
    )
    return Flaw(FlawKind.ASSUMED_CLASSES, file.name, what)


def _note_background(file: Path, names: Mapping[int, str]) -> list[Flaw]:
    """Note a list whose first line is called background, which is 0 already."""
    if not is_background(names.get(1, "")):
        return []
    following = ""
    if 2 in names:
        following = f", and {names[2]} 2"
    what = (
        f"its first line, {names[1]}, is 1{following}, as written; 0 is nothing already: "
        "if the maps mean 0 by it, delete the line"
    )
    return [Flaw(FlawKind.BACKGROUND_CLASS, file.name, what)]


def _parse_table(text: TextFile) -> dict[int, str]:
    """Read names by number, or in nnU-Net's `labels` numbers by name."""
    problem = f'{text.file} is not a list of {{"number": "name"}}'
    try:
        table = json.loads(text.text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{problem} ({error}).") from error
    if isinstance(table, dict) and isinstance(table.get("labels"), dict):
        table = table["labels"]
    if not isinstance(table, dict) or not table:
        raise DataError(f"{problem}; it holds {str(table)[:40]}.")
    names: dict[int, str] = {}
    try:
        for number, name in map(_number_and_name, table.items()):
            if number < 0 or number in names:
                raise ValueError(f"{name} has number {number}, below 0 or of another class")
            names[number] = name
    except (TypeError, ValueError) as error:
        raise DataError(f"{problem} ({error}).") from error
    nothing = names.pop(0, None)
    if nothing is not None and not is_background(nothing):
        raise DataError(f"{text.file} calls 0 {nothing!r}; in maps 0 is nothing, begin with 1.")
    return names


def _number_and_name(item: tuple[str, Any]) -> tuple[int, str]:
    """Return number and name of an entry, whichever of them is its key."""
    key, value = item
    if isinstance(value, int) and not isinstance(value, bool):
        return value, key
    if not isinstance(value, str):
        raise TypeError(f"{key} is {value!r}")
    return int(key), value


def _parse_class_mapping(text: TextFile) -> ClassFile:
    """Read class_mapping.csv; maps of numbers have the number in place of the colour, the background is 0."""
    names: dict[int, str] = {}
    number_of_colour: dict[Colour, int] = {}
    for row in text.records():
        name = row.get("class_name", "")
        channels = row.get("class_color", "").split()
        if not name or not all(map(str.isdecimal, channels)):
            raise DataError(f"{text.file} has a row without class_name and class_color: {row}.")
        is_nothing = is_background(name.strip("_"))
        match list(map(int, channels)):
            case [number]:
                pass
            case [red, green, blue]:
                number = 0 if is_nothing else len(names) + 1
                number_of_colour[red, green, blue] = number
            case _:
                raise DataError(f"{text.file}: {name} has the colour {row['class_color']!r}.")
        if not is_nothing:
            names[number] = name
    if not names:
        raise DataError(f"{text.file} names no class; write a line of class_name,class_color each.")
    return ClassFile(text.file, names, number_of_colour, text.notes())


def _parse_label_map(text: TextFile) -> ClassFile:
    """Read labelmap.txt; the background is 0 wherever its line is, the others count from 1."""
    names: dict[int, str] = {}
    number_of_colour: dict[Colour, int] = {}
    for line in text.lines():
        if not line or line.startswith("#"):
            continue
        match = _LABEL_MAP_LINE.fullmatch(line)
        name = line.split(":")[0]
        if match:
            name = match[1]
        number = 0
        if not is_background(name):
            number = len(names) + 1
            names[number] = name
        if match:
            red, green, blue = map(int, match.groups()[1:])
            number_of_colour[red, green, blue] = number
    if not names:
        raise DataError(f"{text.file} names no class; write name:red,green,blue:: a line.")
    return ClassFile(text.file, names, number_of_colour, text.notes())
