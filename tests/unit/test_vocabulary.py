import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seem.vocabulary import Category, Vocabulary, distinct_colours


def test_coco_has_80_things_then_53_stuff_ordered_by_id():
    coco = Vocabulary.coco_panoptic()
    assert coco.is_thing == (True,) * 80 + (False,) * 53
    assert list(coco.ids) == sorted(coco.ids)
    assert len(set(coco.names)) == len(set(coco.phrases)) == len(set(coco.colours)) == 133


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, Category(1, "person", "person", True, (220, 20, 60))),
        (11, Category(13, "stop sign", "stop sign", True, (220, 220, 0))),
        (79, Category(90, "toothbrush", "toothbrush", True, (191, 162, 208))),
        (80, Category(92, "banner", "banner", False, (255, 255, 128))),
        (86, Category(112, "door-stuff", "door", False, (92, 136, 89))),
        (87, Category(118, "floor-wood", "floor-wood", False, (218, 88, 184))),
        (119, Category(187, "sky-other-merged", "sky", False, (70, 130, 180))),
        (132, Category(200, "rug-merged", "rug", False, (250, 141, 255))),
    ],
)
def test_coco_categories_have_cocos_ids_colours_and_clean_phrases(index, expected):
    assert Vocabulary.coco_panoptic()[index] == expected


def test_own_names_keep_their_order_and_get_ids_from_1():
    own = Vocabulary.of(["  red   car ", "Tree", "sky"])
    assert own.names == ("red car", "Tree", "sky")
    assert own.ids == (1, 2, 3)
    assert len(set(own.colours)) == 3


def test_names_that_coco_knows_as_stuff_are_stuff():
    assert Vocabulary.of(["dog", "Sky", "sea", "unicorn", "tree-merged"]).is_thing == (True, False, False, True, False)


def test_stuff_can_be_named():
    assert Vocabulary.of(["sky", "lava"], stuff=["Lava"]).is_thing == (True, False)


@pytest.mark.parametrize(
    ("names", "stuff", "message"),
    [
        ([], None, "at least one name"),
        (["cat", "  "], None, "Class 1 is '  ', which says nothing"),
        (["-other"], None, "says nothing"),
        (["cat", "dog", "CAT"], None, "'CAT' repeats 'cat'"),
        (["sky", "sky-other-merged"], None, "'sky-other-merged' repeats 'sky'"),
        ("cat,dog", None, "got the text 'cat,dog'"),
        (["cat", "do\x07g"], None, r"Class 1 holds the control character U\+0007"),
        (["cat"], ["sky"], "stuff names 'sky'"),
    ],
)
def test_bad_lists_are_refused_with_the_reason(names, stuff, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary.of(names, stuff)


@pytest.mark.parametrize("ids", [(0, 1), (5, 5)])
def test_ids_start_at_1_and_are_used_once(ids):
    with pytest.raises(ValueError, match=r"ids start at 1 \(0 = unlabelled\)"):
        Vocabulary(tuple(Category(i, f"name {k}", f"name {k}", True, (1, 2, 3)) for k, i in enumerate(ids)))


def test_coerce_reads_none_a_list_and_a_vocabulary():
    own = Vocabulary.of(["cat"])
    assert Vocabulary.coerce(None) is Vocabulary.coco_panoptic()
    assert Vocabulary.coerce(["cat"]) == own
    assert Vocabulary.coerce(own) is own


def test_things_are_a_vocabulary_of_their_own():
    coco = Vocabulary.coco_panoptic()
    assert coco.things.categories == coco.categories[:80]
    with pytest.raises(ValueError, match="at least one name"):
        _ = Vocabulary.of(["sky"]).things


def test_key_depends_on_phrases_and_their_order_alone():
    key = Vocabulary.of(["cat", "dog"]).key
    assert key == Vocabulary.of(["cat", "dog-other"], stuff=["cat"]).key
    assert key != Vocabulary.of(["dog", "cat"]).key
    assert key != Vocabulary.of(["cat dog"]).key
    assert len(key) == 64


def test_a_vocabulary_is_frozen_hashable_and_iterable():
    own = Vocabulary.of(["cat", "dog"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        own.categories = ()
    assert {own: 1}[Vocabulary.of(["cat", "dog"])] == 1
    assert [category.name for category in own] == ["cat", "dog"]
    assert len(own) == 2


@given(st.integers(0, 5000))
def test_colours_are_distinct_and_do_not_depend_on_how_many_are_asked_for(count):
    colours = distinct_colours(count)
    assert len(set(colours)) == count
    assert distinct_colours(count + 7)[:count] == colours
    assert all(0 <= channel <= 255 for colour in colours for channel in colour)
