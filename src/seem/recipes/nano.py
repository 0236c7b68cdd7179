"""The run that made the embedded model.

    seem train nano --data pack:../shared/data --out runs/nano

One single-thread process per core. From random weights, the first images are small and later ones larger; from given
weights (`--model`), all are large and the learning rate is lower. The model card says which hardware, how many hours
and what scores.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from seem.checkpoints.network import MODEL_KEY, LoadedNetwork, current_keys
from seem.checkpoints.safe import atomic_write, read_tensors, sha256_of, write_tensors
from seem.config import nano
from seem.data.augmentation import Augmentation
from seem.data.copy_paste import paste_object
from seem.data.image_bank import ImageBank
from seem.data.pack import Pack
from seem.data.training_sample import TrainingSample
from seem.data.training_sampler import TrainingSampler
from seem.errors import SeemError
from seem.finetuning.network_state import state_dict_as
from seem.finetuning.processes import wait_for_all_processes
from seem.finetuning.profile import DENSE_CONFIG
from seem.finetuning.run_folder import check_unchanged_options
from seem.model import Model
from seem.models.build import build
from seem.models.segmenter import Segmenter
from seem.models.text.encoder import TextEncoder
from seem.models.text.tokenizer import BytePairTokenizer
from seem.recipes.words import Lexicon, teach_words
from seem.simulation.strokes import DEFAULT_STROKES, PromptKind
from seem.training.batch_sampler import describe_samples, draw_sample_pairs
from seem.training.batches import TrainingBatch, make_training_batch
from seem.training.checkpoint import STATE_FILE, checkpoint_step
from seem.training.config import TrainConfig
from seem.training.distributed import rank_and_world_size
from seem.training.engine import Hooks, run_training
from seem.training.figures import draw_run_curves
from seem.training.objectives.dense import full_step_loss, text_prompt_loss
from seem.training.phrases import PhraseTokenizer
from seem.training.run_log import ScoreHistory, TensorBoardLog, print_log_row
from seem.training.steps import attention_backend
from seem.training.targets import PromptMix
from seem.training.validation import score

WEIGHTS_FILE = "nano.safetensors"
SETTINGS_FILE = "begun.json"  # the settings that a run began with

LogRow: TypeAlias = "Mapping[str, float]"


# --- Settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stage:
    """What steps train on until the share `until` of a run.

    Attributes:
        until: share of the steps of a run, 0-1.
        size: side of the canvas in pixels of images with all kinds of prompts.
        text_images: number of further images that are prompted by text and references alone. They cost less, and text
            needs many images.
        text_size: side of the canvas of these images.
    """

    until: float
    size: int
    text_images: int
    text_size: int = 160

    def to_json(self) -> dict[str, float]:
        """Return the stage as plain values."""
        return {
            "until": self.until,
            "size": self.size,
            "named": self.text_images,
            "named_size": self.text_size,
        }


STAGES_FROM_RANDOM = (
    Stage(0.4, 160, 24, 128),
    Stage(0.7, 192, 20, 128),
    Stage(0.88, 224, 14),
    Stage(1.0, 256, 12),
)
"""From random weights: small images first, because they teach most per second. Numbers are of one process."""

STAGES_FROM_WEIGHTS = (Stage(1.0, 224, 24),)
"""From given weights, smaller images did not improve first clicks, and larger ones no more than these (runs 12 to 15 of
the documentation of nano); as many images for text as for other prompts kept both (run 16).
"""

RANDOM_LEARNING_RATE = (
    8e-4  # from random weights; given weights get worse with more than that of `nano_config`
)

STROKES = replace(
    DEFAULT_STROKES,
    kind_weights={
        PromptKind.POINT: 0.44,
        PromptKind.CIRCLE: 0.16,
        PromptKind.SCRIBBLE: 0.16,
        PromptKind.POLYGON: 0.08,
        PromptKind.BOX: 0.16,
    },
)
"""More strokes than users draw, because nano follows them worst (run 13 of the documentation of nano)."""

PROMPT_MIX = PromptMix(text=0.15, text_and_visual=0.1, reference=0.08, strokes=STROKES)
TEXT_PROMPT_MIX = PromptMix(text=1.0, absent=0.25, reference=0.55, reference_absent=0.15)

AUGMENTATION = Augmentation(p_quarter=0.16)
TEXT_AUGMENTATION = Augmentation(
    p_zoom=0.65,
    zoom=(1.0, 2.6),
    p_whole=0.2,
    max_enlargement=2.5,
    p_hue=0.4,
    p_grey=0.1,
    p_blur=0.12,
    p_quarter=0.08,
)
TEXT_SET_WEIGHTS = {
    "coco_full": 0.32,
    "coco_person": 0.06,
    "ccp": 0.07,
    "voc_animals": 0.25,
    "voc_general": 0.2,
    "open_mix": 0.1,
}
P_PASTE = 0.6  # of the pairs of images for text get objects of one class pasted in
STEP_SAMPLES = 1024  # sample numbers reserved for the images for text of a step; the second half is for pasted objects

NUM_VALIDATIONS = 10  # in a run
VALIDATION_IMAGES = 4  # of every data set

RESUME_FIELDS = ("batch", "learning_rate", "seed", "optimizer")
"""Settings that a resumed run must repeat; its length may change."""


def nano_config(
    steps: int = 1150,
    batch: int = 24,
    learning_rate: float = 3e-4,
    average: float = 0.996,
    seed: int = 0,
) -> TrainConfig:
    """Return the settings of a run from given weights."""
    return TrainConfig(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        average=average,
        seed=seed,
        warmup=60,
        schedule="hold",
        checkpoint_every=50,
        optimizer="muon",
    )


def stage_at(share: float, stages: Sequence[Stage]) -> Stage:
    """Return the stage at a share of a run, 0-1."""
    for stage in stages:
        if share < stage.until:
            return stage
    return stages[-1]


# --- The run ----------------------------------------------------------------------------------------------------------


def train_nano(
    data: Path,
    out: Path,
    config: TrainConfig,
    start: Path | None = None,
    report: Callable[[LogRow], None] = print_log_row,
) -> Segmenter:
    """Train nano on every set that may go into shipped weights; write `nano.safetensors` and return the network.

    A run that was stopped goes on from its checkpoint.

    Args:
        data: folder of the pack.
        out: folder of the run. The image cache, and the text tower of runs from random weights, are beside it, for the
            next run.
        config: the settings of the run.
        start: weights to start from; their text tower is kept. None: random weights.
        report: gets every row of the log.
    """
    torch.manual_seed(config.seed)
    device = _choose_device()
    bank = ImageBank.load(data, cache=out.parent / "photos.cache")
    stages = STAGES_FROM_RANDOM if start is None else STAGES_FROM_WEIGHTS
    settings = run_settings(config, stages, bank, start)
    check_or_write_settings(out, settings)

    tokenizer = PhraseTokenizer(BytePairTokenizer.nano())
    network = _start_network(out, start, tokenizer)
    network = network.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    validator = NanoValidator(data, bank, out, tokenizer.tokenizer, report)
    task = NanoTask(bank, config, tokenizer, device, stages)
    hooks = Hooks(validate=validator.validate, describe=task.describe, report=validator.report_row)
    validate_every = 0
    if validator.packs:
        validate_every = math.ceil(config.steps / NUM_VALIDATIONS)
    try:
        trained = run_training(
            network, task.step, replace(config, validate_every=validate_every), out, hooks
        )
    finally:
        validator.close()
    assert isinstance(trained, Segmenter)
    if rank_and_world_size()[0] == 0:
        write_nano_weights(trained, out / WEIGHTS_FILE, settings)
    return trained


def _choose_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    torch.set_num_threads(1)
    return torch.device("cpu")


def _start_network(out: Path, start: Path | None, tokenizer: PhraseTokenizer) -> Segmenter:
    """Build nano with the weights that a run starts from; of the text tower only the temperature is trained."""
    network = build(nano())
    if start is None or not warm_start(network, start):
        weights = text_tower_weights(out.parent / "words.safetensors", network.text, tokenizer)
        network.text.load_state_dict(weights)
    for name, p in network.text.named_parameters():
        p.requires_grad_(name == "logit_scale")
    return network


def warm_start(network: Segmenter, file: Path) -> bool:
    """Load weights of an earlier nano into a network as far as they fit; new inputs of a wider layer start at zero.

    Returns whether its text tower was loaded completely.
    """
    target = network.state_dict()
    source = current_keys(read_tensors(file).tensors)
    for key, old in source.items():
        new = target.get(key)
        if new is None or new.ndim != old.ndim:
            continue
        if new.shape != old.shape:
            new.zero_()
        shared = tuple(slice(0, min(sizes)) for sizes in zip(new.shape, old.shape, strict=True))
        new[shared] = old[shared].to(new.dtype)
    for key, new in target.items():
        if key.startswith("text.") and (key not in source or source[key].shape != new.shape):
            return False
    return True


def text_tower_weights(
    file: Path, tower: TextEncoder, tokenizer: PhraseTokenizer
) -> dict[str, Tensor]:
    """Return the weights of a text tower trained on the lexicon; the first process makes them once and keeps `file`."""
    if rank_and_world_size()[0] == 0 and not file.exists():
        trained = copy.deepcopy(tower).train()
        teach_words(trained, tokenizer, Lexicon.draw(trained.projection.shape[1]))
        write_tensors(file, trained.state_dict(), {})
    wait_for_all_processes()
    return {**read_tensors(file).tensors, "logit_scale": tower.logit_scale.detach()}


def write_nano_weights(network: Segmenter, file: Path, settings: Mapping[str, object]) -> None:
    """Write a network as the package ships it: half precision, with the settings of its run as metadata."""
    made_by = json.dumps(settings, allow_nan=False)
    write_tensors(
        file,
        state_dict_as(network, torch.float16),
        {MODEL_KEY: network.config.name, "made_by": made_by},
    )


# --- Settings of a run, as they are resumed ---------------------------------------------------------------------------


def run_settings(
    config: TrainConfig, stages: Sequence[Stage], bank: ImageBank, start: Path | None
) -> dict[str, object]:
    """Return everything that decides which weights a run makes, as plain values."""
    settings: dict[str, object] = {
        "recipe": config.to_json(),
        "processes": rank_and_world_size()[1],
        "stages": [stage.to_json() for stage in stages],
        "photos": {name: len(rows) for name, rows in bank.by_set.items()},
        "data": bank.fingerprint,
    }
    if start is not None:
        settings["start_sha256"] = sha256_of(start)
    return settings


def check_or_write_settings(out: Path, settings: Mapping[str, object]) -> None:
    """Write the settings of a new run; raise `ValueError` if a resumed run began with other ones."""
    if (out / STATE_FILE).is_file():
        _check_same_settings(out, settings)
    elif rank_and_world_size()[0] == 0:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / SETTINGS_FILE) as aside:
            aside.write_text(json.dumps(settings, indent=2, allow_nan=False), encoding="utf-8")


def _check_same_settings(out: Path, settings: Mapping[str, object]) -> None:
    begun = read_settings(out)
    check_unchanged_options(out, _resume_options(begun), _resume_options(settings))
    descriptions = {"data": "photos", "stages": "stages, those of another version of the recipe"}
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
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SeemError(f"{file} cannot be read ({error}); begin anew with --overwrite.") from error
    return settings


def _resume_options(settings: Mapping[str, Any]) -> dict[str, object]:
    """Return what a resumed run must repeat, by the names of the command line options."""
    recipe = settings["recipe"]
    start_sha256 = settings.get("start_sha256")
    return {
        "model": start_sha256 and str(start_sha256)[:12],
        "processes": settings["processes"],
        **{name: recipe[name] for name in RESUME_FIELDS},
    }


# --- Steps ------------------------------------------------------------------------------------------------------------


class NanoTask:
    """The training steps of this process: its images, prompts and loss."""

    def __init__(
        self,
        bank: ImageBank,
        config: TrainConfig,
        tokenizer: PhraseTokenizer,
        device: torch.device,
        stages: Sequence[Stage],
    ) -> None:
        self.bank = bank
        self.stages = stages
        self.config = config
        self.tokenizer = tokenizer
        self.device = device
        self.rank, self.processes = rank_and_world_size()

    def step(self, network: nn.Module, number: int) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step, and its terms for the log."""
        assert isinstance(network, Segmenter)
        rng = np.random.default_rng((self.config.seed, number, self.rank))
        batch, text_batch = self._batches(network, number, rng)
        with torch.autocast(self.device.type, dtype=torch.bfloat16), attention_backend(self.device):
            full = full_step_loss(network, batch, self.tokenizer, DENSE_CONFIG, rng)
            text = text_prompt_loss(network, text_batch, self.tokenizer, DENSE_CONFIG, rng)
        terms = {
            "text_prompts": float(text.detach()),
            **full.terms(),
            "total": float(full.total.detach()),
        }
        return full.total + text, terms

    def describe(self, number: int) -> str:
        """Name the images of a step."""
        stage = self._stage(number)
        text_samples = self._draw_text_samples(number, stage, np.random.default_rng(0))
        return describe_samples([*self._draw_samples(number, stage), *text_samples])

    def _stage(self, number: int) -> Stage:
        return stage_at(number / self.config.steps, self.stages)

    def _batches(
        self, network: Segmenter, number: int, rng: np.random.Generator
    ) -> tuple[TrainingBatch, TrainingBatch]:
        """Draw the images with all kinds of prompts, and those with text and references alone."""
        stage = self._stage(number)
        config = network.config.image
        batch = make_training_batch(self._draw_samples(number, stage), config, 3, PROMPT_MIX, rng)
        text_samples = self._draw_text_samples(number, stage, rng)
        text_batch = make_training_batch(text_samples, config, 1, TEXT_PROMPT_MIX, rng)
        return batch.to(self.device), text_batch.to(self.device)

    def _draw_samples(self, number: int, stage: Stage) -> list[TrainingSample]:
        sampler = TrainingSampler(
            self.bank, size=stage.size, seed=self.config.seed, augmentation=AUGMENTATION
        )
        first = self._process_step(number) * self.config.batch
        return draw_sample_pairs(sampler, first, self.config.batch)

    def _draw_text_samples(
        self, number: int, stage: Stage, rng: np.random.Generator
    ) -> list[TrainingSample]:
        sampler = TrainingSampler(
            self.bank,
            size=stage.text_size,
            seed=self.config.seed + 1,
            weights=TEXT_SET_WEIGHTS,
            augmentation=TEXT_AUGMENTATION,
        )
        return draw_text_pairs(
            sampler, self._process_step(number) * STEP_SAMPLES, stage.text_images, rng
        )

    def _process_step(self, number: int) -> int:
        """Return the number of a step among those of all processes."""
        return number * self.processes + self.rank


def draw_text_pairs(
    sampler: TrainingSampler, first: int, count: int, rng: np.random.Generator
) -> list[TrainingSample]:
    """Draw pairs of images for text prompts; into some pairs, objects of one class are pasted, one into each image.

    The class is any that the images are annotated for: rare classes are as frequent as common ones, and each image can
    be the other's reference.
    """
    samples = draw_sample_pairs(sampler, first, count)
    for i in range(0, count - 1, 2):
        one, other = samples[i], samples[i + 1]
        complete = max(one.complete_names, other.complete_names, key=len)
        names = sorted(complete & sampler.bank.by_name.keys())
        if not names or rng.random() >= P_PASTE:
            continue
        name = names[int(rng.integers(len(names)))]
        for index in (i, i + 1):
            donor = sampler.of_class(name, first + STEP_SAMPLES // 2 + index)
            samples[index] = paste_object(samples[index], donor, rng, about=name)
    return samples


# --- Validation -------------------------------------------------------------------------------------------------------


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
