"""The folder of a run of the embedded model: the settings that it began with, its scores, its weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from seem.checkpoints.network import MODEL_KEY, LoadedNetwork
from seem.checkpoints.safe import atomic_write, write_tensors
from seem.data.image_bank import ImageBank
from seem.data.pack import Pack
from seem.errors import SeemError
from seem.finetuning.network_state import state_dict_as
from seem.finetuning.run_folder import check_unchanged_options
from seem.model import Model
from seem.models.segmenter import Segmenter
from seem.models.text.tokenizer import BytePairTokenizer
from seem.training.checkpoint import STATE_FILE, checkpoint_step
from seem.training.distributed import rank_and_world_size
from seem.training.figures import draw_run_curves
from seem.training.run_log import ScoreHistory, TensorBoardLog
from seem.training.validation import score

WEIGHTS_FILE = "nano.safetensors"
SETTINGS_FILE = "begun.json"
"""The settings that a run began with; while it is there, the folder holds a run."""

VALIDATION_IMAGES = 4  # of every data set

LogRow: TypeAlias = "Mapping[str, float]"


def check_or_write_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a new run; raise `ValueError` if a resumed run began with other ones."""
    text = json.dumps(settings, indent=2, allow_nan=False)
    if (out / SETTINGS_FILE).is_file():
        _check_same_settings(out, json.loads(text))
    elif rank_and_world_size()[0] == 0:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / SETTINGS_FILE) as aside:
            aside.write_text(text, encoding="utf-8")


def _check_same_settings(out: Path, settings: Mapping[str, Any]) -> None:
    begun = read_settings(out)
    check_unchanged_options(out, _resume_options(begun), _resume_options(settings))
    descriptions = {"data": "photos", "legs": "legs, those of another version of the recipe"}
    for name, description in descriptions.items():
        if begun.get(name) != settings[name]:
            raise ValueError(
                f"{out} was begun with other {description}; resume with the same, or begin anew with --overwrite."
            )


def read_settings(out: Path) -> dict[str, Any]:
    """Read the settings that the run in `out` began with; `SeemError` if they cannot be read."""
    file = out / SETTINGS_FILE
    try:
        settings: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        _resume_options(settings)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SeemError(f"{file} cannot be read ({error}); begin anew with --overwrite.") from error
    return settings


def _resume_options(settings: Mapping[str, Any]) -> dict[str, object]:
    """Return what a resumed run must repeat, by the names of the command line options."""
    recipes = [leg["recipe"] for leg in settings["legs"]]
    start_sha256 = settings.get("start_sha256")
    return {
        "model": start_sha256 and str(start_sha256)[:12],
        "processes": settings["processes"],
        "steps": sum(recipe["steps"] for recipe in recipes),
        **{name: recipes[0][name] for name in ("batch", "learning_rate", "seed", "optimizer")},
    }


def write_nano_weights(network: Segmenter, file: Path, settings: Mapping[str, object]) -> None:
    """Write a network as the package ships it: half precision, with the settings of its run as metadata."""
    made_by = json.dumps(settings, allow_nan=False)
    write_tensors(
        file,
        state_dict_as(network, torch.float16),
        {MODEL_KEY: network.config.name, "made_by": made_by},
    )


class NanoValidator:
    """Scores a few validation images now and then, and records the scores; they do not choose the weights."""

    def __init__(
        self,
        data: Path,
        bank: ImageBank,
        out: Path,
        tokenizer: BytePairTokenizer,
        report: Callable[[LogRow], None],
    ) -> None:
        self.packs = []
        for name in bank.by_set:  # the sets that are trained on
            if (data / name / "annotations.json").is_file():
                pack = Pack.open(data / name, "val")
                if pack.images:
                    self.packs.append(pack)
        self.out = out
        self.tokenizer = tokenizer
        self.report = report
        state_file = out / STATE_FILE
        first_step = checkpoint_step(state_file) if state_file.is_file() else 0
        self.history = ScoreHistory(out, first_step)
        self.board: TensorBoardLog | None = None
        if rank_and_world_size()[0] == 0 and self.packs:
            self.board = TensorBoardLog(out, first_step)

    def validate(self, network: nn.Module, step: int) -> float:
        """Return the score of the averaged weights."""
        assert isinstance(network, Segmenter)
        loaded = LoadedNetwork(network.config.name, network, "", lambda: self.tokenizer)
        device = next(network.parameters()).device
        scores = score(Model(loaded, device, "float32"), self.packs, VALIDATION_IMAGES)
        self.history.add(step, {**scores.parts, "score": scores.main})
        if self.board is not None:
            self.board.add("validation", scores.parts, step)
        return scores.main

    def report_row(self, row: LogRow) -> None:
        """Record and report a row of the log."""
        if self.board is not None:
            terms = {name: value for name, value in row.items() if name != "step"}
            self.board.add("train", terms, int(row["step"]))
        self.report(row)

    def close(self) -> None:
        """Draw the curves, and close the files."""
        if self.board is not None:
            self.board.close()
            draw_run_curves(self.out)
