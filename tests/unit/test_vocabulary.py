import dataclasses
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seem.vocabulary import Category, Vocabulary, distinct_colours, imagenet_synsets


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


def test_ade20k_has_100_things_and_50_stuff_in_the_order_of_sceneparse150():
    ade = Vocabulary.ade20k()
    assert ade.ids == tuple(range(1, 151))
    assert sum(ade.is_thing) == 100
    assert len(set(ade.names)) == len(set(ade.colours)) == 150
    assert ade.phrases == ade.names


@pytest.mark.parametrize(
    ("number", "name", "is_thing"),
    [
        (1, "wall", False),
        (3, "sky", False),
        (8, "bed", True),
        (13, "person", True),
        (18, "plant", False),
        (26, "house", False),
        (54, "stairs", True),
        (60, "stairway", False),
        (73, "palm", True),
        (90, "tv", True),
        (115, "tent", False),
        (127, "animal", True),
        (142, "crt screen", False),
        (150, "flag", True),
    ],
)
def test_ade20k_categories_are_those_of_the_data_set(number, name, is_thing):
    category = Vocabulary.ade20k()[number - 1]
    assert (category.id, category.name, category.is_thing) == (number, name, is_thing)


def test_imagenet_has_1000_classes_in_the_order_of_its_classifiers():
    imagenet = Vocabulary.imagenet()
    assert imagenet.ids == tuple(range(1, 1001))
    assert len(imagenet_synsets()) == len(set(imagenet_synsets())) == 1000


@pytest.mark.parametrize(
    ("index", "synset", "name"),
    [
        (0, "n01440764", "tench"),
        (134, "n02012849", "crane bird"),
        (517, "n03126707", "construction crane"),
        (638, "n03710637", "maillot"),
        (639, "n03710721", "tank suit"),
        (934, "n07697537", "hot dog"),
        (999, "n15075141", "toilet paper"),
    ],
)
def test_imagenet_classes_have_the_synsets_of_wordnet(index, synset, name):
    assert imagenet_synsets()[index] == synset
    assert Vocabulary.imagenet().names[index] == name


def test_lists_that_ship_go_by_name():
    assert Vocabulary.coerce("ade20k") is Vocabulary.named("ade20k") is Vocabulary.ade20k()
    assert Vocabulary.coerce("coco") is Vocabulary.coco_panoptic()
    with pytest.raises(
        ValueError,
        match=r"^There is no list .*'lvis'; there are 'coco', 'ade20k' and 'imagenet'\.$",
    ):
        Vocabulary.named("lvis")
    with pytest.raises(
        ValueError, match=r"got the text 'lvis'; write \['lvis'\] or split it .* lists by name"
    ):
        Vocabulary.coerce("lvis")


def test_own_names_keep_their_order_and_get_ids_from_1():
    own = Vocabulary.of(["  red   car ", "Tree", "sky"])
    assert own.names == ("red car", "Tree", "sky")
    assert own.ids == (1, 2, 3)
    assert len(set(own.colours)) == 3


def test_names_that_coco_knows_as_stuff_are_stuff():
    assert Vocabulary.of(["dog", "Sky", "sea", "unicorn", "tree-merged"]).is_thing == (
        True,
        False,
        False,
        True,
        False,
    )


def test_stuff_can_be_named():
    assert Vocabulary.of(["sky", "lava"], stuff=["Lava"]).is_thing == (True, False)


@pytest.mark.parametrize(
    ("names", "stuff", "message"),
    [
        ([], None, "at least one name"),
        (["cat", "  "], None, "Class 1 is '  ', which says nothing"),
        (["-other"], None, "says nothing"),
        (["cat", "dog", "CAT"], None, "'CAT' repeats 'cat'"),
        (["cat", "dog", "cat"], None, "'cat' is there twice"),
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
        Vocabulary(
            tuple(Category(i, f"name {k}", f"name {k}", True, (1, 2, 3)) for k, i in enumerate(ids))
        )


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


def test_key_depends_on_own_templates():
    plain, one, two = (
        Vocabulary.of(["cat"], templates=templates).key
        for templates in (None, ["a {}"], ["a {}", "the {}"])
    )
    assert len({plain, one, two}) == 3
    assert one == Vocabulary.of(["cat"], templates=("a {}",), background=True).key


def test_things_keep_templates_and_background():
    own = Vocabulary.of(["cat", "sky"], templates=["a {}"], background=True)
    assert own.things.names == ("cat",)
    assert (own.things.templates, own.things.background) == (("a {}",), True)


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ([], "There is no template; pass None for the model's own"),
        (["a photo"], r"A template needs one \{\} where the class name goes, got 'a photo'"),
        (["{} and {}"], r"A template needs one \{\}"),
        ("a {}", r"templates is a list of sentences, got the text 'a \{\}'"),
    ],
)
def test_templates_that_hold_no_name_are_refused(templates, message):
    of = inspect.unwrap(Vocabulary.of.__func__)  # without the type checks of these tests
    with pytest.raises(ValueError, match=message):
        of(Vocabulary, ["cat"], templates=templates)


def test_five_thousand_names_are_a_vocabulary():
    names = [f"thing number {n}" for n in range(5000)]
    own = Vocabulary.of(names)
    assert own.names == tuple(names)
    assert len(set(own.colours)) == 5000
    with pytest.raises(ValueError, match="'Thing number 7' repeats 'thing number 7'"):
        Vocabulary.of([*names, "Thing number 7"])


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
