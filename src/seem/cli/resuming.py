"""What an interrupted `seem segment` goes on with: results of the same options and of the same model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seem.cli.options import PATH_OPTIONS, ModelOptions, typed_option
from seem.cli.report import AnsweringModel
from seem.cli.segment_request import AnswerOptions, FullImageOptions, Refinement
from seem.cli.tile_options import NO_TILES, TileOptions

WORD_OPTIONS = ("--text", "--find", "--against", "--classes", "--template")
WAY_OUT = "ask for the same, or pass --overwrite or another --out"


def recorded_options(
    answer: AnswerOptions,
    image: FullImageOptions,
    network: ModelOptions,
    embeddings: bool,
    tiles: TileOptions = NO_TILES,
) -> list[str]:
    """Return the options that the files of a photo depend on, beside its prompts and the model, as they are typed."""
    refine = Refinement.ZOOM if answer.refines_by_zoom else None
    options = [*replace(answer, second_look=False, refine=refine).given(), *image.given()]
    if network.size is not None:
        options += typed_option("size", network.size)
    options += tiles.given()
    if embeddings:
        options += typed_option("embeddings", True)
    return options


@dataclass(frozen=True, slots=True)
class EarlierResults:
    """What the JSON files of photos record about their making, by file; nothing for those that cannot be read."""

    records: Mapping[Path, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, files: Sequence[Path]) -> EarlierResults:
        """Read the JSON files of photos."""
        return cls({file: read_origin(file) for file in files})

    def check_options(self, options: Sequence[str]) -> None:
        """Raise `ValueError` for a result of other options; a file that does not record them is passed over."""
        for file, record in self.records.items():
            earlier = record.get("options")
            if isinstance(earlier, list) and not denote_the_same(earlier, options):
                raise ValueError(
                    f"{file} is a result of {options_text(earlier)}, this call has {options_text(options)}; {WAY_OUT}."
                )

    def check_model(self, model: AnsweringModel) -> None:
        """Raise `ValueError` for a result of another model, by the digest of its weights."""
        for file, record in self.records.items():
            if record.get("sha256", model.sha256) != model.sha256:
                raise ValueError(
                    f"{file} is a result of {record.get('model')} with other weights than --model; {WAY_OUT}."
                )


def denote_the_same(some: Sequence[object], others: Sequence[object]) -> bool:
    """Whether options mean the same, however their numbers, lists and paths are written."""
    return list(map(_parsed_option, some)) == list(map(_parsed_option, others))


def _parsed_option(option: object) -> tuple[object, ...]:
    """Return an option and its values: numbers for "0.50,2", the real path of a file, words without further spaces."""
    flag, _, value = str(option).partition(" ")
    if flag in PATH_OPTIONS:
        return flag, os.path.realpath(value)
    if flag in WORD_OPTIONS:
        return flag, *(" ".join(words.split()) for words in value.split(","))
    return flag, *map(_number_or_word, value.split(","))


def _number_or_word(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def read_origin(file: Path) -> dict[str, Any]:
    """Read what the JSON file of a photo records about its making; nothing where that cannot be read."""
    try:
        origin = json.loads(file.read_bytes())["seem"]
        return {key: origin[key] for key in ("options", "model", "sha256") if key in origin}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def options_text(options: Sequence[object]) -> str:
    """Word the options of a call."""
    return " ".join(map(str, options)) or "no prompt"
