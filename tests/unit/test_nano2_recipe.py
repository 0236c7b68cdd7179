"""The run in legs that makes the next embedded model: how it begins, how legs follow each other, what it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from seem import config
from seem.checkpoints.safe import read_tensors, write_tensors
from seem.data.banked_image import BankedImage, BankedObject
from seem.data.image_bank import ImageBank
from seem.data.records import CategoryRecord, ImageRecord, ObjectRecord
from seem.errors import SeemError
from seem.loading import open_file
from seem.models.backbones.efficientnet_lite import SameConvUnit
from seem.models.build import build
from seem.models.text.tokenizer import NANO_SIZES
from seem.recipes import nano2 as recipe
from seem.recipes.nano import Stage
from seem.recipes.tower import MERGES_FILE
from seem.recipes.tower import STATE_FILE as STATE_FILE_OF_TOWER
from seem.training.checkpoint import STATE_FILE
from seem.training.config import TrainConfig
from seem.training.vocabulary import write_merges
from seem.zoo import NEXT
from tiny import tiny_nano

TINY_BACKBONE = config.EfficientNetLiteConfig((8, 8, 8, 8, 16, 16, 16), (1,) * 7, has_norm=False)
SETTINGS = TrainConfig(
    batch=2, steps=2, log_every=1, warmup=1, optimizer="muon", rates=recipe.SETTINGS.rates
)
STAGES = (Stage(1.0, 32, 2, 32),)
LEGS = (
    recipe.Leg("heads", SETTINGS, STAGES, frozen=("backbone",)),
    recipe.Leg("all", replace(SETTINGS, steps=1), STAGES),
)


def tiny_nano2():
    return replace(
        tiny_nano(),
        name="nano2",
        backbone=TINY_BACKBONE,
        mask_refiner=config.MaskRefinerConfig(dims=(8, 8, 16), candidates=3),
        text_map=config.TextMapConfig(hidden=8, fine=4, widened=12),
    )


def photo_of_a_square(number, box, set_name):
    image = np.full((48, 64, 3), 40, np.uint8)
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = 220
    category = CategoryRecord(1, "square", "square", True)
    corners = (float(x0), float(y0), float(x1), float(y1))
    record = ObjectRecord(
        number, number, category, "", (48, 64), corners, 1, False, "", (), "template", None
    )
    shape = np.full((y1 - y0, x1 - x0), 255, np.uint8)
    entry = BankedObject(record, box, shape, float(shape.size))
    photo = ImageRecord(
        number,
        set_name,
        Path("x.jpg"),
        (48, 64),
        "train",
        "instances",
        set_name,
        "",
        (),
        None,
        None,
        "",
        None,
    )
    return BankedImage(photo, image, (entry,), (), frozenset({"square", "kite"}))


@pytest.fixture
def tiny_run(monkeypatch, tmp_path):
    """Run two short legs of a tiny network; return how to, and the file of its text tower."""
    photos = [
        photo_of_a_square(2, (6, 8, 26, 28), "coco_full"),
        photo_of_a_square(3, (20, 10, 44, 40), "duts"),
    ]
    bank = ImageBank(photos, None, "ab" * 32)
    monkeypatch.setattr(recipe, "nano2", tiny_nano2)
    monkeypatch.setattr(recipe, "load_published", lambda backbone, config, head: None)
    monkeypatch.setattr(recipe, "salient_names", lambda data, file: {("duts", 3): "harp"})
    monkeypatch.setattr(ImageBank, "load", lambda root, *, cache: bank)
    monkeypatch.setattr(recipe.ImageNetHead, "__init__", small_head)
    tower = tmp_path / "tower.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        write_tensors(tower, build(tiny_nano2()).text.state_dict())

    def start(legs=LEGS):
        with torch.random.fork_rng():
            return recipe.train_nano2(
                Path("nowhere"), tmp_path / "run", tower, legs, report=lambda row: None
            )

    return start, tower, tmp_path / "run"


def small_head(self, in_dim):
    torch.nn.Module.__init__(self)
    self.widen = SameConvUnit(in_dim, 12, kernel=1)
    self.classify = torch.nn.Linear(12, 10)


def test_legs_follow_each_other_and_each_leaves_weights(tiny_run):
    start, tower, out = tiny_run
    network = start()
    for leg in LEGS:
        rows = [
            json.loads(line) for line in (out / leg.name / "log.jsonl").read_text().splitlines()
        ]
        assert len(rows) == leg.config.steps
        assert {"refined", "candidates", "text_prompts", "cell_names", "total"} < set(rows[0])
    ended = read_tensors(out / "all" / recipe.FINISHED_FILE).tensors
    for key, t in read_tensors(tower).tensors.items():
        assert torch.equal(ended[f"text.{key}"], t) == (key != "logit_scale")
    assert all(torch.equal(ended[key], t) for key, t in network.state_dict().items())


def test_a_frozen_backbone_stays_as_it_was_published(tiny_run):
    start, _, out = tiny_run
    torch.manual_seed(0)
    before = recipe.from_published(tiny_nano2()).backbone.state_dict()
    start(LEGS[:1])
    after = read_tensors(out / "heads" / recipe.FINISHED_FILE).tensors
    assert all(torch.equal(after[f"backbone.{key}"], t) for key, t in before.items())
    start()
    later = read_tensors(out / "all" / recipe.FINISHED_FILE).tensors
    assert not all(torch.equal(later[f"backbone.{key}"], t) for key, t in before.items())
    for key in (key for key in before if "running" in key):
        assert torch.equal(later[f"backbone.{key}"], before[key])  # statistics stay in every leg


def test_a_run_goes_on_where_its_last_leg_ended(tiny_run):
    start, _, out = tiny_run
    start(LEGS[:1])
    written = (out / "heads" / STATE_FILE).stat().st_mtime_ns
    start()
    assert (out / "heads" / STATE_FILE).stat().st_mtime_ns == written
    assert (out / "all" / recipe.FINISHED_FILE).is_file()


def test_a_later_leg_may_have_another_text_tower_but_keeps_its_temperature(tiny_run):
    start, tower, out = tiny_run
    start(LEGS[:1])
    tensors = read_tensors(tower).tensors
    tensors["logit_scale"] = torch.tensor(9.0)
    tensors["projection"] = tensors["projection"] + 1
    write_tensors(tower, tensors)
    start()
    before = read_tensors(out / "heads" / recipe.FINISHED_FILE).tensors
    after = read_tensors(out / "all" / recipe.FINISHED_FILE).tensors
    assert torch.equal(after["text.projection"], tensors["projection"])
    assert after["text.logit_scale"].item() == pytest.approx(
        before["text.logit_scale"].item(), abs=0.01
    )


@pytest.fixture
def made_towers(monkeypatch):
    """Replace the making of a text tower; return the folders that were asked for."""
    folders = []

    def make(data, out, config):
        folders.append(out)
        out.mkdir(parents=True, exist_ok=True)
        shipped = files("seem") / "assets" / NANO_SIZES[config.vocabulary_size]
        (out / MERGES_FILE).write_bytes(shipped.read_bytes())
        write_tensors(out / STATE_FILE_OF_TOWER, {"x": torch.zeros(1)}, {"step": str(config.steps)})

    monkeypatch.setattr(recipe, "make_tower", make)
    return folders


def test_a_text_tower_is_made_once(made_towers, tmp_path):
    for _ in range(2):
        file = recipe.make_text_tower(Path("nowhere"), tmp_path / "tower")
    assert file == tmp_path / "tower" / "tower.safetensors"
    assert made_towers == [tmp_path / "tower"]


def test_a_text_tower_with_another_vocabulary_is_refused(made_towers, tmp_path):
    recipe.make_text_tower(Path("nowhere"), tmp_path)
    write_merges(tmp_path / MERGES_FILE, ["a b"])
    with pytest.raises(SeemError, match=r"is not the vocabulary that ships as nano_wordnet_bpe"):
        recipe.make_text_tower(Path("nowhere"), tmp_path)


def test_what_ships_has_no_normalisation_and_answers_the_same(tiny_run, monkeypatch):
    start, _, out = tiny_run
    network = start().eval()
    with safe_open(out / "all" / "nano.safetensors", framework="pt") as file:
        assert file.metadata()["seem_model"] == "nano2"
        assert not any("backbone" in key and "norm" in key for key in file.keys())  # noqa: SIM118
    shipped = recipe.as_shipped(network).eval()
    pixels = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for ours, theirs in zip(
            shipped.backbone(pixels).maps, network.backbone(pixels).maps, strict=True
        ):
            assert torch.allclose(ours, theirs, atol=1e-5)


def test_files_of_the_next_model_are_read(tmp_path):
    network = build(config.nano2())
    recipe.write_nano_weights(network, tmp_path / "next.safetensors", {})
    loaded = open_file(tmp_path / "next.safetensors")
    assert loaded.name == "nano2"
    assert sum(p.numel() for p in loaded.network.parameters()) == NEXT.parameters


def test_the_text_map_widens_as_the_classifier_does(monkeypatch):
    monkeypatch.setattr(recipe, "load_published", lambda backbone, config, head: None)
    monkeypatch.setattr(recipe.ImageNetHead, "__init__", small_head)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = recipe.from_published(tiny_nano2())
    assert network.text_embedding_head.widen.weight.shape == (12, 16, 1, 1)
    assert network.config.backbone.has_norm


@pytest.mark.parametrize("leg", recipe.LEGS)
def test_sizes_are_canvases_that_the_network_takes(leg):
    sizes = {size for stage in leg.stages for size in (stage.size, stage.text_size)}
    assert all(size % config.nano2().image.divisor == 0 for size in sizes)


def test_precision_is_one_of_two():
    assert recipe.fastest_precision(torch.device("cpu")) in ("float32", "bfloat16")
