import pytest

from seem.models.text.templates import BARE, SINGLE, TEMPLATES, class_phrases, clean_name


def test_there_are_81_different_templates_with_one_place_and_a_full_stop() -> None:
    assert len(TEMPLATES) == len(set(TEMPLATES)) == 81
    assert all(template.count("{}") == 1 and template.endswith(".") for template in TEMPLATES)
    assert {SINGLE, BARE, "the {} in a video game.", "itap of my {}.", "a photo of many {}."} < set(
        TEMPLATES
    )
    assert {"a black and white photo of the {}.", "a origami {}.", "art of the {}."} < set(
        TEMPLATES
    )
    assert not any("A" in template for template in TEMPLATES)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("person", "person"),
        ("tree-merged", "tree"),
        ("wall-other-merged", "wall"),
        ("door-stuff", "door"),
        ("window-other", "window"),
        ("floor-wood", "floor-wood"),
        ("non-stuffed bear", "non-stuffed bear"),
        ("other", "other"),
        ("", ""),
    ],
)
def test_names_lose_the_suffixes_of_their_data_set(name: str, clean: str) -> None:
    assert clean_name(name) == clean


def test_phrases_come_name_by_name() -> None:
    assert class_phrases(["dog", "sky-other-merged"], [BARE, SINGLE]) == [
        "dog.",
        "a photo of a dog.",
        "sky.",
        "a photo of a sky.",
    ]


def test_names_with_braces_are_taken_literally() -> None:
    assert class_phrases(["{0} {} {x}"]) == ["a photo of a {0} {} {x}."]


@pytest.mark.parametrize("template", ["a photo", "{} beside {}", "{0}"])
def test_template_without_one_place_is_rejected(template: str) -> None:
    with pytest.raises(ValueError, match=r"one \{\}"):
        class_phrases(["dog"], [template])
