"""What a labelling configuration of Label Studio asks for: which image, which kinds of regions, which labels."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

REGION_KINDS = {
    "brushlabels": "brush",
    "bitmasklabels": "bitmask",
    "polygonlabels": "polygon",
    "rectanglelabels": "rectangle",
}
"""Tags that hold regions of masks, best first, and what a region of each is."""

MAX_CHARACTERS = 1_000_000


@dataclass(frozen=True, slots=True)
class RegionTag:
    """A tag for regions: its kind (a value of `REGION_KINDS`), its name, and the labels that it offers.

    `labels` are written into regions, by the names that people read: the two differ where a label has an alias.
    """

    kind: str
    name: str
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The image of a configuration, by its name and the field of a task that holds its address, and its region tags."""

    image_name: str
    image_field: str
    tags: tuple[RegionTag, ...]

    def tag_for(self, label: str | None) -> RegionTag:
        """Return the best tag that offers a label, or else the best one; rectangles are the last resort."""
        offering = [tag for tag in self.tags if label in tag.labels.values()]
        return (offering or list(self.tags))[0]


def parse_label_config(text: str) -> LabelConfig:
    """Read a configuration; `ValueError` for one without an image and tags for its regions."""
    root = parse_xml(text)
    images = [element for element in root.iter() if element.tag.lower() == "image"]
    fields = [element.get("value", "") for element in images]
    if not images or not fields[0].startswith("$"):
        raise ValueError('The labelling configuration has no <Image name="..." value="$field">.')
    name = images[0].get("name", "image")
    tags = [
        region_tag(element)
        for element in root.iter()
        if element.tag.lower() in REGION_KINDS and element.get("toName") == name
    ]
    if not tags:
        raise ValueError(
            "The labelling configuration has no BrushLabels, BitmaskLabels, PolygonLabels or "
            f"RectangleLabels for {name}."
        )
    kinds = list(REGION_KINDS.values())
    tags.sort(key=lambda tag: kinds.index(tag.kind))
    return LabelConfig(name, fields[0].removeprefix("$"), tuple(tags))


def parse_xml(text: str) -> ElementTree.Element:
    """Parse XML; `ValueError` for a text that is none, is very long, or declares entities, which can grow."""
    if len(text) > MAX_CHARACTERS or "<!ENTITY" in text:
        raise ValueError("The labelling configuration is too long, or declares entities.")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"The labelling configuration is not valid XML ({error}).") from None


def region_tag(element: ElementTree.Element) -> RegionTag:
    """Read a tag with its labels."""
    labels: dict[str, str] = {}
    for label in element.iter():
        if label.tag.lower() == "label" and label.get("value"):
            value = label.get("value", "")
            labels[value] = label.get("alias") or value
    return RegionTag(REGION_KINDS[element.tag.lower()], element.get("name", ""), labels)
