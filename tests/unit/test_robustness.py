"""The first click on changed photos: where pixels go, and that a model which does not mind loses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from colours import HW, ColourModel, make_pack
from evaluated import run_benchmark
from seem.evaluation.metrics.robustness import RobustnessScores
from seem.evaluation.protocols.robustness import CHANGES, DIMMED_SHARE, robustness_benchmark

BY_NAME = {change.name: change for change in CHANGES}
GEOMETRIC = ("turned by 90 degrees", "mirrored")


@pytest.mark.parametrize("hw", [(6, 9), (7, 5)])
@pytest.mark.parametrize("name", BY_NAME)
def test_a_click_moves_with_its_pixel_and_the_answer_comes_back(name, hw):
    change = BY_NAME[name]
    for y, x in np.ndindex(hw):
        photo = np.zeros((*hw, 3), np.uint8)
        photo[y // 2 * 2 : y // 2 * 2 + 2, x // 2 * 2 : x // 2 * 2 + 2] = (
            255  # a block that survives half the size
        )
        changed = change.apply(photo)
        moved_x, moved_y = change.move(x, y, hw)
        mask = changed[..., 0] > 60
        assert mask[moved_y, moved_x]
        back = change.undo(mask, hw)
        assert back.shape == hw
        assert back[y, x]
        if name in GEOMETRIC:
            assert np.array_equal(back, photo[..., 0] > 0)


def test_half_the_size_takes_every_photo():
    half = BY_NAME["half size"]
    for hw in [(1, 1), (5, 8), (4, 3)]:
        assert half.apply(np.zeros((*hw, 3), np.uint8)).shape == (-(-hw[0] // 2), -(-hw[1] // 2), 3)


def test_less_light_is_less_light():
    (level,) = np.unique(BY_NAME["dimmed"].apply(np.full((3, 3, 3), 200, np.uint8))).tolist()
    assert level == round(200 * DIMMED_SHARE)


def test_a_model_that_does_not_mind_loses_nothing(tmp_path):
    pack, model = make_pack(tmp_path), ColourModel()
    (entry,) = run_benchmark(model, pack, robustness_benchmark(pack))
    scores = entry.scores
    assert scores.objects == 6
    assert scores.stored == pytest.approx(
        100 * (225 / 555 + 330 / 555 + 1) / 3
    )  # both cats are always found together
    for name in (*GEOMETRIC, "dimmed"):
        assert scores.changed[name].mean_iou == pytest.approx(scores.stored)
        assert scores.changed[name].points == pytest.approx(0, abs=1e-9)
    assert model.encoded == 2 * (
        1 + len(CHANGES)
    )  # a changed photo is encoded once for all its objects
    assert entry.timings["click"].count == 6 * (1 + len(CHANGES))


class Upright(ColourModel):
    """Sees nothing in a photo that is not HW."""

    def encode(self, image):
        seen = super().encode(image)
        if image.shape[:2] != HW:
            seen.of = lambda colour: np.zeros(image.shape[:2], bool)
        return seen


def test_a_fall_is_told_in_points_and_in_percent(tmp_path):
    pack = make_pack(tmp_path)
    (entry,) = run_benchmark(Upright(), pack, robustness_benchmark(pack))
    turned = entry.scores.changed["turned by 90 degrees"]
    assert (turned.mean_iou, turned.points, turned.percent) == (
        0,
        pytest.approx(entry.scores.stored),
        100,
    )
    assert entry.scores.changed["mirrored"].percent == pytest.approx(0, abs=1e-9)


def test_every_change_is_answered():
    scores = RobustnessScores(["turned", "dimmed"])
    with pytest.raises(ValueError, match="The changes are turned, dimmed; got turned"):
        scores.update(0.5, {"turned": 0.4})
    with pytest.raises(ValueError, match="cannot be merged"):
        scores.merge(RobustnessScores(["turned"]))
