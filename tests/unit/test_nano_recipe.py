"""The run that makes the embedded model: its sizes, its samples, what it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from seem.checkpoints.safe import sha256_of, write_tensors
from seem.config import nano
from seem.data.banked_image import BankedImage, BankedObject
from seem.data.image_bank import ImageBank
from seem.data.records import CategoryRecord, ImageRecord, ObjectRecord
from seem.data.training_sampler import TrainingSampler
from seem.errors import SeemError
from seem.loading import open_file
from seem.models.build import build
from seem.recipes import nano as recipe
from seem.training.batch_sampler import draw_nonempty_sample, draw_sample_pairs
from seem.training.config import TrainConfig
from seem.training.engine import DivergedError
from seem.training.run_log import read_results
from seem.training.validation import ValidationScores
from tiny import tiny_nano


def banked_photo(number, boxes, set_name="coco_full"):
    """Paint bright squares on a dark photo of 48 x 64."""
    image = np.full((48, 64, 3), 40, np.uint8)
    objects = []
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        image[y0:y1, x0:x1] = 220
        category = CategoryRecord(1, "square", "square", True)
        box = (float(x0), float(y0), float(x1), float(y1))
        record = ObjectRecord(
            i, number, category, "", (48, 64), box, 1, False, "", (), "template", None
        )
        shape = np.full((y1 - y0, x1 - x0), 255, np.uint8)
        objects.append(BankedObject(record, (x0, y0, x1, y1), shape, float(shape.size)))
    record = ImageRecord(
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
    return BankedImage(record, image, tuple(objects), (), frozenset({"square", "kite"}))


CONFIG = TrainConfig(steps=2, batch=2, log_every=1, warmup=1, optimizer="muon")
EMPTY = banked_photo(1, ())
TWO = banked_photo(2, ((6, 8, 26, 28), (36, 12, 60, 36)))


STAGES = (*recipe.STAGES_FROM_RANDOM, *recipe.STAGES_FROM_WEIGHTS)


@pytest.mark.parametrize(
    ("share", "size"),
    [
        (0.0, 160),
        (0.3999, 160),
        (0.4, 192),
        (0.6999, 192),
        (0.7, 224),
        (0.8799, 224),
        (0.88, 256),
        (1.0, 256),
    ],
)
def test_small_pictures_come_first(share, size):
    assert recipe.stage_at(share, recipe.STAGES_FROM_RANDOM).size == size


@pytest.mark.parametrize(("share", "size"), [(0.0, 224), (0.5, 224), (1.0, 224)])
def test_given_weights_see_large_pictures_at_once(share, size):
    assert recipe.stage_at(share, recipe.STAGES_FROM_WEIGHTS).size == size


def test_sizes_are_canvases_that_the_network_takes():
    sizes = {size for stage in STAGES for size in (stage.size, stage.text_size)}
    assert all(size % nano().image.divisor == 0 for size in sizes)


def test_no_two_steps_show_the_same_named_photo():
    assert all(
        stage.text_images <= recipe.STEP_SAMPLES // 2 for stage in STAGES
    )  # the other half are donors


def test_a_photo_without_objects_is_passed_over():
    sampler = TrainingSampler(ImageBank([EMPTY, TWO]), size=32)
    empty = next(i for i in range(50) if not len(sampler[i].masks))
    full = next(i for i in range(50) if len(sampler[i].masks))
    assert len(draw_nonempty_sample(sampler, empty).masks)
    assert np.array_equal(draw_nonempty_sample(sampler, full).image, sampler[full].image)
    first, again = (draw_nonempty_sample(sampler, empty).image for _ in range(2))
    assert np.array_equal(first, again)


def test_a_bank_without_objects_is_reported():
    with pytest.raises(SeemError, match="20 photos in a row showed no object at 32 x 32 pixels"):
        draw_nonempty_sample(TrainingSampler(ImageBank([EMPTY]), size=32), 7)


def test_the_shipped_file_is_half_precision_and_loads_as_nano(tmp_path):
    network = build(nano())
    notes = {"recipe": TrainConfig().to_json(), "photos": {"coco_full": 2}}
    recipe.write_nano_weights(network, tmp_path / "nano.safetensors", notes)
    with safe_open(tmp_path / "nano.safetensors", framework="pt") as file:
        kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        assert kinds == {"F16", "I64"}  # the counts of batch normalisation stay whole numbers
        metadata = file.metadata()
    assert metadata["seem_model"] == "nano"
    assert json.loads(metadata["made_by"])["photos"] == {"coco_full": 2}
    assert json.loads(metadata["made_by"])["recipe"]["steps"] == TrainConfig().steps
    loaded = open_file(tmp_path / "nano.safetensors")
    assert loaded.name == "nano"
    assert not loaded.network.training
    wanted = network.state_dict()
    for name, tensor in loaded.network.state_dict().items():
        assert tensor.dtype is wanted[name].dtype
        expected = wanted[name].half().float() if tensor.is_floating_point() else wanted[name]
        assert torch.equal(tensor, expected), name


@pytest.fixture
def tiny_run(monkeypatch):
    """Train a tiny network on two photos on canvases of 32, then 64 pixels; return how to."""
    bank = ImageBank([TWO, banked_photo(3, ((20, 10, 44, 40),), "duts")], None, "ab" * 32)
    monkeypatch.setattr(recipe, "nano", tiny_nano)
    for stages in ("STAGES_FROM_RANDOM", "STAGES_FROM_WEIGHTS"):
        monkeypatch.setattr(
            recipe, stages, (recipe.Stage(0.5, 32, 3, 32), recipe.Stage(1.0, 64, 2, 32))
        )
    monkeypatch.setattr(recipe, "teach_words", lambda tower, book, lexicon: None)
    monkeypatch.setattr(ImageBank, "load", lambda root, *, cache: bank)

    def start(out, weights=None, data=Path("nowhere"), **changes):
        with torch.random.fork_rng():
            return recipe.train_nano(data, out, replace(CONFIG, **changes), weights)

    return start


def tensors_of(file):
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def test_a_run_writes_its_weights_with_how_they_were_made(tmp_path, tiny_run):
    network = tiny_run(tmp_path / "a")
    rows = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert {
        "seconds",
        "text_prompts",
        "refined",
        "coarse",
        "quality",
        "names",
        "objects",
        "iou",
        "total",
    } < set(rows[0])
    written = tensors_of(tmp_path / "a" / "nano.safetensors")
    for name, tensor in network.state_dict().items():
        assert torch.equal(
            written[name].float(), tensor.half().float() if tensor.is_floating_point() else tensor
        )
    with safe_open(tmp_path / "a" / "nano.safetensors", framework="pt") as file:
        notes = json.loads(file.metadata()["made_by"])
    assert notes["recipe"]["minutes"] is None  # endless, which JSON has no number for
    assert notes["photos"] == {"coco_full": 1, "duts": 1}
    assert notes["data"] == "ab" * 32
    assert (notes["processes"], notes["recipe"]["steps"]) == (1, 2)
    before = build(tiny_nano()).state_dict()
    assert written.keys() == before.keys()


def test_a_run_that_was_stopped_makes_the_same_weights(tmp_path, tiny_run):
    tiny_run(tmp_path / "unbroken")
    for _ in range(2):
        tiny_run(tmp_path / "stopped", minutes=0.0)
    unbroken, stopped = (
        tensors_of(tmp_path / name / "nano.safetensors") for name in ("unbroken", "stopped")
    )
    assert unbroken.keys() == stopped.keys()
    assert all(torch.equal(stopped[name], tensor) for name, tensor in unbroken.items())


def test_a_run_goes_on_only_as_it_began(tmp_path, tiny_run):
    tiny_run(tmp_path, minutes=0.0)
    write_tensors(tmp_path / "given.safetensors", build(tiny_nano()).state_dict(), {})
    for changes, words in (
        ({"seed": 5}, "--seed 0, here it is 5"),
        ({"batch": 4}, "--batch 2, here it is 4"),
        ({"optimizer": "adamw"}, "--optimizer muon, here it is adamw"),
        (
            {"weights": tmp_path / "given.safetensors"},
            "--model left to the run, here it is [0-9a-f]{12};",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            tiny_run(tmp_path, **changes)
    tiny_run(tmp_path, steps=3)  # longer than it was meant to be
    (tmp_path / "begun.json").write_text("{")
    with pytest.raises(
        SeemError, match=r"begun.json cannot be read .*; begin anew with --overwrite"
    ):
        tiny_run(tmp_path)


@pytest.mark.parametrize(("what", "told"), [("data", "other photos"), ("stages", "other stages")])
def test_a_run_goes_on_only_with_its_photos_and_stages(tmp_path, tiny_run, what, told):
    tiny_run(tmp_path, minutes=0.0)
    begun = json.loads((tmp_path / "begun.json").read_text())
    assert begun["recipe"]["minutes"] == 0.0
    (tmp_path / "begun.json").write_text(json.dumps({**begun, what: "changed"}))
    with pytest.raises(ValueError, match=told):
        tiny_run(tmp_path)


def test_a_run_is_watched_on_photos_that_it_does_not_learn_from(tmp_path, tiny_run, monkeypatch):
    class Packs:
        def __init__(self, path):
            self.images = [path.name] if path.name == "coco_full" else []

    asked = []

    def score(model, held, most):
        asked.append(([pack.images for pack in held], most, model.network.training))
        return ValidationScores(4, click=10.0 * len(asked), names=None)

    for name in ("coco_full", "duts"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "annotations.json").touch()
    monkeypatch.setattr(
        recipe.Pack, "open", lambda path, part: Packs(path) if part == "val" else None
    )
    monkeypatch.setattr(recipe, "score", score)
    tiny_run(tmp_path / "run", data=tmp_path / "data")
    assert asked == [([["coco_full"]], recipe.VALIDATION_IMAGES, False)] * 2
    assert [(row["step"], row["click_iou"]) for row in read_results(tmp_path / "run")] == [
        (1, 10.0),
        (2, 20.0),
    ]
    assert (tmp_path / "run" / "curves.png").stat().st_size
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_a_loss_that_is_not_finite_names_its_photos(tmp_path, tiny_run, monkeypatch):
    monkeypatch.setattr(
        recipe, "text_prompt_loss", lambda network, *rest: torch.tensor(float("nan"))
    )
    with pytest.raises(DivergedError, match=r"loss of step 0 is nan; .*photos .*coco_full 2"):
        tiny_run(tmp_path)


def test_words_are_learned_once_and_kept_as_they_are(tmp_path, tiny_run, monkeypatch):
    taught = []

    def teach(tower, book, lexicon):
        tower.tokens.weight.data.fill_(0.25)
        taught.append(tower)

    monkeypatch.setattr(recipe, "teach_words", teach)
    runs = [tiny_run(tmp_path / name) for name in ("a", "b")]
    assert len(taught) == 1
    for network in runs:
        assert (network.text.tokens.weight == 0.25).all()
    assert not torch.equal(runs[0].text.logit_scale, build(tiny_nano()).text.logit_scale)


def test_given_weights_keep_their_words(tmp_path, tiny_run, monkeypatch):
    monkeypatch.setattr(
        recipe, "teach_words", lambda tower, book, lexicon: tower.tokens.weight.data.fill_(0.25)
    )
    given = build(tiny_nano()).state_dict()
    write_tensors(tmp_path / "given.safetensors", given, {})
    trained = tiny_run(tmp_path / "run", tmp_path / "given.safetensors", steps=1)
    assert torch.equal(trained.text.tokens.weight, given["text.tokens.weight"])
    assert not (tmp_path / "words.safetensors").exists()
    others = {name: tensor for name, tensor in given.items() if not name.startswith("text.")}
    write_tensors(tmp_path / "wordless.safetensors", others, {})
    trained = tiny_run(tmp_path / "taught", tmp_path / "wordless.safetensors", steps=1)
    assert (trained.text.tokens.weight == 0.25).all()


def test_another_seed_makes_other_weights(tmp_path, tiny_run):
    one, other = (
        tiny_run(tmp_path / str(seed), seed=seed, steps=1).state_dict() for seed in (0, 1)
    )
    assert not torch.equal(one["decoder.query_features"], other["decoder.query_features"])


def test_a_run_may_begin_from_earlier_weights(tmp_path, tiny_run):
    earlier = build(tiny_nano()).requires_grad_(False)
    narrow = {
        key: tensor.clone()
        for key, tensor in earlier.state_dict().items()
        if not key.startswith("text_embedding_head.")
    }
    narrow["mask_refiner.from_maps.weight"] = narrow["mask_refiner.from_maps.weight"][:, :6]
    write_tensors(tmp_path / "early.safetensors", narrow)
    network = build(tiny_nano())
    recipe.warm_start(network, tmp_path / "early.safetensors")
    started = network.state_dict()
    assert torch.equal(started["decoder.query_features"], narrow["decoder.query_features"])
    assert torch.equal(
        started["mask_refiner.from_maps.weight"][:, :6], narrow["mask_refiner.from_maps.weight"]
    )
    assert not started["mask_refiner.from_maps.weight"][:, 6:].any()
    trained = tiny_run(
        tmp_path / "run", tmp_path / "early.safetensors", steps=1, learning_rate=0.0, average=0.0
    )
    assert torch.equal(
        trained.state_dict()["decoder.query_features"], narrow["decoder.query_features"]
    )
    with safe_open(tmp_path / "run" / "nano.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["made_by"])["start_sha256"] == sha256_of(
            tmp_path / "early.safetensors"
        )


def test_every_second_photo_shows_something_of_the_one_before():
    kites = banked_photo(4, ((8, 8, 30, 30),))
    sampler = TrainingSampler(ImageBank([TWO, kites, EMPTY]), size=32)
    first, partner, third, _ = draw_sample_pairs(sampler, 10, 4)
    assert set(first.names) & set(partner.names)
    assert np.array_equal(draw_sample_pairs(sampler, 10, 4)[2].image, third.image)


def test_pairs_get_things_of_one_class_in_front_of_them(monkeypatch):
    monkeypatch.setattr(recipe, "P_PASTE", 1.0)
    sampler = TrainingSampler(ImageBank([TWO, banked_photo(4, ((8, 8, 30, 30),))]), size=32)
    plain, joined = (
        draw_sample_pairs(sampler, 10, 9),
        recipe.draw_text_pairs(sampler, 10, 9, np.random.default_rng(0)),
    )
    grown = [
        len(b.masks) > len(a.masks) or (a.image != b.image).any()
        for a, b in zip(plain, joined, strict=True)
    ]
    assert sum(grown) >= 4
    assert not grown[-1]  # has no partner
    assert all(set(sample.names) == {"square"} for sample in joined)
    again = recipe.draw_text_pairs(sampler, 10, 9, np.random.default_rng(0))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(joined, again, strict=True))
    monkeypatch.setattr(recipe, "P_PASTE", 0.0)
    untouched = recipe.draw_text_pairs(sampler, 10, 9, np.random.default_rng(0))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(plain, untouched, strict=True))
