"""Is it there at all?"""

import pytest
import torch

from seem.inference.presence import presence_and_limit, presence_scores, region_presence_scores

DOG, CAT, CAR, SKY = torch.eye(4)
NAMES = torch.stack([DOG, CAT, CAR, SKY])
EVEN = 1e-4


def photo(*places):
    """Lay out 20 places in a row, the first ones as given and the rest sky."""
    rows = [*places, *[SKY] * (20 - len(places))]
    return torch.stack(rows).mT.reshape(4, 2, 10)


def test_what_places_show_is_there_and_nothing_else_is():
    said = presence_scores(photo(DOG, DOG), torch.stack([DOG, CAT, SKY]), NAMES, 20.0, EVEN)
    assert said[0] > 0.99
    assert said[1] < 0.01
    assert said[2] > 0.99


def test_what_is_as_likely_as_not_counts_as_a_half():
    between = (DOG + CAT) / 2**0.5
    assert presence_scores(photo(between), DOG[None], NAMES, 20.0, 0.5)[0] == pytest.approx(
        0.5, abs=0.01
    )
    assert presence_scores(photo(between), DOG[None], NAMES, 20.0, 0.1)[0] == pytest.approx(
        0.5 / 0.6, abs=0.01
    )


def test_a_doubtful_place_is_shared_between_rivals():
    between = (DOG + CAT) / 2**0.5
    said = presence_scores(photo(between), torch.stack([DOG, CAT]), NAMES, 20.0, 1.0)
    assert torch.allclose(said, torch.tensor([1 / 3, 1 / 3]), atol=0.01)


def test_another_word_for_a_name_does_not_compete_with_it():
    animal = (DOG + CAT) / 2**0.5  # as near to both, and to nothing else
    said = presence_scores(photo(DOG, DOG), animal[None], NAMES, 20.0, EVEN)
    assert said[0] > 0.99


def test_nothing_said_is_nowhere():
    assert presence_scores(photo(DOG), torch.zeros(1, 4), NAMES, 20.0, EVEN).tolist() == [0.0]
    assert presence_scores(photo(DOG), torch.zeros(0, 4), NAMES, 20.0, EVEN).tolist() == []


def test_one_place_of_a_tiny_photo_is_enough():
    assert presence_scores(DOG.reshape(4, 1, 1), DOG[None], NAMES, 20.0, EVEN)[0] > 0.99


def test_a_region_is_judged_by_its_own_places():
    photo = torch.stack([DOG, DOG, SKY, CAT], dim=1)[:, None]  # 1 x 4 places
    shares = [
        [1.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 1.0],
        [0.0, 0.2, 0.1, 0.0],
        [1.0, 0.0, 0.0, 0.0],
    ]
    regions = torch.tensor(shares)[:, None]
    said = region_presence_scores(
        photo, torch.stack([DOG, DOG, DOG, CAT]), NAMES, 20.0, EVEN, regions
    )
    assert said[0] > 0.9
    assert said[1] < 0.1
    assert said[2] > 0.9  # smaller than a place: that which holds most of it is asked
    assert said[3] < 0.1
    assert (
        region_presence_scores(photo, torch.zeros(0, 4), NAMES, 20.0, EVEN, regions[:0]).tolist()
        == []
    )


def test_no_region_scores_above_the_limit():
    generator = torch.Generator().manual_seed(0)
    cells = torch.nn.functional.normalize(torch.randn(4, 5, 8, generator=generator), dim=0)
    presence, limit = presence_and_limit(cells, NAMES, NAMES, 5.0, 0.1)
    assert torch.equal(presence, presence_scores(cells, NAMES, NAMES, 5.0, 0.1))
    regions = torch.rand(200, 5, 8, generator=generator) > torch.rand(
        200, 1, 1, generator=generator
    )
    for thing in range(4):
        things = NAMES[thing].expand(200, 4)
        scores = region_presence_scores(cells, things, NAMES, 5.0, 0.1, regions.float())
        assert scores.max() <= limit[thing] + 1e-6
    best = torch.zeros(1, 5, 8)
    best.view(-1)[(DOG @ cells.flatten(1)).argmax()] = 1.0
    alone = region_presence_scores(cells, DOG[None], NAMES, 5.0, 0.1, best)
    assert alone[0] == pytest.approx(float(limit[0]), abs=1e-3)
