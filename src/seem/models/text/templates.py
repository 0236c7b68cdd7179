"""The phrases that a class name is put into before the text encoder turns it into a classifier.

A known difference from the official code: it removes '-other', '-merged' and '-stuff' wherever they stand in a name, we
remove them at its end, where every COCO name has them, so that a user's "non-stuffed bear" keeps its name.
"""

import re
from collections.abc import Sequence

SINGLE = "a photo of a {}."
BARE = "{}."

# The 80 ImageNet prompts published with CLIP (github.com/openai/CLIP, notebooks), by their pattern: 'A' is the article.
_ARTICLES = ("a", "the")
# of "A ... photo"
_KINDS_OF_PHOTO = "bad|good|bright|dark|blurry|cropped|close-up|pixelated|low resolution|jpeg corrupted|black and white"
_KINDS_OF_OBJECT = "clean|dirty|large|small|nice|cool|weird|hard to see"  # a photo of A _ {}
_WORKS = "a sculpture|a rendering|a rendition|a drawing|a painting|a doodle|a sketch|a tattoo|art|graffiti|itap"
_MATERIALS = "plastic|toy|plushie|origami|embroidered|cartoon"
_NUMBERS = "a|the|my|one|many"


def _imagenet_templates() -> list[str]:
    """Spell the 80 prompts out, each ending in a full stop as SEEM and X-Decoder use them."""
    patterns = [f"a {kind} photo of A {{}}." for kind in _KINDS_OF_PHOTO.split("|")]
    patterns += [f"a photo of A {kind} {{}}." for kind in _KINDS_OF_OBJECT.split("|")]
    patterns += [f"{work} of A {{}}." for work in _WORKS.split("|")]
    patterns += [f"A {material} {{}}." for material in _MATERIALS.split("|")]
    patterns += ["A {} in a video game."]
    with_article = [pattern.replace("A", article) for pattern in patterns for article in _ARTICLES]
    return [
        *with_article,
        *(f"a photo of {number} {{}}." for number in _NUMBERS.split("|")),
        "itap of my {}.",
    ]


TEMPLATES = (*_imagenet_templates(), BARE)
"""All 81 templates of the evaluation. A class vector is the mean over them, so their order does not matter."""

_DATA_SET_SUFFIX = re.compile(r"(?:-other|-merged|-stuff)+$")


def clean_name(name: str) -> str:
    """Name of a class as people say it: COCO's 'wall-other-merged' is a wall, 'door-stuff' a door."""
    return _DATA_SET_SUFFIX.sub("", name)


def class_phrases(names: Sequence[str], templates: Sequence[str] = (SINGLE,)) -> list[str]:
    """Put every cleaned name into every template: all phrases of the first name, then of the second, and so on.

    Raises:
        ValueError: a template does not hold `{}` exactly once.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                f"A template needs one {{}} where the class name goes, got {template!r}."
            )
    return [template.replace("{}", clean_name(name)) for name in names for template in templates]
