"""Protocols, asked of a model that sees colours (tests/colours.py): what each score must be is counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import tiny
import tiny_data
from colours import (
    CAT,
    GRASS,
    GREEN,
    HW,
    KITE,
    LEFT,
    RIGHT,
    SMALL,
    ColourModel,
    ColourPhoto,
    annotation,
    make_pack,
    make_video,
    painted,
)
from evaluated import run_benchmark
from seem.data.object_selection import validation_objects
from seem.data.opening import open_dataset
from seem.data.pack import Pack
from seem.evaluation.benchmark import EvaluationContext
from seem.evaluation.click_methods import (
    BASELINES,
    MODEL_IN_SESSION,
    MODEL_WITHOUT_MEMORY,
    ClickInput,
    ClickMethod,
    disc,
    grabcut,
    random_walk,
)
from seem.evaluation.label_space import LabelSpace
from seem.evaluation.metrics.open_vocabulary import LabelMode
from seem.evaluation.protocols import composition, full_image, language, phrases, references, videos
from seem.evaluation.protocols.clicks import SimulatedSession, click_benchmark
from seem.evaluation.protocols.prompt_kinds import clip_path, prompt_drawers, prompt_kind_benchmark
from seem.evaluation.selection import sample_indices
from seem.prompts import Box, Mask, Point, Polygon, Scribble
from seem.simulation.next_click import Click
from seem.simulation.strokes import PromptKind
from seem.vocabulary import Vocabulary

MODELS = (MODEL_IN_SESSION, MODEL_WITHOUT_MEMORY)
METHODS = (*MODELS, *BASELINES.values())

BOTH_CATS = 100 * (225 / 555 + 330 / 555 + 1) / 3
"""Mean IoU of the objects of a photo: both red squares are always found together, 225 and 330 of 555 pixels."""


@pytest.fixture
def pack(tmp_path):
    return make_pack(tmp_path)


def scores_of(measure, pack, model=None):
    return run_benchmark(model or ColourModel(), pack, measure)


# --- Clicks -----------------------------------------------------------------------------------------------------------


def test_the_user_clicks_where_this_answer_is_wrong():
    said = []

    def answer(clicks):
        said[:] = clicks
        return LEFT | SMALL if len(clicks) == 1 else LEFT

    ious = SimulatedSession(LEFT, answer).run(4)
    assert said == [
        Click(12, 12, True),
        Click(52, 34, False),
    ]  # then nothing is left to click on, and nobody asks
    assert ious == [pytest.approx(225 / 273), 1.0, 1.0, 1.0]


def test_no_pixel_is_clicked_twice():
    places = []

    def deaf(clicks):
        places[:] = [(click.x, click.y) for click in clicks]
        return np.zeros(HW, bool)

    assert SimulatedSession(SMALL, deaf).run(10) == [0.0] * 10
    assert len(set(places)) == 10


def test_pixels_that_do_not_count_are_neither_scored_nor_clicked():
    truth = np.where(LEFT, 1, np.where(RIGHT, -1, 0)).astype(np.int8)
    assert SimulatedSession(truth, lambda clicks: LEFT | RIGHT).run(2) == [1.0, 1.0]
    session = SimulatedSession(truth, lambda clicks: LEFT | RIGHT | SMALL)
    session.run(2)
    assert session.clicks[1] == Click(52, 34, False)


def test_clicks_of_a_model_that_sees_colours(pack):
    model, steps = ColourModel(), []
    entries = run_benchmark(
        model, pack, click_benchmark(pack, (*MODELS, BASELINES["disc"]), 3), lambda: steps.append(1)
    )
    assert model.encoded == 2  # once a photo, for all its objects and everyone who is asked
    assert len(steps) == len(validation_objects(pack)) == 6
    with_memory, without, first_disc = entries
    assert with_memory.scores.mean_iou == pytest.approx(dict.fromkeys((1, 2, 3), BOTH_CATS))
    assert without.scores == with_memory.scores
    assert (set(first_disc.scores.mean_iou), first_disc.scores.noc) == ({1}, ())
    assert with_memory.scores.noc[0].never == 4
    assert with_memory.timings["click"].count == 4 * 3 + 2
    assert (with_memory.selection.photos, with_memory.selection.items) == (2, 6)
    worst = with_memory.worst
    assert [(case.iou, case.title) for case in worst[:3]] == [
        (pytest.approx(100 * 225 / 555, abs=1e-3), "cat"),
        (pytest.approx(100 * 225 / 555, abs=1e-3), "cat"),
        (pytest.approx(100 * 330 / 555, abs=1e-3), "cat"),
    ]


def test_everyone_answers_with_a_mask():
    given = ClickInput(painted(), lambda: ColourPhoto(painted()))
    said = [Click(12, 12, True), Click(36, 15, False)]
    for method in METHODS:
        answer = method.start(given)
        for count in (1, 2):
            mask = answer(said[:count])
            assert (mask.shape, mask.dtype) == (HW, np.bool_), method.name


def test_methods_have_names_of_their_own():
    assert len({method.name for method in METHODS}) == len(METHODS)
    assert all(isinstance(method, ClickMethod) for method in METHODS)


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
    said = [Click(120, 60, True)]
    assert (grabcut(two_halves(), said) == grabcut(two_halves(), said)).all()


def test_baselines_survive_a_photo_smaller_than_the_disc():
    pixels = np.zeros((8, 8, 3), np.uint8)
    for baseline in (grabcut, random_walk):
        assert baseline(pixels, [Click(4, 4, True)]).all()


# --- Kinds of prompts -------------------------------------------------------------------------------------------------


def test_every_kind_prompts_the_object(pack):
    (entry,) = scores_of(prompt_kind_benchmark(pack), pack)
    assert entry.scores.one_iou == pytest.approx({kind.value: BOTH_CATS for kind in PromptKind})
    assert entry.counts == {"polygons given as masks": 0}
    assert entry.selection.items == 6
    assert {kind.value for kind in PromptKind} < set(entry.timings)


def test_prompts_are_real_ones_and_repeat_with_their_seed():
    kinds = {kind: draw(LEFT, 7) for kind, draw in prompt_drawers("filled").items()}
    types = {
        PromptKind.POINT: Point,
        PromptKind.CIRCLE: Scribble,
        PromptKind.SCRIBBLE: Scribble,
        PromptKind.POLYGON: Polygon,
        PromptKind.BOX: Box,
    }
    assert {kind: type(prompt) for kind, prompt in kinds.items()} == types
    assert kinds[PromptKind.BOX] == Box(5.0, 5.0, 20.0, 20.0)
    assert kinds == {kind: draw(LEFT, 7) for kind, draw in prompt_drawers("filled").items()}


def test_strokes_begin_on_the_object():
    for seed in range(20):
        for kind in (PromptKind.CIRCLE, PromptKind.SCRIBBLE):
            drawing = prompt_drawers("filled")[kind](RIGHT, seed)
            points = np.concatenate([np.array(points) for points in drawing.positions])
            assert RIGHT[points[:, 1].astype(int), points[:, 0].astype(int)].all()


def test_a_curve_without_area_is_given_as_a_mask():
    one_pixel = np.zeros(HW, bool)
    one_pixel[3, 4] = True
    prompt = prompt_drawers("curve")[PromptKind.POLYGON](one_pixel, 0)
    assert isinstance(prompt, Mask)
    assert np.argwhere(prompt.array).tolist() == [[3, 4]]


def test_a_path_is_cut_to_the_object():
    truth = np.array([[True, True, False, True, False]])
    path = np.array([[-1, 0], [4, 0]], np.float32)
    runs = clip_path(path, truth)
    assert [run.tolist() for run in runs] == [[[0, 0], [1, 0]], [[3, 0], [3, 0]]]


# --- Phrases ----------------------------------------------------------------------------------------------------------


def test_names_are_asked_for_and_one_that_is_absent(pack):
    first, second = (phrases.named_image(pack, image) for image in pack.images)
    assert [(name, len(instances)) for name, instances in first.present] == [
        ("cat", 2),
        ("kite", 1),
    ]
    assert first.absent == second.absent == "dog"


def test_scores_of_names_in_both_ways(pack):
    entries = scores_of(phrases.class_name_benchmark(pack), pack)
    assert [entry.protocol for entry in entries[::3]] == [phrases.FIND, phrases.BEST]
    for present, missed, refused in (entries[:3], entries[3:]):
        assert (present.scores.count, present.scores.cumulative_iou) == (4, 100)
        assert (missed.scores.count, missed.scores.refused) == (4, 0)
        assert (refused.scores.count, refused.scores.refused) == (2, 100)
        assert refused.selection.fingerprint != present.selection.fingerprint


def test_a_set_without_complete_names_has_no_absent_ones(pack, monkeypatch):
    monkeypatch.setattr(Pack, "complete_names", lambda self, photo: frozenset())
    assert len(scores_of(phrases.class_name_benchmark(pack), pack)) == 4


def test_referring_phrases_are_scored_by_the_rule_of_their_set(pack, tmp_path):
    (entry,) = scores_of(phrases.referring_benchmark(pack), pack)
    assert (entry.scores.count, entry.scores.mean_iou) == (1, 100)
    assert entry.rules == ("IoU: exact", "first sentence", "may be refused")
    ours = open_dataset(f"refcoco:{tiny_data.refcoco(tmp_path / 'ref')}", "testA")
    assert ours.expressions
    assert "official" in phrases.referring_benchmark(ours).specs[0].rules[0]


# --- Whole photos -----------------------------------------------------------------------------------------------------


def test_whole_photos_are_scored_in_three_ways(pack):
    names = LabelSpace.of(pack)
    (panoptic,) = scores_of(full_image.panoptic_benchmark(pack, names), pack)
    quality = {
        row.category: (row.matched, row.surplus, row.missed) for row in panoptic.scores.per_class
    }
    # the squares are told as one: 330 of 555 pixels agree with the right one
    assert quality == {CAT: (1, 0, 1), KITE: (1, 0, 0), GRASS: (1, 0, 0)}
    assert panoptic.scores.stuff.pq == pytest.approx(100)
    assert panoptic.scores.things.pq == pytest.approx((100 * (330 / 555) / 1.5 + 100) / 2)
    (semantic,) = scores_of(full_image.semantic_benchmark(pack, names), pack)
    assert (semantic.scores.photos, semantic.scores.mean_iou) == (1, pytest.approx(100))
    (instance,) = scores_of(full_image.instance_benchmark(pack, names), pack)
    per_class = {row.category: row.ap50 for row in instance.scores.per_class}
    assert per_class[KITE] == 100
    assert per_class[CAT] == pytest.approx(100 * 51 / 101)  # one of the two squares is found
    assert instance.scores.photos == 2


def test_unlabelled_pixels_have_no_class(pack):
    classes = full_image.dataset_class_map(pack, pack.images[1], LabelSpace.of(pack))
    assert (classes[0] == -1).all()
    assert (classes[1:] >= 0).all()


def test_a_photo_without_a_map_is_left_out(pack):
    names = LabelSpace.of(pack)
    makers = (full_image.panoptic_benchmark, full_image.semantic_benchmark)
    asked = [[p.id for p in pack.images if make(pack, names).items(p)] for make in makers]
    assert asked == [[2], [2]]


def test_coco_is_closed_and_other_sets_are_asked_for_their_own_names(pack, tmp_path):
    names = LabelSpace.of(pack)
    assert (names.is_closed, names.prompted_vocabulary([CAT])) == (True, None)
    other = open_dataset(f"ade20k:{tiny_data.ade20k(tmp_path / 'ade')}", "val")
    names = LabelSpace.of(other)
    assert (names.is_closed, names.mode, len(names.prompted_vocabulary([1]))) == (
        False,
        LabelMode.FULL,
        150,
    )
    oracle = LabelSpace.of(other, "oracle")
    assert [category.id for category in oracle.prompted_vocabulary([1, 8])] == [1, 8]
    (entry,) = run_benchmark(
        tiny.tiny_model("nano"), other, full_image.semantic_benchmark(other, oracle)
    )
    assert entry.scores.mode is LabelMode.ORACLE
    assert entry.scores.scores.photos == 2


def test_some_classes_alone_can_be_scored(pack):
    names = LabelSpace.of(pack, "Kite, grass")
    (panoptic,) = scores_of(full_image.panoptic_benchmark(pack, names), pack, KitesAndGrass())
    assert [row.category for row in panoptic.scores.scores.per_class] == [KITE, GRASS]
    assert panoptic.rules[0] == "some classes of 133: kite, grass-merged"
    with pytest.raises(ValueError, match="did you mean 'kite'"):
        LabelSpace.of(pack, "kit")


class KitesAndGrass(ColourModel):
    def encode(self, image):
        return OnlyAsked(image)


class OnlyAsked(ColourPhoto):
    def panoptic(self, classes=None):
        everything = super().regions()
        return everything[[label in classes.names for label in everything.labels]]


def test_ids_that_begin_at_zero_are_moved(pack):
    names = LabelSpace(Vocabulary.of(["sky", "road"]), {0: 1, 1: 2}, LabelMode.FULL, False, "")
    stored = np.array([[0, 1, 255]], np.uint8)
    index = {key: names.vocabulary.ids.index(number) for key, number in names.class_ids.items()}
    assert full_image.map_values(stored, index).tolist() == [[0, 1, -1]]


# --- References, compositions, words ----------------------------------------------------------------------------------


def test_what_one_photo_shows_is_found_in_another(pack):
    measure = references.reference_pair_benchmark(pack, seed=0)
    pair, kite, *_ = measure.items(pack.images[0])
    assert (pair.name, pair.reference_image.id, pair.reference.area, len(pair.truth)) == (
        "cat",
        2,
        330,
        2,
    )
    assert (kite.name, kite.reference.id) == ("kite", 22)
    model = ColourModel()
    entry, missed = scores_of(measure, pack, model)
    assert (entry.scores.count, entry.scores.mean_iou) == (4, 100)
    assert (missed.scores.count, missed.scores.refused) == (4, 0)
    assert model.encoded == 2 + 4
    assert entry.timings["encode the reference"].count == 4


@pytest.mark.parametrize("is_painted_over", [True, False])
def test_a_reference_to_what_a_photo_lacks_is_to_be_refused(tmp_path, is_painted_over):
    pack = make_pack(tmp_path)
    file = pack.path / "annotations.json"
    document = json.loads(file.read_text())
    document["annotations"] = [
        row for row in document["annotations"] if (row["image_id"], row["category_id"]) != (1, KITE)
    ]
    file.write_text(json.dumps(document))
    if is_painted_over:
        pixels = painted()
        pixels[SMALL] = GREEN
        Image.fromarray(pixels).save(pack.path / "images/1.png")
    pack = Pack.open(pack.path, "val")
    measure = references.reference_pair_benchmark(pack)
    names = [(pair.name, bool(pair.truth)) for pair in measure.items(pack.images[0])]
    assert names == [("cat", True), ("kite", False)]
    overlaps, missed, absent = scores_of(measure, pack)
    assert (overlaps.scores.count, missed.scores.count) == (2, 2)
    assert (absent.scores.count, absent.scores.refused) == (1, 100 * is_painted_over)


def test_pairs_follow_from_the_seed(tmp_path):
    pack = make_pack(tmp_path, photos=8)

    def others(seed):
        return [
            pair.reference_image.id
            for photo in pack.images
            for pair in references.reference_pair_benchmark(pack, seed).items(photo)
        ]

    assert others(0) == others(0) != others(1)


def test_a_video_is_segmented_from_its_first_frame_alone(tmp_path):
    pack = make_video(tmp_path)
    (entry,) = scores_of(references.in_context_benchmark(pack), pack)
    assert (entry.scores.objects, entry.scores.photos, entry.scores.mean_iou) == (1, 3, 100)


def test_a_phrase_and_a_stroke_stand_beside_each_alone(pack):
    (entry,) = scores_of(composition.phrase_and_stroke_benchmark(pack), pack)
    assert entry.scores.count == 1  # the one written phrase
    assert entry.scores.together.mean_iou == pytest.approx(100)
    assert entry.scores.prompt_alone is not None
    told, clicked = scores_of(composition.named_click_benchmark(pack), pack)
    assert told.contestant == "model with the class name"
    assert told.scores == clicked.scores
    assert (told.scores.objects, max(told.scores.mean_iou)) == (6, 10)


def test_the_name_is_said_once(pack):
    said = []

    class Listening(ColourPhoto):
        def session(self):
            session = super().session()
            add = session.add
            session.add = lambda *prompts: (
                said.append([type(each).__name__ for each in prompts]) or add(*prompts)
            )
            return session

    model = ColourModel()
    model.encode = Listening
    run_benchmark(model, pack, composition.named_click_benchmark(pack))
    assert said[:3] == [["Text", "Point"], ["Point"], ["Point"]]


def test_captions_are_compared_with_what_people_wrote(pack):
    (entry,) = scores_of(language.caption_benchmark(pack), pack)
    assert entry.scores.photos == 2
    assert entry.scores.cider_d > 0


def test_fit_of_a_photo_and_a_caption_is_the_models_own():
    seen = tiny.tiny_relative("xdecoder").encode(tiny.picture(70, 50))
    said = ["a cat", "two dogs"]
    vectors = seen.model.encode_phrases(said).phrases
    unit = (vectors / vectors.norm(dim=-1, keepdim=True)).numpy()
    assert unit @ language.retrieval_embedding(seen) == pytest.approx(
        seen.similarity(said), abs=1e-5
    )


def test_retrieval_ranks_with_a_network(pack):
    (entry,) = run_benchmark(
        tiny.tiny_relative("xdecoder"), pack, language.retrieval_benchmark(pack)
    )
    assert (entry.scores.photos, entry.scores.captions, entry.scores.text[5]) == (2, 4, 100)


# --- Video ------------------------------------------------------------------------------------------------------------


def test_objects_are_followed_beside_their_first_mask_copied(tmp_path):
    pack = make_video(tmp_path)
    model, copied = scores_of(videos.video_benchmark(pack), pack)
    assert (model.contestant, copied.contestant) == ("model", "first mask copied")
    assert (model.scores.objects, model.scores.j.mean, model.scores.f.mean) == (1, 100, 100)
    # 15 rows that move by 3 and by 6; then the object is gone
    assert copied.scores.j.mean == pytest.approx(100 * (12 / 18 + 9 / 21 + 0) / 3)
    assert model.scores.frames == 3  # the pack drops the first frame alone
    assert model.counts == {"objects that appear later, not asked for": 0}


def test_davis_drops_the_last_frame_too_and_ignores_what_it_does_not_label(tmp_path):
    dataset = open_dataset(f"davis2017:{tiny_data.davis(tmp_path)}", "val")
    measure = videos.video_benchmark(dataset)
    (tracks,) = measure.items(dataset.images[0])
    assert [track.number for track in tracks] == [1, 2]
    assert measure.items(dataset.images[1]) == []
    assert "all but the last" in measure.specs[0].rules[1]


def test_a_model_that_stops_early_is_told(tmp_path):
    class Lazy(ColourModel):
        def track(self, video, prompts, frame=0):
            yield from list(super().track(video, prompts))[:1]

    pack = make_video(tmp_path)
    with pytest.raises(OSError, match="stopped before frame 2 of cats"):
        run_benchmark(Lazy(), pack, videos.video_benchmark(pack))


# --- Which photos -----------------------------------------------------------------------------------------------------


def test_a_smaller_draw_is_part_of_a_larger_one(tmp_path):
    photos = make_pack(tmp_path, photos=12).images
    few, more = (sample_indices(photos, lambda photo: True, count, 3) for count in (4, 8))
    assert len(few) == 4
    assert set(few) < set(more)
    assert few == sorted(few)
    assert few != sample_indices(photos, lambda photo: True, 4, 4)
    assert sample_indices(photos, lambda photo: photo.id == 5, 4, 3) == [4]


def test_a_fingerprint_changes_with_any_object(pack):
    measure = click_benchmark(pack, [MODEL_IN_SESSION], 1)
    (whole,) = scores_of(measure, pack)
    assert whole.selection == scores_of(measure, pack)[0].selection
    fewer = {photo.id: measure.items(photo)[:2] for photo in pack.images}
    (some,) = run_benchmark(ColourModel(), pack, measure, items=fewer)
    assert whole.selection.fingerprint != some.selection.fingerprint
    assert (some.selection.photos, some.selection.items) == (2, 4)


def test_a_model_that_sees_no_numbers_is_told(pack):
    model = tiny.tiny_model("nano")
    next(model.network.pixel_decoder.parameters()).data.fill_(float("nan"))
    with pytest.raises(OSError, match=r"1.png of coco_full: nano encodes it as NaN"):
        run_benchmark(model, pack, prompt_kind_benchmark(pack))


def test_a_photo_is_encoded_once_whoever_asks(pack):
    model = ColourModel()
    context = EvaluationContext(model, pack, pack.images[0], 0)
    assert context.encoded is context.encoded
    assert model.encoded == 1
    assert annotation(1, 1, CAT, LEFT)["area"] == 225
