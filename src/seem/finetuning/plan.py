"""The plan of a run: everything that was decided before its first step, and the file that holds it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seem.data.frames import AnnotationFrame
from seem.data.opening import DatasetSpec
from seem.errors import SeemError
from seem.finetuning.datasets import DataSource
from seem.finetuning.request import FineTuningRequest, PublishedRecipe
from seem.finetuning.run_folder import RUN_FILE, check_unchanged_options
from seem.loading import names_weights
from seem.models.precision import Precision
from seem.training.config import TrainConfig
from seem.training.objectives.published_config import Ablation

NAMING_RATIO = 8  # in sets in which every pixel has a class
PARTIAL_NAMING_RATIO = 1  # in other sets with class names
SHARED_NAMING_RATIO = 2  # least ratio of sets of the first kind where processes share a step


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run decided before its first step; `run.json` holds it.

    Attributes:
        frozen_parts: parts of the network that are not trained.
        size: side of the training canvas in pixels.
        device: type of the device: "cpu", "cuda".
        step_seconds: measured time of a step.
        image_seconds: measured time of the validation of one image.
        validation_images: number of images of each validation.
        naming_ratio: for each image with prompted targets, further images asked for class names alone.
        scratch: start from random weights.
        start_sha256: checksum of the weights that the run starts from.
        data_fingerprint: checksum of the images and their annotations.
        ablation: of a run by a published recipe; None for fine-tuning.
        finer_masks: LVIS folder, whose masks replace those of objects with matching boxes.
        options: what the user asked for, by the fields of `FineTuningRequest`.
    """

    model: str
    sources: tuple[DataSource, ...]
    frozen_parts: tuple[str, ...]
    size: int
    precision: Precision
    device: str
    config: TrainConfig
    step_seconds: float
    image_seconds: float
    validation_images: int
    naming_ratio: int
    scratch: bool
    processes: int
    start_sha256: str
    data_fingerprint: str
    ablation: Ablation | None
    finer_masks: str | None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def minutes(self) -> float:
        """The estimated time of the run, validation included."""
        validations = self.config.steps / max(self.config.validate_every, 1)
        training_seconds = self.config.steps * self.step_seconds
        validation_seconds = validations * self.validation_images * self.image_seconds
        return (training_seconds + validation_seconds) / 60

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {
            "model": self.model,
            "sources": [source.to_json() for source in self.sources],
            "freeze": self.frozen_parts,
            "size": self.size,
            "arithmetic": self.precision,
            "device": self.device,
            "config": self.config.to_json(),
            "step_seconds": self.step_seconds,
            "photo_seconds": self.image_seconds,
            "validation_photos": self.validation_images,
            "named": self.naming_ratio,
            "scratch": self.scratch,
            "processes": self.processes,
            "start_sha256": self.start_sha256,
            "fingerprint": self.data_fingerprint,
            "objective": ablation_to_json(self.ablation),
            "finer_masks": self.finer_masks,
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Plan:
        """Read what `to_json` returned."""
        return cls(
            model=plain["model"],
            sources=tuple(map(DataSource.from_json, plain["sources"])),
            frozen_parts=tuple(plain["freeze"]),
            size=plain["size"],
            precision=plain["arithmetic"],
            device=plain["device"],
            config=_config_from_json(plain["config"]),
            step_seconds=plain["step_seconds"],
            image_seconds=plain["photo_seconds"],
            validation_images=plain["validation_photos"],
            naming_ratio=plain["named"],
            scratch=plain["scratch"],
            processes=plain["processes"],
            start_sha256=plain["start_sha256"],
            data_fingerprint=plain["fingerprint"],
            ablation=_ablation_from_json(plain["objective"]),
            finer_masks=plain["finer_masks"],
            options=plain.get("options", {}),
        )

    def recorded_json(self) -> dict[str, Any]:
        """Return the plan without times measured on this machine, as the file of weights records it."""
        plain = self.to_json()
        del plain["step_seconds"], plain["photo_seconds"]
        return plain

    def check_same_options(
        self, request: FineTuningRequest, recipe: PublishedRecipe | None
    ) -> None:
        """Raise `ValueError` if a resumed run asks for other options than the plan holds."""
        begun = {**self.options, **ablation_to_json(self.ablation), "finer_masks": self.finer_masks}
        now = {
            **request.resume_options(),
            **ablation_to_json(ablation_of(recipe)),
            "finer_masks": finer_masks_folder(recipe),
        }
        check_unchanged_options(request.out, begun, now)


def _config_from_json(plain: Mapping[str, Any]) -> TrainConfig:
    fields = dict(plain)
    if fields["minutes"] is None:
        fields["minutes"] = math.inf
    for name in ("drops", "betas"):
        fields[name] = tuple(fields[name])
    fields["rates"] = tuple((prefix, factor) for prefix, factor in fields["rates"])
    return TrainConfig(**fields)


def ablation_to_json(ablation: Ablation | None) -> dict[str, Any]:
    """Return the switches of a published objective as plain values; none for fine-tuning."""
    if ablation is None:
        return {}
    return asdict(ablation)


def _ablation_from_json(plain: Mapping[str, Any]) -> Ablation | None:
    """Read what `ablation_to_json` returned."""
    if not plain:
        return None
    return Ablation(**plain)


def ablation_of(recipe: PublishedRecipe | None) -> Ablation | None:
    """Return the switches of a published recipe's objective; None for fine-tuning."""
    if recipe is None:
        return None
    return recipe.ablation


def finer_masks_folder(recipe: PublishedRecipe | None) -> str | None:
    """Return the folder of finer masks, as text."""
    if recipe is None or recipe.finer_masks is None:
        return None
    return str(recipe.finer_masks)


def read_plan(request: FineTuningRequest) -> Plan:
    """Read the plan of the run in `request.out`; `ValueError` if the request names other data or another model."""
    file = request.out / RUN_FILE
    try:
        plan = Plan.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise SeemError(
            f"{file} cannot be read ({type(error).__name__} {error}); begin anew with --overwrite."
        ) from error
    begun = [source.spec for source in plan.sources]
    if list(map(_data_identity, begun)) != list(map(_data_identity, request.data)):
        raise ValueError(
            f"{request.out} was begun with --data {' --data '.join(begun)}; resume with the same."
        )
    if _model_identity(plan.model) != _model_identity(request.model):
        raise ValueError(
            f"{request.out} was begun with --model {plan.model}; resume with the same."
        )
    return plan


def _data_identity(spec: str) -> tuple[str | None, Path, float, AnnotationFrame | None]:
    """Return format, absolute path, weight and frame of a data set, which are equal however its path is written."""
    parsed = DatasetSpec.parse(spec)
    return parsed.kind, parsed.path.resolve(), parsed.weight, parsed.frame


def _model_identity(model: str) -> str | Path:
    """Return the name of a model, or the absolute path of its file, which is equal however it is written."""
    return Path(model).resolve() if names_weights(model) else model


def full_step_interval(naming_ratio: int) -> int:
    """Return in which steps images get prompted targets: in all (1), in every second (2), third (3), ...

    With a smaller ratio of images for class names, fewer steps have images with prompted targets, so that the shares of
    both kinds stay those of `NAMING_RATIO`.
    """
    if naming_ratio <= PARTIAL_NAMING_RATIO:
        return 1
    return NAMING_RATIO // naming_ratio
