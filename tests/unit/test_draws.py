"""Three ways to choose what the published code leaves to chance."""

import pytest
import torch

from seem.models.decoder.draws import FairDraws, RandomDraws, RecordedDraws, spaced


def owners(*counts):
    """Owner of every prompt pixel: object 0 has the first count of them, and so on."""
    return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.long))


def random(seed=0):
    return RandomDraws(torch.Generator().manual_seed(seed))


def kept(draws, counts, limit):
    """How many pixels each object keeps."""
    owner = owners(*counts)
    chosen = draws.points(owner, limit)
    return owner[chosen].bincount(minlength=len(counts)).tolist()


@pytest.mark.parametrize(
    ("n", "k", "expected"),
    [
        (5, 5, [0, 1, 2, 3, 4]),
        (10, 5, [0, 2, 4, 6, 8]),
        (3, 7, [0, 0, 0, 1, 1, 2, 2]),
        (101, 3, [0, 33, 67]),
        (4, 0, []),
    ],
)
def test_spaced_is_even_from_the_first(n, k, expected):
    assert spaced(n, k).tolist() == expected


@pytest.mark.parametrize(
    "draws", [FairDraws(), RecordedDraws(), random()], ids=["fair", "recorded", "random"]
)
class TestEveryRule:
    @pytest.mark.parametrize("counts", [(), (0,), (7,), (3, 9), (6, 6)])
    def test_prompts_within_the_limit_keep_every_pixel(self, draws, counts):
        owner = owners(*counts)
        assert draws.points(owner, 12).tolist() == list(range(len(owner)))

    @pytest.mark.parametrize("counts", [(13,), (5, 400), (400, 5, 60), (9, 391, 3200)])
    def test_prompts_beyond_the_limit_keep_that_many_different_pixels_in_order(self, draws, counts):
        chosen = draws.points(owners(*counts), 12)
        assert len(chosen) == 12
        assert (chosen.diff() > 0).all()
        assert chosen[-1] < sum(counts)

    def test_every_object_has_its_queries(self, draws):
        queries = draws.queries(4, 3, 101)
        assert queries.shape == (12,)
        assert ((queries >= 0) & (queries < 101)).all()

    def test_slots_serve_objects_in_order(self, draws):
        slots, objects = draws.memory(3, 32)
        assert slots.shape == objects.shape
        assert (objects.diff() >= 0).all()
        assert ((objects >= 0) & (objects < 3)).all()
        assert ((slots >= 0) & (slots < 32)).all()


@pytest.mark.parametrize(
    ("counts", "limit", "expected"),
    [
        ((9, 300_000), 512, [9, 503]),
        ((9, 391, 3200), 512, [9, 251, 252]),
        ((600, 600), 512, [256, 256]),
        ((2, 8), 6, [2, 4]),
    ],
)
def test_fair_small_prompts_keep_all_and_large_ones_share_the_rest(counts, limit, expected):
    assert kept(FairDraws(), counts, limit) == expected


def test_fair_pixels_are_spread_over_the_prompt():
    assert FairDraws().points(owners(2, 100), 6).tolist() == [0, 1, 2, 27, 52, 77]


def test_fair_objects_get_the_same_whatever_else_is_asked():
    draws = FairDraws()
    assert draws.queries(3, 3, 101).tolist() == draws.queries(1, 3, 101).tolist() * 3
    slots, objects = draws.memory(2, 4)
    assert slots.tolist() == [0, 1, 2, 3] * 2
    assert objects.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((9, 391, 3200), [2, 55, 455]), ((12_000,), [512]), ((9, 300_000), [1, 511])],
)
def test_recorded_pixels_are_in_proportion_to_area(counts, expected):
    assert kept(RecordedDraws(), counts, 512) == expected


def test_recorded_queries_and_slots_are_shared_between_objects():
    draws = RecordedDraws()
    assert draws.queries(2, 3, 101).tolist() == [0, 16, 33, 50, 67, 84]
    slots, objects = draws.memory(3, 32)
    assert slots.tolist() == list(range(32))
    assert objects.bincount().tolist() == [11, 11, 10]


def test_random_is_repeated_by_the_same_seed_alone():
    def everything(draws):
        return [
            *draws.points(owners(50, 5000), 64),
            *draws.queries(2, 3, 101),
            *draws.memory(2, 32)[1],
        ]

    assert everything(random(1)) == everything(random(1))
    assert everything(random(1)) != everything(random(2))


def test_random_objects_expect_the_same_number_of_pixels():
    small, large = kept(random(), (2_000, 60_000), 512)
    assert 200 < small < 312
    assert small + large == 512


def test_random_leaves_the_generator_alone_when_everything_fits():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    RandomDraws(generator).points(owners(9, 3), 512)
    assert torch.equal(generator.get_state(), before)
