"""The run that makes the embedded model: its legs and samples, how it begins and goes on, what it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from seem import config, zoo
from seem.checkpoints.safe import read_tensors, sha256_of, write_tensors
from seem.data.banked_image import BankedImage, BankedObject
from seem.data.image_bank import ImageBank
from seem.data.records import CategoryRecord, ImageRecord, ObjectRecord
from seem.data.training_sampler import TrainingSampler
from seem.errors import SeemError
from seem.loading import open_file
from seem.models.build import build
from seem.models.text.tokenizer import NANO_SIZES
from seem.recipes import nano as recipe
from seem.recipes import nano_run_folder as run_folder
from seem.recipes import nano_task as task
from seem.recipes.nano_run_folder import write_nano_weights
from seem.recipes.nano_task import Leg, Stage
from seem.recipes.tower import MERGES_FILE
from seem.recipes.tower import STATE_FILE as STATE_FILE_OF_TOWER
from seem.training.batch_sampler import draw_nonempty_sample, draw_sample_pairs
from seem.training.checkpoint import STATE_FILE
from seem.training.config import TrainConfig
from seem.training.engine import DivergedError
from seem.training.run_log import read_results
from seem.training.validation import ValidationScores
from seem.training.vocabulary import write_merges
from tiny import tiny_nano2
from tiny_verbs import small_head, write_text_tower

SETTINGS = TrainConfig(
    batch=2, steps=2, log_every=1, warmup=1, optimizer="muon", rates=recipe.SETTINGS.rates
)
LEGS = (
    Leg("heads", SETTINGS, (Stage(1.0, 32, 2, 32),), frozen=("backbone",)),
    Leg(
        "all",
        replace(SETTINGS, seed=1),
        (Stage(0.5, 32, 3, 32), Stage(1.0, 64, 2, 32)),
    ),
)


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


EMPTY = banked_photo(1, ())
TWO = banked_photo(2, ((6, 8, 26, 28), (36, 12, 60, 36)))
ONE = banked_photo(3, ((20, 10, 44, 40),), "duts")


@pytest.mark.parametrize(
    ("leg", "share", "size"),
    [
        ("heads", 0.0, 128),
        ("growing", 0.0, 192),
        ("growing", 0.3499, 192),
        ("growing", 0.35, 224),
        ("large", 0.5999, 256),
        ("large", 1.0, 320),
    ],
)
def test_small_pictures_come_first(leg, share, size):
    stages = {leg.name: leg.stages for leg in recipe.LEGS}[leg]
    assert task.stage_at(share, stages).size == size


@pytest.mark.parametrize("leg", recipe.LEGS)
def test_sizes_are_canvases_that_the_network_takes(leg):
    sizes = {size for stage in leg.stages for size in (stage.size, stage.text_size)}
    assert all(size % config.nano2().image.divisor == 0 for size in sizes)


@pytest.mark.parametrize("leg", recipe.LEGS)
def test_no_two_steps_show_the_same_image_for_text(leg):
    most = task.STEP_SAMPLES // 2  # the other half are donors
    assert all(stage.text_images <= most for stage in leg.stages)


def test_legs_share_what_is_asked_for():
    legs = recipe.adapted_legs(LEGS, steps=10, batch=4, learning_rate=2e-3, seed=5)
    assert [leg.config.steps for leg in legs] == [5, 5]
    assert [leg.config.seed for leg in legs] == [5, 6]
    assert {(leg.config.batch, leg.config.learning_rate) for leg in legs} == {(4, 2e-3)}
    shared = recipe.adapted_legs(steps=1)
    assert [leg.config.steps for leg in shared] == [1] * len(recipe.LEGS)
    slower = recipe.adapted_legs(learning_rate=1e-4)
    rates = [leg.config.learning_rate for leg in slower]
    assert rates == pytest.approx([1e-4, 5e-5, 3e-5])
    assert recipe.adapted_legs() == recipe.LEGS


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
    network = build(config.nano2())
    notes = {"recipe": TrainConfig().to_json(), "photos": {"coco_full": 2}}
    write_nano_weights(network, tmp_path / "nano.safetensors", notes)
    with safe_open(tmp_path / "nano.safetensors", framework="pt") as file:
        kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        assert kinds == {"F16"}
        metadata = file.metadata()
    assert metadata["seem_model"] == "nano2"
    assert json.loads(metadata["made_by"])["photos"] == {"coco_full": 2}
    assert json.loads(metadata["made_by"])["recipe"]["steps"] == TrainConfig().steps
    loaded = open_file(tmp_path / "nano.safetensors")
    assert loaded.name == "nano2"
    assert sum(p.numel() for p in loaded.network.parameters()) == zoo.NEXT.parameters
    assert not loaded.network.training
    wanted = network.state_dict()
    for name, tensor in loaded.network.state_dict().items():
        assert tensor.dtype is wanted[name].dtype
        expected = wanted[name].half().float() if tensor.is_floating_point() else wanted[name]
        assert torch.equal(tensor, expected), name


@pytest.fixture
def tiny_start(monkeypatch):
    """Make the network tiny, with random weights in place of the published ones."""
    monkeypatch.setattr(recipe, "nano2", tiny_nano2)
    monkeypatch.setattr(recipe, "load_published", lambda backbone, config, head: None)
    monkeypatch.setattr(recipe.ImageNetHead, "__init__", small_head)


@pytest.fixture
def tower(tmp_path):
    """Write a text tower of random weights; return its file."""
    return write_text_tower(tmp_path)


@pytest.fixture
def tiny_run(tiny_start, monkeypatch, tower):
    """Run two short legs of a tiny network on two images; return how to."""
    bank = ImageBank([TWO, ONE], None, "ab" * 32)
    monkeypatch.setattr(recipe, "salient_names", lambda data, file: {("duts", 0): "harp"})
    monkeypatch.setattr(ImageBank, "load", lambda root, *, cache: bank)

    def start(out, legs=LEGS, weights=None, data=Path("nowhere"), minutes=1e9):
        with torch.random.fork_rng():
            return recipe.train_nano(
                data,
                out,
                legs,
                weights,
                tower=None if weights else tower,
                minutes=minutes,
                report=lambda row: None,
            )

    return start


def tensors_of(file):
    return read_tensors(file).tensors


def test_legs_follow_each_other_and_each_leaves_weights(tmp_path, tiny_run, tower):
    network = tiny_run(tmp_path / "run")
    for leg in LEGS:
        log = (tmp_path / "run" / leg.name / "log.jsonl").read_text()
        rows = list(map(json.loads, log.splitlines()))
        assert [row["step"] for row in rows] == [1, 2]
        terms = {"refined", "candidates", "quality", "names", "iou", "total", "seconds"}
        assert terms < set(rows[0])
    ended = tensors_of(tmp_path / "run" / "all" / recipe.FINISHED_FILE)
    for key, t in tensors_of(tower).items():
        assert torch.equal(ended[f"text.{key}"], t) == (key != "logit_scale")
    assert all(torch.equal(ended[key], t) for key, t in network.state_dict().items())


def test_a_run_writes_its_weights_with_how_they_were_made(tmp_path, tiny_run):
    network = tiny_run(tmp_path / "run").eval()
    with safe_open(tmp_path / "run" / "nano.safetensors", framework="pt") as file:
        notes = json.loads(file.metadata()["made_by"])
        keys = list(file.keys())
    assert keys == sorted(build(tiny_nano2()).state_dict())
    assert not any("backbone" in key and "norm" in key for key in keys)
    assert [leg["name"] for leg in notes["legs"]] == ["heads", "all"]
    assert notes["photos"] == {"coco_full": 1, "duts": 1}
    assert (notes["data"], notes["processes"]) == ("ab" * 32, 1)
    shipped = recipe.as_shipped(network).eval()
    pixels = torch.randn(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = zip(shipped.backbone(pixels).maps, network.backbone(pixels).maps, strict=True)
        for ours, theirs in maps:
            assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_frozen_backbone_stays_as_it_was_published(tmp_path, tiny_run):
    torch.manual_seed(0)
    before = recipe.from_published(tiny_nano2()).backbone.state_dict()
    tiny_run(tmp_path / "run")
    after = tensors_of(tmp_path / "run" / "heads" / recipe.FINISHED_FILE)
    assert all(torch.equal(after[f"backbone.{key}"], t) for key, t in before.items())
    later = tensors_of(tmp_path / "run" / "all" / recipe.FINISHED_FILE)
    assert not all(torch.equal(later[f"backbone.{key}"], t) for key, t in before.items())
    for key in (key for key in before if "running" in key):
        assert torch.equal(later[f"backbone.{key}"], before[key])  # statistics stay in every leg


def test_a_run_that_was_stopped_takes_the_same_steps(tmp_path, tiny_run):
    tiny_run(tmp_path / "unbroken")
    finished = [tmp_path / "stopped" / leg.name / recipe.FINISHED_FILE for leg in LEGS]
    for expected in ([False, False], [True, False], [True, True]):
        tiny_run(tmp_path / "stopped", minutes=0.0)  # one step of a leg each time
        assert [file.is_file() for file in finished] == expected
    for leg in LEGS:
        unbroken, stopped = (
            losses_of(tmp_path / name / leg.name) for name in ("unbroken", "stopped")
        )
        assert stopped == pytest.approx(unbroken, rel=1e-3)


def losses_of(leg):
    """Return the losses of a leg's steps. Muon magnifies the last bits of weights, which are not the same each time."""
    return [json.loads(line)["total"] for line in (leg / "log.jsonl").read_text().splitlines()]


def test_finished_legs_are_not_run_again(tmp_path, tiny_run):
    tiny_run(tmp_path)
    states = [tmp_path / leg.name / STATE_FILE for leg in LEGS]
    written = [state.stat().st_mtime_ns for state in states]
    weights = (tmp_path / "nano.safetensors").read_bytes()
    tiny_run(tmp_path)
    assert [state.stat().st_mtime_ns for state in states] == written
    assert (tmp_path / "nano.safetensors").read_bytes() == weights


def test_a_run_goes_on_only_as_it_began(tmp_path, tiny_run):
    tiny_run(tmp_path / "run", minutes=0.0)
    write_nano_weights(build(tiny_nano2()), tmp_path / "given.safetensors", {})
    for changes, words in (
        ({"seed": 5}, "--seed 0, here it is 5"),
        ({"batch": 4}, "--batch 2, here it is 4"),
        ({"steps": 6}, "--steps 4, here it is 6"),
        ({"learning_rate": 0.5}, "--learning-rate 0.001, here it is 0.5"),
    ):
        with pytest.raises(ValueError, match=words):
            tiny_run(tmp_path / "run", recipe.adapted_legs(LEGS, **changes))
    with pytest.raises(ValueError, match=r"--model left to the run, here it is [0-9a-f]{12};"):
        tiny_run(tmp_path / "run", weights=tmp_path / "given.safetensors")
    (tmp_path / "run" / "begun.json").write_text("{")
    with pytest.raises(
        SeemError, match=r"begun.json cannot be read .*; begin anew with --overwrite"
    ):
        tiny_run(tmp_path / "run")


@pytest.mark.parametrize(("what", "words"), [("data", "other photos"), ("legs", "other legs")])
def test_a_run_goes_on_only_with_its_photos_and_legs(tmp_path, tiny_run, what, words):
    tiny_run(tmp_path, minutes=0.0)
    begun = json.loads((tmp_path / "begun.json").read_text())
    if what == "legs":
        begun["legs"][1]["targets"] = 9
    else:
        begun["data"] = "cd" * 32
    (tmp_path / "begun.json").write_text(json.dumps(begun))
    with pytest.raises(ValueError, match=words):
        tiny_run(tmp_path)


def test_a_later_leg_may_have_another_text_tower_but_keeps_its_temperature(
    tmp_path, tiny_run, tower
):
    tiny_run(tmp_path)
    before = tensors_of(tmp_path / "heads" / recipe.FINISHED_FILE)
    (tmp_path / "all" / recipe.FINISHED_FILE).unlink()
    (tmp_path / "all" / STATE_FILE).unlink()
    tensors = tensors_of(tower)
    tensors["logit_scale"] = torch.tensor(9.0)
    tensors["projection"] = tensors["projection"] + 1
    write_tensors(tower, tensors)
    tiny_run(tmp_path)
    after = tensors_of(tmp_path / "all" / recipe.FINISHED_FILE)
    assert torch.equal(after["text.projection"], tensors["projection"])
    assert after["text.logit_scale"].item() == pytest.approx(
        before["text.logit_scale"].item(), abs=0.01
    )


def test_given_weights_keep_their_words_and_see_the_last_leg(
    tmp_path, tiny_run, tiny_card, monkeypatch
):
    given = build(tiny_nano2())
    write_nano_weights(given, tmp_path / "given.safetensors", {})
    legs = (replace(LEGS[1], config=replace(SETTINGS, steps=1)),)
    trained = tiny_run(tmp_path / "run", legs, tmp_path / "given.safetensors")
    half = given.text.tokens.weight.half().float()
    assert torch.equal(trained.text.tokens.weight, half)
    assert not (tmp_path / "run" / "heads").exists()
    with safe_open(tmp_path / "run" / "nano.safetensors", framework="pt") as file:
        notes = json.loads(file.metadata()["made_by"])
    assert notes["start_sha256"] == sha256_of(tmp_path / "given.safetensors")


def test_another_model_is_no_start(tmp_path, monkeypatch):
    class Other:
        name = "seem-focal-t-v1"

    monkeypatch.setattr(recipe, "open_file", lambda file: Other)
    with pytest.raises(SeemError, match=r"x holds seem-focal-t-v1; .* starts from nano2"):
        recipe.from_weights(Path("x"))


@pytest.fixture
def tiny_card(monkeypatch):
    monkeypatch.setattr(zoo, "NEXT", replace(zoo.NEXT, config=tiny_nano2))


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


def test_the_text_map_widens_as_the_classifier_does(tiny_start):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = recipe.from_published(tiny_nano2())
    assert network.text_embedding_head.widen.weight.shape == (32, 16, 1, 1)
    assert network.config.backbone.has_norm


def test_precision_is_one_of_two():
    assert task.fastest_precision(torch.device("cpu")) in ("float32", "bfloat16")


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
        run_folder.Pack, "open", lambda path, part: Packs(path) if part == "val" else None
    )
    monkeypatch.setattr(run_folder, "score", score)
    tiny_run(tmp_path / "run", LEGS[:1], data=tmp_path / "data")
    assert asked == [([["coco_full"]], run_folder.VALIDATION_IMAGES, False)] * 2
    assert [
        (row["step"], row["click_iou"]) for row in read_results(tmp_path / "run" / "heads")
    ] == [
        (1, 10.0),
        (2, 20.0),
    ]
    assert (tmp_path / "run" / "heads" / "curves.png").stat().st_size
    assert list((tmp_path / "run" / "heads" / "tensorboard").iterdir())


def test_a_loss_that_is_not_finite_names_its_photos(tmp_path, tiny_run, monkeypatch):
    monkeypatch.setattr(task, "text_prompt_loss", lambda network, *rest: torch.tensor(float("nan")))
    with pytest.raises(DivergedError, match=r"loss of step 0 is nan; .*photos .*duts 3"):
        tiny_run(tmp_path)


def test_another_seed_makes_other_weights(tmp_path, tiny_run):
    one, other = (
        tiny_run(tmp_path / str(seed), recipe.adapted_legs(LEGS[:1], seed=seed)).state_dict()
        for seed in (0, 1)
    )
    assert not torch.equal(one["decoder.query_features"], other["decoder.query_features"])


def test_every_second_photo_shows_something_of_the_one_before():
    kites = banked_photo(4, ((8, 8, 30, 30),))
    sampler = TrainingSampler(ImageBank([TWO, kites, EMPTY]), size=32)
    first, partner, third, _ = draw_sample_pairs(sampler, 10, 4)
    assert set(first.names) & set(partner.names)
    assert np.array_equal(draw_sample_pairs(sampler, 10, 4)[2].image, third.image)


def test_pairs_get_things_of_one_class_in_front_of_them(monkeypatch):
    monkeypatch.setattr(task, "P_PASTE", 1.0)
    sampler = TrainingSampler(ImageBank([TWO, banked_photo(4, ((8, 8, 30, 30),))]), size=32)
    plain, joined = (
        draw_sample_pairs(sampler, 10, 9),
        task.draw_text_pairs(sampler, 10, 9, np.random.default_rng(0)),
    )
    grown = [
        len(b.masks) > len(a.masks) or (a.image != b.image).any()
        for a, b in zip(plain, joined, strict=True)
    ]
    assert sum(grown) >= 4
    assert not grown[-1]  # has no partner
    assert all(set(sample.names) == {"square"} for sample in joined)
    again = task.draw_text_pairs(sampler, 10, 9, np.random.default_rng(0))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(joined, again, strict=True))
    monkeypatch.setattr(task, "P_PASTE", 0.0)
    untouched = task.draw_text_pairs(sampler, 10, 9, np.random.default_rng(0))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(plain, untouched, strict=True))
