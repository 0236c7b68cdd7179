"""A click is obeyed: its own pixel is on the side of the mask that it says, and a repeated one changes nothing."""

import numpy as np
import pytest
import torch

from seem import Point
from seem.tasks.interactive import ClickedCell, obey_clicks
from tiny import picture, tiny_model


def disc(size=40, radius=12.5, height=4.0):
    """Return mask logits that fall from `height` at the centre to 0 at `radius` cells."""
    offsets = torch.arange(size) - size // 2
    distance = (offsets[:, None] ** 2 + offsets[None] ** 2).sqrt()
    return height * (1 - distance / radius)


def test_a_mask_that_obeys_its_clicks_stays_as_it_is():
    logits = disc()
    clicks = [ClickedCell(20, 20, True), ClickedCell(2, 2, False)]
    assert obey_clicks(logits, clicks) is logits


@pytest.mark.parametrize(("row", "positive"), [(35, True), (20, False), (0, True), (39, True)])
def test_a_disobeyed_click_bends_the_mask_around_it(row, positive):
    logits = disc()
    bent = obey_clicks(logits, [ClickedCell(row, 20, positive)])
    around = bent[max(row - 1, 0) : row + 2, 19:22] > 0
    assert bool((around == positive).all())
    changed = (bent > 0) != (logits > 0)
    distance = (changed.nonzero() - torch.tensor([row, 20])).float().norm(dim=1)
    assert float(distance.max()) < 8  # far from the click nothing changes


def test_all_of_several_clicks_are_obeyed_and_of_contradicting_ones_the_last():
    clicks = [
        ClickedCell(20, 14, False),
        ClickedCell(20, 19, True),
        ClickedCell(20, 24, False),
        ClickedCell(5, 5, False),
        ClickedCell(5, 5, True),
    ]
    bent = obey_clicks(disc(), clicks)
    assert [bool(bent[click.row, click.column] > 0) for click in clicks[:3]] == [False, True, False]
    assert bool(bent[5, 5] > 0)


def test_an_empty_mask_obeys_too():
    bent = obey_clicks(torch.full((20, 20), -30.0), [ClickedCell(10, 10, True)])
    assert bool((bent[9:12, 9:12] > 0).all())
    assert int((bent > 0).sum()) < 30


@pytest.fixture(scope="module")
def image():
    return tiny_model("nano").encode(picture(53, 37))


def test_every_clicked_pixel_of_an_image_is_right_round_after_round(image):
    rng = np.random.default_rng(0)
    session = image.session()
    clicks = []
    for number in range(8):
        x, y = 5 + 12 * (number % 4), 6 + 20 * (number // 4)
        clicks.append(Point(x, y, positive=number == 0 or bool(rng.integers(2))))
        mask = session.add(clicks[-1]).masks[0]
        assert [bool(mask[int(click.y), int(click.x)]) for click in clicks] == [
            click.positive for click in clicks
        ]


def test_a_repeated_click_says_nothing_new(image):
    session = image.session()
    first = session.add(Point(20, 12), Point(40, 30, positive=False))
    assert session.add(Point(20, 12)) is first
    assert session.add(Point(44, 8, positive=False)) is not first
    assert session.undo() is first
    assert session.undo() is first  # the repeated click was a round too
    assert session.undo() is None


def test_a_search_for_classes_that_finds_nothing_says_so(image):
    for answer in (image.panoptic(["cat"], threshold=1.0), image.instances(["cat"], threshold=1.0)):
        assert len(answer) == 0
        assert answer.notes[-1].startswith("'cat' does not score 1 or more")
    several = image.panoptic(["cat", "dog"], threshold=1.0)
    assert several.notes[-1].startswith("none of the 2 classes scores 1 or more")
