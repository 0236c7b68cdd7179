"""Protocols, asked of a model that sees colours: it answers every prompt with all pixels of the colour prompted most.

The set has two photos of 40 x 60 pixels: two red squares (things named "square"), a blue one (a "kite"), green grass.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from seem.checkpoints.safe import write_tensors
from seem.config import nano
from seem.data.pack import Pack, PackError, PanopticTruth, validation_objects
from seem.evaluation.__main__ import main
from seem.evaluation.contestants import CONTESTANTS, Contestant, Shown, disc, grabcut, random_walk
from seem.evaluation.plan import Plan, Task, evaluate
from seem.evaluation.protocols.clicks import click_through, score_clicks
from seem.evaluation.protocols.phrases import NamedPhoto, named_photos, score_phrases
from seem.evaluation.protocols.prompt_kinds import prompt_drawers, runs_inside, score_prompt_kinds
from seem.evaluation.protocols.whole_photo import panoptic_photos, score_whole_photos, true_classes
from seem.evaluation.report import Machine, ModelCard, Report, Stopwatch
from seem.evaluation.selection import Selection, drawn
from seem.models.build import build
from seem.prompts import Box, Frame, Mask, Point, Polygon, Scribble, Text
from seem.results import Labels, Provenance, Results
from seem.simulation.next_click import Click
from seem.simulation.strokes import Kind, PolygonRule
from seem.vocabulary import Vocabulary

HW = (40, 60)
RED, BLUE, GREEN = (200, 10, 10), (10, 10, 200), (10, 200, 10)
CAT, KITE, GRASS = 17, 38, 193  # COCO ids of cat, kite and grass-merged
COLOURS = {RED: "cat", BLUE: "kite", GREEN: "grass-merged"}


def rectangle(x0, y0, x1, y1):
    mask = np.zeros(HW, bool)
    mask[y0:y1, x0:x1] = True
    return mask


LEFT, RIGHT, SMALL = rectangle(5, 5, 20, 20), rectangle(30, 8, 45, 30), rectangle(50, 32, 58, 38)


def annotation(number, photo, category, mask, **more):
    code = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    box = rle.toBbox(code).tolist()
    size, counts = [int(side) for side in code["size"]], code["counts"].decode()
    return {
        "id": number,
        "image_id": photo,
        "category_id": category,
        "segmentation": {"size": size, "counts": counts},
        "bbox": box,
        "area": int(mask.sum()),
        "iscrowd": 0,
    } | more


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "coco_full"
    for name in ("images", "panoptic"):
        (folder / name).mkdir(parents=True)
    pixels = np.full((*HW, 3), GREEN, np.uint8)
    pixels[LEFT | RIGHT] = RED
    pixels[SMALL] = BLUE
    ids = np.full(HW, 3, np.uint8)
    ids[LEFT], ids[RIGHT], ids[SMALL] = 1, 2, 4
    ids[0] = 0
    Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], axis=-1)).save(folder / "panoptic/2.png")
    images, annotations = [], []
    for photo in (1, 2):
        Image.fromarray(pixels).save(folder / f"images/{photo}.png")
        images.append({"id": photo, "file_name": f"images/{photo}.png", "height": HW[0], "width": HW[1]})
        images[-1] |= {"split": "val", "labelled": "instances"}
        for k, (category, mask) in enumerate([(CAT, LEFT), (CAT, RIGHT), (KITE, SMALL)]):
            annotations.append(annotation(10 * photo + k, photo, category, mask))
    images[1] |= {"labelled": "panoptic", "panoptic_file": "panoptic/2.png"}
    categories = [
        {"id": CAT, "name": "cat", "isthing": 1},
        {"id": KITE, "name": "kite", "isthing": 1},
        {"id": GRASS, "name": "grass-merged", "isthing": 0, "text": "grass"},
        {"id": 18, "name": "dog", "isthing": 1},
    ]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    segments = [
        {"id": k, "category_id": category, "area": int((ids == k).sum()), "iscrowd": 0}
        for k, category in ((1, CAT), (2, CAT), (3, GRASS), (4, KITE))
    ]
    (folder / "panoptic.json").write_text(json.dumps({"annotations": [{"image_id": 2, "segments_info": segments}]}))
    return Pack.open(folder, "val")


class ColourModel:
    """Encodes a photo by remembering it; counts how often."""

    def __init__(self):
        self.encoded = 0

    def encode(self, image):
        self.encoded += 1
        return ColourPhoto(image)


@dataclass
class ColourPhoto:
    image: np.ndarray

    def session(self):
        return ColourSession(self)

    def segment(self, *prompts):
        text = [prompt.phrase for prompt in prompts if isinstance(prompt, Text)]
        if text:
            masks = [self.of(colour) for colour, name in COLOURS.items() if name.startswith(text[0])]
            return self.results([mask for mask in masks if mask.any()])
        frame = Frame(HW, HW)
        touched = np.logical_or.reduce([p.rasterise(frame) for p in prompts if p.positive])
        colour, _ = Counter(map(tuple, self.image[touched].tolist())).most_common(1)[0]
        return self.results([self.of(colour)])

    def panoptic(self):
        return self.regions()

    def semantic(self):
        return self.regions()

    def regions(self):
        names = tuple(name for colour, name in COLOURS.items() if self.of(colour).any())
        masks = [self.of(colour) for colour, name in COLOURS.items() if name in names]
        return self.results(masks, Labels(names, (1.0,) * len(names)))

    def of(self, colour):
        return (self.image == np.array(colour, np.uint8)).all(axis=-1)

    def results(self, masks, labels=None):
        provenance = Provenance(task="interactive", model="colours")
        vocabulary = Vocabulary.coco_panoptic()
        return Results.of(
            self.image, masks, [1.0] * len(masks), vocabulary=vocabulary, kind="", provenance=provenance, labels=labels
        )


class ColourSession:
    def __init__(self, photo):
        self.photo, self.prompts = photo, []

    def add(self, *prompts):
        self.prompts += prompts
        return self.photo.segment(*self.prompts)


# --- Clicks -----------------------------------------------------------------------------------------------------------


def test_the_user_clicks_where_this_answer_is_wrong():
    said = []

    def answer(clicks):
        said[:] = clicks
        return LEFT | SMALL if len(clicks) == 1 else LEFT

    ious = click_through(LEFT, answer, clicks=4)
    assert said == [Click(12, 12, True), Click(52, 34, False)]  # then nothing is left to click on, and nobody asks
    assert ious == [pytest.approx(225 / 273), 1.0, 1.0, 1.0]


def test_no_pixel_is_clicked_twice():
    places = []

    def deaf(clicks):
        places[:] = [(click.x, click.y) for click in clicks]
        return np.zeros(HW, bool)

    assert click_through(SMALL, deaf, clicks=10) == [0.0] * 10
    assert len(set(places)) == 10


def test_clicks_of_a_model_that_sees_colours(pack):
    model, steps = ColourModel(), []
    objects = validation_objects(pack)
    entries = score_clicks(model, pack, objects, CONTESTANTS[:3], clicks=3, step=lambda: steps.append(1))
    assert model.encoded == 2
    assert len(steps) == len(objects) == 6
    with_memory, without, first_disc = entries
    # both red squares are always found together: 225 and 330 pixels of 555; the blue square is found alone
    expected = 100 * (225 / 555 + 330 / 555 + 1) / 3
    assert with_memory.scores.mean_iou == pytest.approx({1: expected, 2: expected, 3: expected})
    assert without.scores == with_memory.scores
    assert (set(first_disc.scores.mean_iou), first_disc.scores.noc) == ({1}, ())
    assert with_memory.scores.noc[0].never == 4
    assert with_memory.timings["click"].count == 4 * 3 + 2


def test_everyone_answers_with_a_mask(pack):
    shown = Shown(pack.image(pack.photos[0]), ColourModel().encode(pack.image(pack.photos[0])))
    clicks = [Click(12, 12, True), Click(36, 15, False)]
    for contestant in CONTESTANTS:
        answer = contestant.begin(shown)
        for count in (1, 2):
            mask = answer(clicks[:count])
            assert (mask.shape, mask.dtype) == (HW, np.bool_), contestant.name


def test_a_disc_has_its_radius():
    marked = disc(np.zeros((9, 9, 3), np.uint8), Click(4, 4, True), 2)
    assert marked.sum() == 13
    assert marked[4, 2]
    assert not marked[4, 1]


def two_halves():
    pixels = np.full((120, 160, 3), (60, 60, 60), np.uint8)
    pixels[:, 80:] = (220, 220, 220)
    return pixels + np.random.default_rng(0).integers(0, 20, pixels.shape, dtype=np.uint8)


@pytest.mark.parametrize("baseline", [grabcut, random_walk])
def test_baselines_find_a_half_from_a_click_on_each(baseline):
    found = baseline(two_halves(), [Click(120, 60, True), Click(40, 60, False)])
    assert found[:, 80:].mean() > 0.97
    assert found[:, :80].mean() < 0.03


def test_baselines_repeat_themselves():
    clicks = [Click(120, 60, True)]
    assert (grabcut(two_halves(), clicks) == grabcut(two_halves(), clicks)).all()


def test_baselines_survive_a_photo_smaller_than_the_disc():
    pixels = np.zeros((8, 8, 3), np.uint8)
    for baseline in (grabcut, random_walk):
        assert baseline(pixels, [Click(4, 4, True)]).all()


# --- Kinds of prompts -------------------------------------------------------------------------------------------------


def test_every_kind_prompts_the_object(pack):
    entries = score_prompt_kinds(ColourModel(), pack, validation_objects(pack))
    expected = 100 * (225 / 555 + 330 / 555 + 1) / 3
    assert [entry.protocol for entry in entries] == [f"prompts: {kind.value}" for kind in Kind]
    for entry in entries:
        assert entry.scores.mean_iou == pytest.approx(expected), entry.protocol
        assert entry.counts == {"given as masks": 0}


def test_prompts_are_real_ones_and_repeat_with_their_seed():
    kinds = {kind: draw(LEFT, 7) for kind, draw in prompt_drawers(PolygonRule.FILLED).items()}
    types = {Kind.POINT: Point, Kind.CIRCLE: Scribble, Kind.SCRIBBLE: Scribble, Kind.POLYGON: Polygon, Kind.BOX: Box}
    assert {kind: type(prompt) for kind, prompt in kinds.items()} == types
    assert kinds[Kind.BOX] == Box(5.0, 5.0, 20.0, 20.0)
    assert kinds == {kind: draw(LEFT, 7) for kind, draw in prompt_drawers(PolygonRule.FILLED).items()}


def test_strokes_begin_on_the_object():
    for seed in range(20):
        for kind in (Kind.CIRCLE, Kind.SCRIBBLE):
            drawing = prompt_drawers(PolygonRule.FILLED)[kind](RIGHT, seed)
            points = np.concatenate([np.array(points) for points in drawing.strokes])
            assert RIGHT[points[:, 1].astype(int), points[:, 0].astype(int)].all()


def test_a_curve_without_area_is_given_as_a_mask():
    one_pixel = np.zeros(HW, bool)
    one_pixel[3, 4] = True
    prompt = prompt_drawers(PolygonRule.CURVE)[Kind.POLYGON](one_pixel, 0)
    assert isinstance(prompt, Mask)
    assert np.argwhere(prompt.array).tolist() == [[3, 4]]


def test_a_path_is_cut_to_the_object():
    truth = np.array([[True, True, False, True, False]])
    path = np.array([[-1, 0], [4, 0]], np.float32)
    runs = runs_inside(path, truth)
    assert [run.tolist() for run in runs] == [[[0, 0], [1, 0]], [[3, 0], [3, 0]]]


# --- Names ------------------------------------------------------------------------------------------------------------


def test_names_are_asked_for_and_one_that_is_absent(pack):
    first, second = named_photos(pack)
    assert [(name, len(instances)) for name, instances in first.present] == [("cat", 2), ("kite", 1)]
    assert first.absent == second.absent == "dog"


def test_scores_of_names(pack):
    present, missed, refused = score_phrases(ColourModel(), pack, named_photos(pack))
    assert (present.scores.count, present.scores.cumulative_iou) == (4, 100)
    assert (missed.scores.count, missed.scores.refused) == (4, 0)
    assert (refused.scores.count, refused.scores.refused) == (2, 100)
    assert refused.selection.fingerprint != present.selection.fingerprint


def test_a_set_without_complete_names_has_no_absent_ones(pack):
    photos = [NamedPhoto(named.photo, named.present, None) for named in named_photos(pack)]
    assert len(score_phrases(ColourModel(), pack, photos)) == 2


# --- Whole photos -----------------------------------------------------------------------------------------------------


def test_whole_photos_are_scored_in_both_ways(pack):
    (photo,) = panoptic_photos(pack)
    panoptic, semantic = score_whole_photos(ColourModel(), pack, [photo])
    quality = {row.category: (row.matched, row.surplus, row.missed) for row in panoptic.scores.per_class}
    # the squares are told as one: 330 of 555 pixels agree with the right one
    assert quality == {CAT: (1, 0, 1), KITE: (1, 0, 0), GRASS: (1, 0, 0)}
    assert panoptic.scores.stuff.pq == pytest.approx(100)
    assert panoptic.scores.things.pq == pytest.approx((100 * (330 / 555) / 1.5 + 100) / 2)
    assert semantic.scores.mean_iou == pytest.approx(100)


def test_unlabelled_pixels_have_no_class(pack):
    truth = pack.panoptic(panoptic_photos(pack)[0])
    assert isinstance(truth, PanopticTruth)
    classes = true_classes(truth, Vocabulary.coco_panoptic())
    assert (classes[0] == -1).all()
    assert (classes[1:] >= 0).all()


def test_a_photo_without_a_map_is_refused(pack):
    with pytest.raises(ValueError, match="no panoptic map"):
        score_whole_photos(ColourModel(), pack, pack.photos[:1])


# --- Which objects, and the report ------------------------------------------------------------------------------------


def test_a_smaller_draw_is_part_of_a_larger_one():
    items = list(range(50))
    few, more = drawn(items, 10, seed=3), drawn(items, 20, seed=3)
    assert len(few) == 10
    assert set(few) < set(more)
    assert few == sorted(few)
    assert few != drawn(items, 10, seed=4)
    assert drawn(items, None, seed=3) == items


def test_a_fingerprint_changes_with_any_object(pack):
    objects = validation_objects(pack)
    whole = Selection.of_objects("coco_full", "val", objects)
    assert (whole.photos, whole.items) == (2, 6)
    assert whole == Selection.of_objects("coco_full", "val", objects)
    assert whole.fingerprint != Selection.of_objects("coco_full", "val", objects[1:]).fingerprint


def test_a_plan_runs_its_tasks_and_reports_numbers(pack, tmp_path):
    plan = Plan(sets=("coco_full",), contestants=CONTESTANTS[:1], clicks=2, max_objects=2)
    entries = [entry for found in evaluate(ColourModel(), pack.path.parent, plan) for entry in found]
    assert [entry.protocol.split(":")[0] for entry in entries] == (
        ["clicks"] + ["prompts"] * 5 + ["phrases"] * 3 + ["panoptic", "semantic"]
    )
    card = ModelCard("colours", None, 0, 40, 60, "float32", "cpu")
    report = Report(card, Machine.here(1), {"seed": 0}, entries, 1.5, {"python": "3"})
    report.save(tmp_path / "new" / "results.json")
    read = json.loads((tmp_path / "new" / "results.json").read_text())
    assert read["entries"][0]["selection"]["items"] == 2
    assert list(read["entries"][0]["scores"]["mean_iou"]) == ["1", "2"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["results.json"]


def test_scores_repeat(pack):
    def scores():
        plan = Plan(sets=("coco_full",), clicks=2)
        return [
            (entry.selection, entry.scores)
            for found in evaluate(ColourModel(), pack.path.parent, plan)
            for entry in found
        ]

    assert scores() == scores()


def test_a_missing_set_is_named(pack):
    with pytest.raises(PackError, match="holds no set duts"):
        list(evaluate(ColourModel(), pack.path.parent, Plan(tasks=(Task.CLICKS,), sets=("duts",))))


def test_a_plan_for_nothing_is_refused():
    with pytest.raises(ValueError, match="No set is left"):
        Plan(tasks=(Task.PANOPTIC,), sets=("duts",)).steps()


def test_numbers_that_do_not_exist_are_null():
    card = ModelCard("m", None, 0, 1, 1, "float32", "cpu")
    report = Report(card, Machine.here(1), {}, [], math.nan, {})
    assert json.loads(report.to_json())["seconds"] is None
    assert math.isnan(Stopwatch().read().median_ms)


def test_contestants_have_names_of_their_own():
    assert len({contestant.name for contestant in CONTESTANTS}) == len(CONTESTANTS)
    assert all(isinstance(contestant, Contestant) for contestant in CONTESTANTS)


def test_the_command_writes_a_report_and_a_table(pack, tmp_path, capsys):
    weights, out = tmp_path / "nano.safetensors", tmp_path / "results.json"
    write_tensors(weights, build(nano()).state_dict(), {"seem_model": "nano"})
    words = ["--model", str(weights), "--data", str(pack.path.parent), "--out", str(out), "--sets", "coco_full"]
    main([*words, "--clicks", "2", "--max-objects", "1", "--contestants", "model", "disc of 30 px"])
    report = json.loads(out.read_text())
    assert (report["model"]["name"], len(report["model"]["sha256"])) == ("nano", 64)
    assert report["arguments"]["max_objects"] == 1
    table = capsys.readouterr()
    assert len(table.out.splitlines()) == len(report["entries"]) == 2 + 5 + 3 + 2
    assert "clicks coco_full" in table.err
    assert str(tmp_path) not in out.read_text()
