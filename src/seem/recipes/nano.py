"""The run that made the embedded model.

    seem train nano --data pack:../shared/data --out runs/nano

One single-thread process per core: small pictures first, then larger ones. From given weights (`--model`) the pictures
are large at once and the rate is low. The model card says which hardware, how many hours and what scores.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from seem.api import Model
from seem.checkpoints.network import MODEL_KEY, LoadedNetwork, current_keys
from seem.checkpoints.safe import atomic_write, read_tensors, sha256_of, write_tensors
from seem.config import nano
from seem.data.pack import ImageBank, Pack
from seem.data.transforms import Augmentation, TrainingSample, TrainingSampler, paste_object
from seem.errors import SeemError
from seem.finetuning.run import refuse_changes
from seem.models.build import build
from seem.models.segmenter import Segmenter
from seem.models.text.encoder import TextEncoder
from seem.models.text.tokenizer import BytePairTokenizer
from seem.recipes.words import Lexicon, teach_words
from seem.simulation.strokes import DEFAULT_STROKES, PromptKind
from seem.training.course import attention_for, draw_pairs
from seem.training.curves import Board, Results
from seem.training.engine import STATE_FILE, Hooks, TrainConfig, show, step_of, train, world
from seem.training.nano import Objective, spoken_loss, step_loss
from seem.training.pictures import draw_progress
from seem.training.targets import PhraseBook, PromptMix, make_batch
from seem.training.validation import score


@dataclass(frozen=True, slots=True)
class Stage:
    """What a step looks at until the share `until` of a run: `batch` photos on a canvas of `size` pixels get requests.

    `named` further photos, at `named_size` pixels, are asked by words and by each other's regions alone: a part of the
    cost, and words need to see many photos.
    """

    until: float
    size: int
    named: int
    named_size: int = 160


FROM_NOTHING = (Stage(0.4, 160, 24, 128), Stage(0.7, 192, 20, 128), Stage(0.88, 224, 14), Stage(1.0, 256, 12))
"""Small pictures first: what teaches most per second. Numbers are of one process."""

FROM_WEIGHTS = (Stage(1.0, 224, 24),)
"""To weights of an earlier run smaller pictures taught nothing about first clicks, and larger ones no more than these
(runs 12 to 15 in docs/nano/); as many photos for words as for marks kept both (run 16).
"""

RATE_FROM_NOTHING = 8e-4  # learning rate; given weights are spoilt by more than that of `config`

HABITS = replace(
    DEFAULT_STROKES,
    kind_weights={
        PromptKind.POINT: 0.44,
        PromptKind.CIRCLE: 0.16,
        PromptKind.SCRIBBLE: 0.16,
        PromptKind.POLYGON: 0.08,
        PromptKind.BOX: 0.16,
    },
)
"""Strokes more often than people draw them: they are what nano follows worst (run 13 in docs/nano/)."""

P_PASTE = 0.6  # of the pairs of named photos: how many get things of one class in front of them
WEIGHTS_FILE, BEGUN_FILE = "nano.safetensors", "begun.json"
Row: TypeAlias = "Mapping[str, float]"  # of the log

VALIDATIONS, VALIDATION_PHOTOS = 10, 4  # in a run; photos of every set each time
MOST_NAMED = 1024  # numbers of samples that a step keeps for itself
NAMED_SETS = {
    "coco_full": 0.32, "coco_person": 0.06, "ccp": 0.07, "voc_animals": 0.25, "voc_general": 0.2, "open_mix": 0.1,
}  # fmt: skip
WORDS_ALONE = PromptMix(text=1.0, absent=0.25, reference=0.55, reference_absent=0.15)
VIEW = Augmentation(p_quarter=0.16)
NAMED_VIEW = Augmentation(
    p_zoom=0.65, zoom=(1.0, 2.6), p_whole=0.2, max_enlargement=2.5, p_hue=0.4, p_grey=0.1, p_blur=0.12, p_quarter=0.08,
)  # fmt: skip


def config(
    steps: int = 1150,
    batch: int = 24,
    learning_rate: float = 3e-4,
    average: float = 0.996,
    seed: int = 0,
) -> TrainConfig:
    """Return the settings of a run from given weights."""
    return TrainConfig(
        steps=steps, batch=batch, learning_rate=learning_rate, average=average, seed=seed,
        warmup=60, schedule="hold", checkpoint_every=50, optimizer="muon",
    )  # fmt: skip


def stage_at(share: float, stages: Sequence[Stage]) -> Stage:
    """Return the stage when `share` of the run is done."""
    return next((stage for stage in stages if share < stage.until), stages[-1])


def draw_named(sampler: TrainingSampler, first: int, count: int, rng: np.random.Generator) -> list[TrainingSample]:
    """Draw pairs of photos to be asked by words; some pairs have things of one class, each its own, in front of them.

    The class is any that the photos are annotated for: rare ones come as often as common ones, and one photo can be the
    other's reference.
    """
    samples = draw_pairs(sampler, first, count)
    for place in range(0, count - 1, 2):
        a, b = samples[place : place + 2]
        names = sorted(max(a.complete_names, b.complete_names, key=len) & sampler.bank.by_name.keys())
        if not names or rng.random() >= P_PASTE:
            continue
        name = names[int(rng.integers(len(names)))]
        for row, sample in ((place, a), (place + 1, b)):
            donor = sampler.of_class(name, first + MOST_NAMED // 2 + row)
            samples[row] = paste_object(sample, donor, rng, about=name)
    return samples


def warm_start(network: Segmenter, file: Path) -> bool:
    """Take weights from an earlier nano, as far as they fit; new inputs of a wider layer begin unheard (zero).

    Returns whether its text tower came whole, and with it the meaning of words.
    """
    wanted, given = network.state_dict(), current_keys(read_tensors(file).tensors)
    for key, known in given.items():
        new = wanted.get(key)
        if new is None or new.ndim != known.ndim:
            continue
        place = tuple(slice(0, min(a, b)) for a, b in zip(new.shape, known.shape, strict=True))
        if new.shape != known.shape:
            new.zero_()
        new[place] = known[place].to(new.dtype)
    return all(given[k].shape == t.shape if k in given else False for k, t in wanted.items() if k.startswith("text."))


def words(file: Path, tower: TextEncoder, book: PhraseBook) -> dict[str, Tensor]:
    """Return the weights of a text tower that knows the lexicon; made once, by the first process, kept in `file`."""
    rank, processes = world()
    if rank == 0 and not file.exists():
        taught = copy.deepcopy(tower).train()
        teach_words(taught, book, Lexicon.draw(taught.projection.shape[1]))
        write_tensors(file, taught.state_dict(), {})
    if processes > 1:
        dist.barrier()
    kept = read_tensors(file).tensors
    return {**kept, "logit_scale": tower.logit_scale.detach()}


def export(network: Segmenter, file: Path, notes: Mapping[str, object]) -> None:
    """Write a network as the package ships it: half precision, with how it was made in the metadata."""
    halves = {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    write_tensors(file, halves, {MODEL_KEY: network.config.name, "made_by": json.dumps(notes, allow_nan=False)})


def begin(out: Path, notes: Mapping[str, object]) -> None:
    """Keep how a run was begun in `begun.json`; raise `ValueError` where it is to go on otherwise.

    Its length may change. Other photos, batches, rates or stages would make other weights than their file says.
    """
    if (out / STATE_FILE).is_file():
        before = begun(out)
        refuse_changes(out, told_of(before), told_of(notes))
        for what, told in (("data", "photos"), ("stages", "stages, those of another version of the recipe")):
            if before.get(what) != notes[what]:
                raise ValueError(
                    f"{out} was begun with other {told}; resume with the same, or begin anew with --overwrite."
                )
    elif world()[0] == 0:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_write(out / BEGUN_FILE) as aside:
            aside.write_text(json.dumps(notes, indent=2, allow_nan=False), encoding="utf-8")


def begun(out: Path) -> dict[str, Any]:
    """Read how the run in `out` was begun; `SeemError` where that cannot be read."""
    try:
        notes: dict[str, Any] = json.loads((out / BEGUN_FILE).read_text(encoding="utf-8"))
        told_of(notes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SeemError(f"{out / BEGUN_FILE} cannot be read ({error}); begin anew with --overwrite.") from error
    return notes


def told_of(notes: Mapping[str, Any]) -> dict[str, object]:
    """Name what must stay as it is while a run goes on, as the command line does."""
    recipe = notes["recipe"]
    settings = {name: recipe[name] for name in ("batch", "learning_rate", "seed", "optimizer")}
    start = notes.get("start_sha256")
    return {"model": start and str(start)[:12], "processes": notes["processes"], **settings}


class Lessons:
    """What the steps of a run ask of this process. Object queries are not taught: the dense head is better."""

    objective = Objective(objects=0, object_names=0)
    mix = PromptMix(text=0.15, text_and_visual=0.1, reference=0.08, habits=HABITS)  # words have their own photos

    def __init__(
        self, bank: ImageBank, config: TrainConfig, book: PhraseBook, device: torch.device, stages: Sequence[Stage]
    ) -> None:
        self.bank = bank
        self.stages = stages
        self.config = config
        self.book = book
        self.device = device
        self.rank, self.processes = world()

    def photos(self, number: int, stage: Stage) -> list[TrainingSample]:
        """Draw the photos of a step that are asked everything."""
        config = self.config
        sampler = TrainingSampler(self.bank, size=stage.size, seed=config.seed, augmentation=VIEW)
        return draw_pairs(sampler, (number * self.processes + self.rank) * config.batch, config.batch)

    def named_photos(self, number: int, stage: Stage, rng: np.random.Generator) -> list[TrainingSample]:
        """Draw the further photos of a step, which are asked by words."""
        sampler = TrainingSampler(
            self.bank, size=stage.named_size, seed=self.config.seed + 1, weights=NAMED_SETS, augmentation=NAMED_VIEW
        )
        return draw_named(sampler, (number * self.processes + self.rank) * MOST_NAMED, stage.named, rng)

    def step(self, network: nn.Module, number: int) -> tuple[Tensor, dict[str, float]]:
        """Price a step."""
        assert isinstance(network, Segmenter)
        stage = stage_at(number / self.config.steps, self.stages)
        rng = np.random.default_rng((self.config.seed, number, self.rank))
        image = network.config.image
        batch = make_batch(self.photos(number, stage), image, 3, self.mix, rng).to(self.device)
        spoken = make_batch(self.named_photos(number, stage, rng), image, 1, WORDS_ALONE, rng).to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16), attention_for(self.device):
            loss = step_loss(network, batch, self.book, self.objective, rng)
            further = spoken_loss(network, spoken, self.book, self.objective, rng)
        return loss.total + further, {"spoken": float(further.detach()),
            "refined": loss.refined, "coarse": loss.coarse, "quality": loss.quality, "names": loss.names,
            "meaning": loss.meaning, "objects": loss.objects, "iou": loss.iou, "total": float(loss.total.detach()),
        }  # fmt: skip

    def describe(self, number: int) -> str:
        """Name the photos of a step."""
        stage = stage_at(number / self.config.steps, self.stages)
        shown = (*self.photos(number, stage), *self.named_photos(number, stage, np.random.default_rng(0)))
        return f"photos {', '.join(dict.fromkeys(f'{sample.set_name} {sample.image_id}' for sample in shown))}"


class Watch:
    """Scores a few photos of the validation parts now and then, and keeps what is told; nothing is chosen by it."""

    def __init__(
        self, data: Path, bank: ImageBank, out: Path, tokenizer: BytePairTokenizer, report: Callable[[Row], None]
    ) -> None:
        packs = [Pack.open(data / name, "val") for name in bank.by_set if (data / name / "annotations.json").is_file()]
        self.held = [pack for pack in packs if pack.images]
        self.out = out
        self.tokenizer = tokenizer
        self.report = report
        done = step_of(out / STATE_FILE) if (out / STATE_FILE).is_file() else 0
        self.results = Results(out, done)
        self.board = Board(out, done) if world()[0] == 0 and self.held else None

    def validate(self, network: nn.Module, step: int) -> float:
        """Score the averaged weights."""
        assert isinstance(network, Segmenter)
        loaded = LoadedNetwork(network.config.name, network, "", lambda: self.tokenizer)
        device = next(network.parameters()).device
        seen = score(Model(loaded, device, "float32"), self.held, VALIDATION_PHOTOS)
        self.results.add(step, {**seen.parts, "score": seen.main})
        if self.board is not None:
            self.board.add("validation", seen.parts, step)
        return seen.main

    def tell(self, row: Row) -> None:
        """Take note of a line of the log."""
        if self.board is not None:
            self.board.add("train", {name: value for name, value in row.items() if name != "step"}, int(row["step"]))
        self.report(row)

    def close(self) -> None:
        """Draw the curves."""
        if self.board is not None:
            self.board.close()
            draw_progress(self.out)


def run(
    data: Path,
    out: Path,
    config: TrainConfig,
    start: Path | None = None,
    report: Callable[[Row], None] = show,
) -> Segmenter:
    """Train nano on every set that may go into shipped weights, write `nano.safetensors`, return the network.

    `start` are earlier weights to begin from; they keep their words. The photos, small and ready, and the words that a
    run from nothing learns first stay beside `out` for the next run. A stopped run goes on where it is told to again.
    """
    rank, processes = world()
    torch.manual_seed(config.seed)
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    bank = ImageBank.load(data, cache=out.parent / "photos.cache")
    stages = FROM_NOTHING if start is None else FROM_WEIGHTS
    notes: dict[str, object] = {
        "recipe": config.to_json(),
        "processes": processes,
        "stages": [asdict(stage) for stage in stages],
        "photos": {name: len(rows) for name, rows in bank.by_set.items()},
        "data": bank.fingerprint,
    }
    if start is not None:
        notes["start_sha256"] = sha256_of(start)
    begin(out, notes)
    model = build(nano())
    book = PhraseBook(BytePairTokenizer.nano())
    if start is None or not warm_start(model, start):
        model.text.load_state_dict(words(out.parent / "words.safetensors", model.text, book))
    for name, p in model.text.named_parameters():  # its words keep their meaning; only the temperature learns
        p.requires_grad_(name == "logit_scale")
    model = model.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    watch = Watch(data, bank, out, book.tokenizer, report)
    config = replace(config, validate_every=math.ceil(config.steps / VALIDATIONS) if watch.held else 0)
    lessons = Lessons(bank, config, book, device, stages)
    try:
        trained = train(
            model, lessons.step, config, out, Hooks(watch.validate, describe=lessons.describe, report=watch.tell)
        )
    finally:
        watch.close()
    assert isinstance(trained, Segmenter)
    if rank == 0:
        export(trained, out / WEIGHTS_FILE, notes)
    return trained
