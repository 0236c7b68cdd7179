"""Clicks, rule `seem`: the user's rules on a scripted answerer, a recorded session, and small networks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

import tiny
from evaluated import run_benchmark
from seem.data.pack import Pack
from seem.evaluation.protocols import clicks_seem
from seem.evaluation.protocols.clicks_seem import (
    EncodedImagePredictor,
    ObjectPredictor,
    resize_to_canvas,
    seem_click_benchmark,
    simulate_session,
)
from seem.models.decoder.draws import FairDraws
from seem.simulation.next_click import PointPrompts, seem_first_clicks
from seem.tasks.postprocess import ImageFrame

FRAME = ImageFrame(padded_hw=(64, 96), input_hw=(50, 70), output_hw=(50, 70))


def square(y0, x0, side, hw=(50, 70)):
    mask = np.zeros(hw, bool)
    mask[y0 : y0 + side, x0 : x0 + side] = True
    return mask


def logits(*masks, hw=(64, 96)):
    """Answers as sure as the masks, at network size, padded with what is outside."""
    padded = [
        np.pad(mask, ((0, hw[0] - mask.shape[0]), (0, hw[1] - mask.shape[1]))) for mask in masks
    ]
    return torch.where(torch.from_numpy(np.stack(padded)), 5.0, -5.0)


@dataclass
class Scripted:
    """Gives the answers of a list, one a round, and keeps what it was told."""

    answers: list
    frame: ImageFrame = FRAME
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    told: list[PointPrompts] = field(default_factory=list)
    remembered: list = field(default_factory=list)

    def predict(self, clicked, previous):
        self.told.append(clicked)
        self.remembered.append(previous)
        return self.answers[len(self.told) - 1]


def played(canvas, *masks, clicks=4):
    truth = np.stack(masks)
    drawn = resize_to_canvas(truth, canvas.frame)
    session = simulate_session(canvas, truth, drawn, seem_first_clicks(drawn), clicks)
    return list(session.by_object(clicks))


ONE, OTHER, NOTHING = square(5, 5, 20), square(20, 40, 25), np.zeros((50, 70), bool)


def test_a_sample_ends_when_all_its_objects_are_found():
    halves = [logits(ONE, NOTHING), logits(ONE, OTHER)]
    canvas = Scripted(halves)
    assert played(canvas, ONE, OTHER) == [[1, 1, 1, 1], [0, 1, 1, 1]]
    assert len(canvas.told) == 2


def test_each_round_remembers_the_one_before():
    answers = [logits(NOTHING)] * 3
    canvas = Scripted(answers)
    played(canvas, ONE, clicks=3)
    assert canvas.remembered[0] is None
    assert [remembered is answers[0] for remembered in canvas.remembered[1:]] == [True, True]


def test_a_finished_object_is_not_clicked_while_another_is_wrong():
    canvas = Scripted([logits(ONE, NOTHING)] * 4)
    played(canvas, ONE, OTHER)
    clicks = [told.positive.flatten(1).sum(dim=1).tolist() for told in canvas.told]
    assert clicks == [[9, 9], [9, 18], [9, 27], [9, 36]]


def test_padding_may_be_clicked_negatively():
    spilled = logits(ONE)
    spilled[0, 52:, :] = 5.0  # below the photo
    canvas = Scripted([spilled] * 2)
    (curve,) = played(canvas, ONE, clicks=2)
    assert curve == [1, 1]  # the photo's own pixels are right: nothing more is asked
    spilled[0, :2, :] = 5.0
    canvas = Scripted([spilled] * 2)
    played(canvas, ONE, clicks=2)
    assert canvas.told[1].negative[0, 50:].any()
    assert not canvas.told[1].negative[0, :50].any()


def test_masks_on_the_canvas_keep_every_pixel_that_interpolation_touches():
    frame = ImageFrame((64, 96), (50, 70), (25, 35))
    drawn = resize_to_canvas(square(10, 10, 5, (25, 35))[None], frame)[0]
    rows = np.flatnonzero(drawn.any(dim=1))
    assert (rows[0], rows[-1]) == (17, 32)  # 20 to 29 without its overshoots
    assert not drawn[50:].any()
    assert not drawn[:, 70:].any()


def test_a_recorded_session_is_played_alike(parity_dir, shared):
    """The released code's clicks and IoU, round by round, when it is answered with its own recorded masks."""
    recorded = np.load(parity_dir / "fixtures" / "seem_v1_focalt" / "noc_loop.npz")
    input_hw, output_hw = (
        tuple(int(side) for side in recorded[name]) for name in ("input_hw", "output_hw")
    )
    padded_hw = (256, 320)

    def unpacked(name, width):
        return np.unpackbits(recorded[name], axis=-1, count=width).astype(bool)

    def padded(masks):
        missing = [(0, full - side) for full, side in zip(padded_hw, masks.shape[-2:], strict=True)]
        return torch.from_numpy(np.pad(masks, ((0, 0), *missing)))

    rounds = recorded["iou"].shape[1]
    answers = [torch.from_numpy(recorded[f"r{k}_prev_mask"][0]) for k in range(rounds)]
    canvas = Scripted(answers, ImageFrame(padded_hw, input_hw, output_hw))
    truth = unpacked("gt_orisize", output_hw[1])
    drawn = padded(unpacked("gt_masks", input_hw[1]))
    session = simulate_session(
        canvas, truth, drawn, padded(unpacked("rand_shape", input_hw[1])[:, 0]), rounds
    )
    curves = np.array(list(session.by_object(rounds)))
    assert curves == pytest.approx(recorded["iou"], abs=1e-6)
    for k, told in enumerate(canvas.told[1:]):
        assert (told.positive.numpy() == unpacked(f"r{k}_pos", padded_hw[1])[0]).all()
        assert (told.negative.numpy() == unpacked(f"r{k}_neg", padded_hw[1])[0]).all()


# --- With a network ---------------------------------------------------------------------------------------------------


def annotation(number, photo, mask):
    code = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    size, counts = [int(side) for side in code["size"]], code["counts"].decode()
    return {
        "id": number,
        "image_id": photo,
        "category_id": 1,
        "segmentation": {"size": size, "counts": counts},
        "bbox": rle.toBbox(code).tolist(),
        "area": int(mask.sum()),
    }


@pytest.fixture
def pack(tmp_path):
    """Two photos, the first with seven objects, the second with one."""
    folder = tmp_path / "boxes"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for photo, count in ((1, 7), (2, 1)):
        tiny.picture(70, 50, seed=photo).save(folder / f"images/{photo}.png")
        images.append(
            {
                "id": photo,
                "file_name": f"images/{photo}.png",
                "height": 50,
                "width": 70,
                "split": "val",
            }
        )
        annotations += [
            annotation(10 * photo + k, photo, square(4 + 3 * k, 5 * k + 2, 12))
            for k in range(count)
        ]
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "box", "isthing": 1}],
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return Pack.open(folder, "val")


@pytest.mark.parametrize("name", ["seem-focal-t-v1", "nano"])
def test_objects_are_answered_together_and_photos_encoded_once(pack, name, monkeypatch):
    model, steps, sizes, encoded = tiny.tiny_model(name), [], [], []

    def counted(self, clicked, previous, predict=EncodedImagePredictor.predict):
        sizes.append(len(clicked.positive))
        return predict(self, clicked, previous)

    monkeypatch.setattr(EncodedImagePredictor, "predict", counted)
    monkeypatch.setattr(
        model, "encode", lambda pixels, encode=model.encode: encoded.append(1) or encode(pixels)
    )
    (entry,) = run_benchmark(
        model, pack, seem_click_benchmark(pack, 3), step=lambda: steps.append(1)
    )
    assert len(encoded) == 2
    assert sizes == [5] * 3 + [2] * 3 + [1] * 3
    assert len(steps) == entry.scores.objects == entry.selection.items == 8
    assert {(noc.threshold, noc.maximum) for noc in entry.scores.noc} == {
        (t, 3) for t in (0.5, 0.8, 0.85, 0.9)
    }
    assert entry.counts == {"samples": 3, "samples that ended early": 0, "too small to click": 0}
    assert entry.timings["encode"].count == 2
    assert entry.timings["click"].count == 9
    (again,) = run_benchmark(model, pack, seem_click_benchmark(pack, 3))
    assert again.scores == entry.scores


def test_a_photo_of_a_model_is_a_canvas():
    seen = tiny.tiny_model("seem-focal-t-v1").encode(tiny.picture(70, 50))
    canvas = EncodedImagePredictor(seen, FairDraws())
    assert isinstance(canvas, ObjectPredictor)
    assert canvas.frame.output_hw == (50, 70)


def test_companions_in_a_sample_do_not_change_an_answer():
    seen = tiny.tiny_model("seem-focal-t-v1").encode(tiny.picture(70, 50))
    canvas = EncodedImagePredictor(seen, FairDraws())
    drawn = resize_to_canvas(np.stack([ONE, OTHER]), canvas.frame)
    clicked = PointPrompts(seem_first_clicks(drawn), torch.zeros_like(drawn))
    both = canvas.predict(clicked, None)
    for row in range(2):
        alone = canvas.predict(
            PointPrompts(clicked.positive[row, None], clicked.negative[row, None]), None
        )
        assert torch.allclose(both[row], alone[0], atol=1e-4)


def test_a_model_that_takes_one_object_a_pass_is_asked_one_by_one(monkeypatch):
    seen = tiny.tiny_relative("seem-demo").encode(tiny.picture(70, 50))
    assert not seen.model.network.decoder.policy.takes_many
    passes = []
    segment = clicks_seem.segment_objects
    monkeypatch.setattr(
        clicks_seem,
        "segment_objects",
        lambda *given, **more: passes.append(1) or segment(*given, **more),
    )
    canvas = EncodedImagePredictor(seen, FairDraws())
    drawn = resize_to_canvas(np.stack([ONE, OTHER]), canvas.frame)
    clicked = PointPrompts(seem_first_clicks(drawn), torch.zeros_like(drawn))
    answer = canvas.predict(clicked, None)
    assert len(passes) == len(answer) == 2
    assert canvas.predict(clicked, answer).shape == answer.shape
