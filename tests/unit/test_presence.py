"""Is it there at all?"""

import pytest
import torch

from seem.tasks.presence import presence

DOG, CAT, CAR, SKY = torch.eye(4)
NAMES = torch.stack([DOG, CAT, CAR, SKY])
EVEN = 1e-4


def photo(*places):
    """Lay out 20 places in a row, the first ones as given and the rest sky."""
    rows = [*places, *[SKY] * (20 - len(places))]
    return torch.stack(rows).mT.reshape(4, 2, 10)


def test_what_places_show_is_there_and_nothing_else_is():
    said = presence(photo(DOG, DOG), torch.stack([DOG, CAT, SKY]), NAMES, 20.0, EVEN)
    assert said[0] > 0.99
    assert said[1] < 0.01
    assert said[2] > 0.99


def test_what_is_as_likely_as_not_counts_as_a_half():
    between = (DOG + CAT) / 2**0.5
    assert presence(photo(between), DOG[None], NAMES, 20.0, 0.5)[0] == pytest.approx(0.5, abs=0.01)
    assert presence(photo(between), DOG[None], NAMES, 20.0, 0.1)[0] == pytest.approx(0.5 / 0.6, abs=0.01)


def test_a_doubtful_place_is_shared_between_rivals():
    between = (DOG + CAT) / 2**0.5
    said = presence(photo(between), torch.stack([DOG, CAT]), NAMES, 20.0, 1.0)
    assert torch.allclose(said, torch.tensor([1 / 3, 1 / 3]), atol=0.01)


def test_another_word_for_a_name_does_not_compete_with_it():
    animal = (DOG + CAT) / 2**0.5  # as near to both, and to nothing else
    said = presence(photo(DOG, DOG), animal[None], NAMES, 20.0, EVEN)
    assert said[0] > 0.99


def test_nothing_said_is_nowhere():
    assert presence(photo(DOG), torch.zeros(1, 4), NAMES, 20.0, EVEN).tolist() == [0.0]
    assert presence(photo(DOG), torch.zeros(0, 4), NAMES, 20.0, EVEN).tolist() == []


def test_one_place_of_a_tiny_photo_is_enough():
    assert presence(DOG.reshape(4, 1, 1), DOG[None], NAMES, 20.0, EVEN)[0] > 0.99
