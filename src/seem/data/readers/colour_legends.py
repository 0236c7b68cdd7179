"""Legends of maps: which class every colour, and every number, of label maps means.

    label_colors.txt    red green blue name        CamVid; Datumaro and CVAT for CamVid, Cityscapes and KITTI
    class_dict.csv      name,r,g,b
    codes.txt           a name a line

Numbers count the lines: from 0 in codes.txt and where there is a black class or, without colours, a first line called
background; else from 1, and 0 is nothing. What is black comes first, wherever its line is. What is called void,
unlabelled or ignore does not count, black background is no class.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from seem.data.classes import prompt_name
from seem.data.image_files import first_file
from seem.data.readers.class_maps import voc_colour
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind
from seem.data.text_files import TextFile

UNCOUNTED_NUMBER = -1
"""The category id of what does not count."""

_FILE_NAMES = ("label_colors.txt", "class_dict.csv", "codes.txt")
_VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore")
_BACKGROUND_NAMES = ("background", "_background_")
_BLACK, _NO_COLOUR = 0, -1
_MAX_CHANNEL = 255
_WORDS = re.compile(r"[\s,;]+")
_NAME_FIRST = re.compile(r"(.*?)[\s,;:]+(\d+)[\s,;]+(\d+)[\s,;]+(\d+)")
_COLUMNS = {
    "name": "name", "class": "name", "label": "name",
    "r": "r", "red": "r", "g": "g", "green": "g", "b": "b", "blue": "b",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColourLegend:
    """The classes of a set, and the category id of every colour (R + 256 G + 65536 B) and of every number."""

    file: Path
    categories: tuple[CategoryRecord, ...]
    id_of_colour: Mapping[int, int]
    id_of_number: Mapping[int, int]
    notes: tuple[Flaw, ...] = ()


def find_legend_file(folder: Path) -> Path | None:
    """Return the legend of a folder, None if it has none."""
    return first_file(*map(folder.joinpath, _FILE_NAMES))


def read_colour_legend(file: Path) -> ColourLegend:
    """Read the names and colours of the classes, in the order of the file; all of them are stuff.

    Raises:
        DataError: it names no class, or a row of it cannot be read.
    """
    text = TextFile.read(file)
    rows = _read_rows(text)
    if not rows:
        raise DataError(f"{file} names no class; write a line of red green blue name for each.")
    colours = _colours_of(rows, file)
    starts_at_zero = _BLACK in colours or file.name == "codes.txt"
    order = list(range(len(rows)))
    if _BLACK in colours:  # the numbers of maps begin with what is black, wherever its line is
        order.sort(key=lambda index: colours[index] != _BLACK)
    categories: list[CategoryRecord] = []
    id_of_colour: dict[int, int] = {}
    id_of_number: dict[int, int] = {}
    first_number = 0 if starts_at_zero else 1
    for line_number, index in enumerate(order, 1):
        name, colour = rows[index].name, colours[index]
        category_id = _id_of(name, colour, line_number)
        id_of_number[line_number - 1 + first_number] = category_id
        id_of_colour.setdefault(colour, category_id)
        if category_id > 0:
            categories.append(CategoryRecord(category_id, name, prompt_name(name), is_thing=False))
    if not starts_at_zero:
        id_of_number.setdefault(0, 0)
        id_of_colour.setdefault(_BLACK, 0)
    notes = (*text.notes(), *_note_shared_colours(rows, file))
    return ColourLegend(file, tuple(categories), id_of_colour, id_of_number, notes)


# --- Rows -------------------------------------------------------------------------------------------------------------


class _LegendRow(NamedTuple):
    """A class: its name and its colour, None where the legend has none."""

    name: str
    colour: int | None


def _read_rows(text: TextFile) -> list[_LegendRow]:
    lines = text.lines()
    if text.file.suffix == ".csv":
        delimiter = ","
        if lines and "," not in lines[0]:
            delimiter = ";"
        table = csv.DictReader(lines, delimiter=delimiter)
        return [_row_of_table(row, text.file) for row in table]
    rows = []
    for line in lines:
        if line and not line.startswith("#"):
            rows.append(_row_of_line(line, text.file))
    return rows


def _row_of_line(line: str, file: Path) -> _LegendRow:
    """Read `red green blue name`, `name red green blue`, or a name alone."""
    words = _WORDS.split(line, maxsplit=3)
    if len(words) == 4 and _are_channels(words[:3]):
        return _LegendRow(words[3].strip(), _pack(words[:3], file))
    turned = _NAME_FIRST.fullmatch(line)
    if turned:
        return _LegendRow(turned[1], _pack(turned.groups()[1:], file))
    return _LegendRow(line, None)


def _are_channels(words: Sequence[str]) -> bool:
    return all(word.isdecimal() for word in words)


def _row_of_table(row: Mapping[str, str], file: Path) -> _LegendRow:
    cells = {}
    for key, value in row.items():
        title = str(key).strip().lower()
        cells[_COLUMNS.get(title, "")] = str(value).strip()
    try:
        channels = cells["r"], cells["g"], cells["b"]
        return _LegendRow(cells["name"], _pack(channels, file))
    except (KeyError, ValueError) as error:
        raise DataError(f"{file} has a row without name, r, g, b ({error}).") from error


def _colours_of(rows: Sequence[_LegendRow], file: Path) -> list[int]:
    """Return the colours of classes; a legend without colours has Pascal VOC's, as the tools that write it draw."""
    if any(row.colour is not None for row in rows):
        return [_NO_COLOUR if row.colour is None else row.colour for row in rows]
    begins_with_nothing = file.name == "codes.txt" or rows[0].name.lower() in _BACKGROUND_NAMES
    colours = [_pack(voc_colour(number), file) for number in range(len(rows) + 1)]
    return colours[:-1] if begins_with_nothing else colours[1:]


def _id_of(name: str, colour: int, number: int) -> int:
    """Return the id of a class: 0 for black background, `UNCOUNTED_NUMBER` for what does not count."""
    if name.lower() in _VOID_NAMES:
        return UNCOUNTED_NUMBER
    return 0 if colour == _BLACK and name.lower() in _BACKGROUND_NAMES else number


def _note_shared_colours(rows: Sequence[_LegendRow], file: Path) -> Iterator[Flaw]:
    """Note classes that maps of colours do not tell apart; black is nothing in many legends."""
    names_by_colour: dict[int, list[str]] = {}
    for row in rows:
        if row.colour:
            names_by_colour.setdefault(row.colour, []).append(row.name)
    for names in names_by_colour.values():
        if len(names) > 1:
            what = f"{', '.join(names)}: in maps of colours it is {names[0]}"
            yield Flaw(FlawKind.SHARED_COLOUR, file.name, what)


def _pack(channels: Iterable[str | int], file: Path) -> int:
    """Return R + 256 G + 65536 B; `DataError` for a channel above 255."""
    red, green, blue = map(int, channels)
    if max(red, green, blue) > _MAX_CHANNEL:
        raise DataError(f"{file} has the colour {red} {green} {blue}; channels go from 0 to 255.")
    return red + 256 * green + 65536 * blue
