"""Arguments of a wrong type: one line that names the argument; numbers of NumPy are numbers."""

import inspect
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np
import pytest
import torch

import seem
from seem.argument_types import explained, explains_arguments, takes_options
from seem.prompts.arguments import MAX_POINTS
from seem.vocabulary import MAX_CLASSES
from tiny import picture, tiny_model
from unchecked import import_unchecked

SPARSE = torch.zeros(3, 4).to_sparse()
META = torch.zeros(3, 4, device="meta")


@pytest.fixture(scope="module")
def image():
    return tiny_model("nano").encode(picture(64, 48, seed=1))


@pytest.fixture(scope="module")
def results(image):
    return image.segment(seem.Point(10, 10))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda image: image.find(5), r"phrases is 5; find takes a text or a list \(a text each\)"),
        (lambda image: image.panoptic(5), "classes is 5; panoptic takes"),
        (lambda image: image.instances(classes=object), "classes is <class 'object'>; instances"),
        (lambda image: image.find("cat", against=1.5), "against is 1.5; find takes"),
        (lambda image: image.similarity(5), r"phrases is 5; similarity takes a list"),
        (lambda image: image.save(5), "path is 5; save takes a text or a path"),
        (lambda image: image.save("a\0.safetensors"), "path is .*, which no file can be called"),
        (lambda image: image.to("hpu"), "The image cannot go to 'hpu'"),
        (lambda image: image.to(1.5), "device is 1.5; to takes a text or a device"),
        (lambda image: image.model.retrieve(5, "cat"), "images is 5; retrieve takes a list"),
        (lambda image: image.model.load_encoded(5), "path is 5; load_encoded takes"),
        (lambda image: image.model.encode(image.image, max_pixels="many"), "max_pixels is 'many'"),
        (lambda image: image.model.tracker([image.image], backward=SPARSE), "backward is tensor"),
        (lambda image: image.everything(box_nms_threshold="x"), "box_nms_threshold is 'x'"),
        (lambda image: image.everything(points_per_side=10**9), "it must be at most 512"),
        (lambda image: image.everything(crop_n_layers=9), "crop_n_layers is 9; it must be at most"),
        (lambda image: image.everything(stability_score_offset=float("inf")), "offset is inf"),
        (lambda image: image.everything(pred_iou_threshold=float("nan")), "threshold is nan"),
        (lambda image: image.segment_boxes(SPARSE), "Boxes are N x 4 numbers, got a tensor"),
        (lambda image: image.segment_boxes(META), "Boxes are N x 4 numbers, got a tensor"),
        (lambda _: seem.Vocabulary.of(7), "names is 7; of takes a list"),
        (lambda _: seem.Stroke(np.array(3)), "A stroke takes a list of points, got array"),
        (lambda _: seem.Polygon(np.zeros((MAX_POINTS + 1, 2))), "too long, 20000 are the most"),
        (
            lambda _: seem.Vocabulary.of(list(map(str, range(MAX_CLASSES + 1)))),
            "25000 are the most",
        ),
    ],
)
def test_an_argument_of_a_wrong_type_is_named_in_one_line(image, ask, message):
    with pytest.raises(ValueError, match=message) as caught:
        ask(image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda results: results.filter(label=5), "label is 5; filter takes a text or None"),
        (lambda results: results.filter(min_score="high"), "min_score is 'high'; filter takes"),
        (lambda results: results.overlay(alpha="x"), "alpha is 'x'; overlay takes a number"),
        (lambda results: results.save(5), "folder is 5; save takes a text or a path"),
        (lambda results: results.save("a\0b"), "folder is .*, which no file can be called"),
    ],
)
def test_results_name_arguments_of_a_wrong_type(results, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(results)


@dataclass(frozen=True)
class Options:
    width: int = 3
    _: KW_ONLY
    height: float | None = None


class Window:
    @explained
    @takes_options(Options)
    def perimeter(self, options: Options) -> float:
        """Add up the sides."""
        return 2 * (options.width + options.height)


def test_a_method_takes_the_fields_of_its_options():
    assert Window().perimeter(4, height=2.5) == 13
    signature = inspect.signature(Window.perimeter)
    assert str(signature) == "(self, width: int = 3, *, height: float | None = None) -> float"
    assert Window.perimeter.__doc__ == "Add up the sides."


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"height": "x"}, ValueError, "height is 'x'; perimeter takes a number or None"),
        ({"width": 2.5, "height": "x"}, ValueError, "width is 2.5; perimeter takes a whole number"),
        ({"depth": 2}, TypeError, "unexpected keyword argument 'depth'"),
    ],
)
def test_a_wrong_option_is_named_in_one_line(options, error, message):
    with pytest.raises(error, match=message):
        Window().perimeter(**options)


def test_numbers_of_numpy_are_numbers():
    settings = import_unchecked("seem.tasks.everything").EverythingSettings(
        points_per_side=np.int64(2), crop_n_layers=np.uint8(0), pred_iou_threshold=np.float32(0.5)
    )
    assert type(settings.points_per_side) is type(settings.crop_n_layers) is int
    assert settings.rule.startswith("everything: points_per_side 2, ")


@pytest.fixture(scope="module")
def prompts():
    return import_unchecked("seem.prompts")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda prompts: prompts.Point(1, 1, positive="no"),
            "positive is 'no'; it must be True or",
        ),
        (lambda prompts: prompts.Stroke([(1, 1), (2, 2)], positive=2), "positive is 2"),
        (lambda prompts: prompts.Mask(SPARSE), "The mask must be an array, got tensor"),
        (lambda prompts: prompts.Mask(logits=META), "The mask logits must be an array, got tensor"),
        (lambda prompts: prompts.Mask(logits=np.full((4, 4), 1e300)), "too large for float32"),
    ],
)
def test_prompts_refuse_what_they_cannot_be(prompts, make, message):
    with pytest.raises(ValueError, match=message):
        make(prompts)


def test_flags_may_be_numbers_of_numpy(prompts):
    point = prompts.Point(np.int64(3), np.float32(4.5), positive=np.int64(1))
    assert point == prompts.Point(3, 4.5)
    assert prompts.Point(3, 4, positive=np.bool_(False)).positive is False


@explains_arguments
class Shelf:
    """Takes arguments of several kinds."""

    def put(self, name: str, count: int = 1, mode: Literal["a", "b"] = "a") -> str:
        return name.upper() * (count + 0) + mode.lower()

    @classmethod
    def of(cls, names: list[str]) -> int:
        return len(names)

    def break_down(self, name: str) -> None:
        raise RuntimeError(f"a fault of our own about {name}")


def test_only_what_annotations_do_not_allow_is_explained():
    assert Shelf().put("a", np.int64(2)) == "AAa"
    with pytest.raises(ValueError, match=r"count is 'x'; put takes a whole number\."):
        Shelf().put("a", "x")
    with pytest.raises(ValueError, match="mode is 3; put takes 'a' or 'b'"):
        Shelf().put("a", mode=3)
    with pytest.raises(ValueError, match=r"names is 3; of takes a list \(a text each\)"):
        Shelf.of(3)
    with pytest.raises(RuntimeError, match="of our own"):
        Shelf().break_down("a")
    with pytest.raises(TypeError, match="missing 1 required"):
        Shelf().put()


def test_long_values_are_shortened():
    with pytest.raises(ValueError, match=r"^name is array.{0,70}\.\.\.; put takes a text\.$"):
        Shelf().put(np.zeros((50, 50)))
    assert explained(len)([1]) == 1


def test_each_of_collected_arguments_is_judged_alone():
    @explained
    def add(*numbers: int, **names: str) -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        add(1, 2, name="a")
    with pytest.raises(ValueError, match="numbers is 'x'; add takes a whole number"):
        add(1, "x")
    with pytest.raises(ValueError, match="names is 3; add takes a text"):
        add(1, name=3)
