import dataclasses
import json
import pickle
import timeit

import numpy as np
import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st

from seem.prompts import Box, Mask, Point, Polygon, Scribble, Stroke, Text, rasterization_rule
from seem.rasterize import RasterFrame
from unchecked import import_unchecked

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def as_users_have_it():
    return import_unchecked("seem.prompts")


def same(height, width, polygon_rule="filled"):
    """A frame in which network pixels are photo pixels."""
    return RasterFrame((height, width), (height, width), polygon_rule)


def picture(drawing):
    return ["".join(".#"[int(pixel)] for pixel in row) for row in drawing]


def region(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Point(NAN, 3), "x of a point is nan; it must be a finite number"),
        (lambda: Point(3, -INF), "y of a point is -inf"),
        (lambda: Point(1e12, 4), "further away than any image reaches"),
        (
            lambda: Stroke([(1, 2)], 3),
            "A stroke needs at least 2 points, got 1; use Point for a single click",
        ),
        (lambda: Stroke([], 3), "at least 2 points, got 0"),
        (lambda: Stroke([(1, 2), (3, NAN)], 3), "y of a stroke is nan"),
        (lambda: Stroke([(1, 2), (3, 4)], 0), "width of a stroke is 0; it must be above 0"),
        (lambda: Stroke([(1, 2), (3, 4)], -2.5), "width of a stroke is -2.5"),
        (lambda: Stroke([(1, 2), (3, 4)], INF), "width of a stroke is inf"),
        (lambda: Scribble([]), "at least one stroke, got none"),
        (
            lambda: Scribble([[(1, 2), (3, 4)], [(5, 6)]]),
            "needs at least 2 points, got 1; use Point",
        ),
        (lambda: Polygon([(1, 1), (2, 2)]), "A polygon needs at least 3 points, got 2"),
        (lambda: Polygon([(1, 1), (2, 2), (5, 5)]), "lie on one line, it is empty"),
        (lambda: Polygon([(4, 4), (4, 4), (4, 4)]), "lie on one line"),
        (lambda: Box(5, 5, 5, 9), r"Box\(5, 5, 5, 9\) is empty"),
        (lambda: Box(9, 5, 5, 9), r"Box\(9, 5, 5, 9\) is inverted; give the left top corner"),
        (lambda: Box(NAN, 5, 5, 9), "x0 of a box is nan"),
        (lambda: Mask(), "exactly one of the two"),
        (
            lambda: Mask(np.ones((2, 2), bool), logits=np.ones((2, 2), np.float32)),
            "exactly one of the two",
        ),
        (lambda: Mask(np.zeros((2, 3), bool)), "mask of 3 x 2 pixels is empty"),
        (lambda: Mask(logits=np.full((2, 2), NAN, np.float32)), "NaN or infinite"),
        (lambda: Mask(logits=np.full((2, 2), -1.0, np.float32)), "nowhere above 0"),
        (lambda: Text(""), "phrase '' is empty"),
        (lambda: Text(" \t\n "), "is empty"),
        (lambda: Text("\u200b\ufeff"), "is empty"),
        (lambda: Text("red\x00 car"), r"control character U\+0000"),
        (lambda: Text("red \ud800"), r"control character U\+D800"),
        (lambda: Text("a" * 100_001), "at most 100,000 characters, got 100,001"),
        (lambda: RasterFrame((0, 5), (5, 5)), "sizes of at least 1"),
    ],
)
def test_a_bad_prompt_is_refused_with_the_value_and_the_way_out(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda seem: seem.Point("3", 4), "x of a point is '3'; it must be a number"),
        (lambda seem: seem.Point(True, 4), "x of a point is True"),
        (lambda seem: seem.Stroke(7, 3), "takes a list of points, got 7"),
        (lambda seem: seem.Stroke([1, 2, 3], 3), r"holds 1 where a pair \(x, y\) is needed"),
        (lambda seem: seem.Mask(np.ones((2, 2))), "bool or uint8, got float64; compare it first"),
        (lambda seem: seem.Mask(np.ones((2, 2, 3), np.uint8)), r"H x W, got shape \(2, 2, 3\)"),
        (lambda seem: seem.Mask("mask.png"), r"H x W array, got 'mask.png'; read a file first"),
        (
            lambda seem: seem.Mask(logits=np.ones((2, 2, 2))),
            "h x w floats of one object, got float64 of shape",
        ),
        (
            lambda seem: seem.Mask(logits=np.ones((2, 2), np.uint8)),
            "floats of one object, got uint8",
        ),
        (lambda seem: seem.Text(None), "takes a phrase, got NoneType"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_plain_words(as_users_have_it, make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(as_users_have_it)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            Point(60, 10),
            r"Point\(60, 10\) lies outside the image of 60 x 40 pixels; x must be at least 0 and below 60",
        ),
        (Point(-1, 10), r"Point\(-1, 10\)"),
        (Point(59.99, 40.0), r"Point\(59.99, 40\)"),
        (Point(-0.51, 10), r"Point\(-0.51, 10\)"),
        (
            Stroke([(70, 10), (90, 10)], 100),
            r"This stroke, which begins at \(70, 10\), lies outside the image of 60 x",
        ),
        (Stroke([(-20, 10), (10, -20)]), "This stroke"),
        (Scribble([[(70, 10), (90, 10)], [(0, 50), (50, 50)]]), "This scribble"),
        (Polygon([(70, 0), (90, 0), (80, 30)]), "This polygon"),
        (Polygon([(-40, 20), (30, 90), (-40, 90)]), "This polygon"),
        (Box(60, 0, 70, 10), r"Box\(60, 0, 70, 10\) lies outside the image of 60 x 40"),
        (Box(-9, -9, 0, 5), "lies outside"),
        (
            Mask(np.ones((60, 40), bool)),
            "mask is 40 x 60 pixels, the image 60 x 40; resize the mask",
        ),
    ],
)
def test_a_prompt_that_misses_the_photo_is_refused_when_it_is_placed(prompt, message):
    with pytest.raises(ValueError, match=message):
        prompt.check_inside((40, 60))
    with pytest.raises(ValueError, match=message):
        prompt.rasterize(same(40, 60))


@pytest.mark.parametrize(
    "prompt",
    [
        Point(59.99, 0.0),
        Point(-0.5, -0.5),
        Stroke([(-5, 20), (5, 20)]),
        Stroke([(-20, 20), (90, 25)]),
        Scribble([[(70, 10), (90, 10)], [(0, 30), (50, 30)]]),
        Polygon([(-40, -40), (900, -40), (30, 900)]),
        Polygon([(50, 10), (90, 20), (50, 30)]),
        Box(59.9, -10, 90, 1e6),
    ],
)
def test_what_lies_partly_inside_is_cut_at_the_border(prompt):
    prompt.check_inside((40, 60))
    assert prompt.rasterize(same(40, 60)).any()


@pytest.mark.parametrize(
    ("point", "rows"),
    [
        (Point(2, 1), ["..###", "..###", "..###"]),
        (Point(0, 0), ["##...", "##...", "....."]),
        (Point(3, 2), [".....", "...##", "...##"]),
    ],
)
def test_a_point_is_3x3_at_network_resolution_cut_at_the_border(point, rows):
    # The photo is 4 x 3, the network sees 5 x 3: x is stretched by 5 / 4, so pixel 2 (its centre 2.5) lands on 3.125.
    assert picture(point.rasterize(RasterFrame((3, 4), (3, 5)))) == rows


POINTS = [
    (3, 7),
    (3.0, 7),
    (2.99, 6),
    (3.5, 8),
    (np.int64(3), 7),
    (np.float32(3), 7),
    (-0.5, 0),
    (9.99, 19),
]


@pytest.mark.parametrize(("x", "column"), POINTS)
def test_a_point_names_the_centre_of_a_pixel(as_users_have_it, x, column):
    drawing = as_users_have_it.Point(x, 0).rasterize(RasterFrame((1, 10), (1, 20)))
    expected = [near for near in (column - 1, column, column + 1) if 0 <= near < 20]
    assert np.flatnonzero(drawing[0]).tolist() == expected


WHOLE_AND_FLOAT = [
    lambda number: Point(number(4), number(2)),
    lambda number: Stroke([(number(1), number(1)), (number(6), number(4))], 2),
    lambda number: Scribble([[(number(1), number(1)), (number(6), number(4))]], 2),
    lambda number: Polygon(
        [(number(1), number(1)), (number(6), number(1)), (number(1), number(5))]
    ),
    lambda number: Box(number(1), number(1), number(6), number(5)),
]


@pytest.mark.parametrize("make", WHOLE_AND_FLOAT)
def test_whole_numbers_and_floats_mean_the_same(make):
    whole, floats = make(int), make(float)
    assert whole == floats
    assert hash(whole) == hash(floats)
    assert (whole.rasterize(same(7, 9)) == floats.rasterize(same(7, 9))).all()


def test_points_name_pixels_and_outlines_run_along_their_edges():
    click, line = Point(4, 2), Stroke([(4, 2), (6, 2)])
    assert click.position == (4.5, 2.5)
    assert line.positions == ((4.5, 2.5), (6.5, 2.5))
    assert Scribble([[(4, 2), (6, 2)]]).positions == (line.positions,)
    box, polygon = Box(4, 2, 6, 3), Polygon([(4, 2), (6, 2), (6, 3), (4, 3)])
    for outline in (box, polygon):
        assert (
            picture(outline.rasterize(same(5, 8)))
            == ["........"] * 2 + ["....##.."] + ["........"] * 2
        )


def test_a_list_and_an_array_of_points_are_the_same_prompt():
    assert Stroke([(1, 1), (2, 2)]) == Stroke(np.array([[1, 1], [2, 2]]))


def test_a_stroke_is_a_line_with_round_ends():
    assert picture(Stroke([(3, 3), (6, 3)], width=5).rasterize(same(7, 10))) == [
        "..........",
        "..######..",
        ".########.",
        ".########.",
        ".########.",
        "..######..",
        "..........",
    ]


def test_a_thin_stroke_is_one_network_pixel_wide():
    frame = RasterFrame((100, 100), (10, 10))
    drawing = Stroke([(0, 34), (99, 34)], width=0.1).rasterize(frame)
    assert picture(drawing)[3] == "#" * 10
    assert drawing.sum() == 10


def test_the_width_of_a_stroke_is_in_photo_pixels():
    drawing = Stroke([(0, 49.5), (99, 49.5)], width=40).rasterize(RasterFrame((100, 100), (10, 10)))
    assert drawing.any(axis=1).tolist() == [False] * 3 + [True] * 4 + [False] * 3


def test_a_scribble_is_the_union_of_its_strokes():
    first, second = [(1, 1), (8, 1)], [(1, 6), (8, 3)]
    frame = same(8, 10)
    union = Stroke(first, 2).rasterize(frame) | Stroke(second, 2).rasterize(frame)
    assert (Scribble([first, second], 2).rasterize(frame) == union).all()


TRIANGLE = [(1, 1), (7, 1), (1, 4)]


def from_centres(*pixels):
    """A polygon whose corners are the centres of pixels."""
    return Polygon([(x + 0.5, y + 0.5) for x, y in pixels])


def test_a_filled_polygon_holds_the_pixels_whose_centres_are_its_corners():
    assert picture(from_centres(*TRIANGLE).rasterize(same(6, 9))) == [
        ".........",
        ".#######.",
        ".#####...",
        ".###.....",
        ".#.......",
        ".........",
    ]


def test_a_polygon_drawn_as_a_curve_is_its_outline():
    assert picture(from_centres((1, 1), (6, 1), (6, 4), (1, 4)).rasterize(same(6, 8, "curve"))) == [
        "........",
        ".######.",
        ".#....#.",
        ".#....#.",
        ".######.",
        "........",
    ]


def test_a_polygon_that_crosses_itself_is_filled_even_odd():
    bow_tie = from_centres((0, 0), (6, 6), (6, 0), (0, 6))
    assert picture(bow_tie.rasterize(same(7, 7))) == [
        "#.....#",
        "##...##",
        "###.###",
        "#######",
        "###.###",
        "##...##",
        "#.....#",
    ]


def test_a_polygon_covers_exactly_the_pixels_between_its_corners():
    square = Polygon([(1, 1), (3, 1), (3, 3), (1, 3)])
    assert picture(square.rasterize(same(4, 4))) == ["....", ".##.", ".##.", "...."]


def test_a_curve_that_goes_round_the_whole_photo_has_nothing_to_draw():
    around = Polygon([(-40, -40), (900, -40), (30, 900)])
    assert around.rasterize(same(40, 60)).all()
    with pytest.raises(ValueError, match="outline of this polygon"):
        around.rasterize(same(40, 60, "curve"))


@pytest.mark.parametrize(
    ("box", "rows"),
    [
        (Box(1, 1, 4, 3), [".....", ".###.", ".###.", "....."]),
        (Box(1.4, 1.0, 1.6, 1.2), [".....", ".#...", ".....", "....."]),
        (Box(4.9, 3.9, 9, 9), [".....", ".....", ".....", "....#"]),
        (Box(-5, 2, 1, 99), [".....", ".....", "#....", "#...."]),
        (Box(0, 0, 5, 4), ["#####"] * 4),
    ],
)
def test_a_box_is_filled_and_its_maxima_are_exclusive(box, rows):
    assert picture(box.rasterize(same(4, 5))) == rows


def test_a_mask_of_the_networks_size_is_itself():
    array = region("#..#", ".##.")
    assert (Mask(array).rasterize(same(2, 4)) == array).all()
    assert (Mask(array.astype(np.uint8) * 7).rasterize(same(2, 4)) == array).all()


@pytest.mark.parametrize(
    ("image_hw", "network_hw"), [((9, 13), (30, 40)), ((40, 31), (17, 12)), ((8, 8), (16, 16))]
)
def test_a_mask_is_resized_as_the_official_demo_does(image_hw, network_hw):
    array = np.random.default_rng(0).random(image_hw) > 0.8
    official = torch.nn.functional.interpolate(
        torch.from_numpy(array)[None, None].double(),
        network_hw,
        mode="bilinear",
        align_corners=False,
    )
    drawing = Mask(array).rasterize(RasterFrame(image_hw, network_hw))
    assert (drawing == (official[0, 0].numpy() > 1e-12)).all()


@pytest.mark.parametrize(("y", "x"), [(0, 0), (40, 55), (79, 119), (33, 7)])
def test_a_mask_of_one_pixel_never_vanishes(y, x):
    array = np.zeros((80, 120), dtype=bool)
    array[y, x] = True
    drawing = Mask(array).rasterize(RasterFrame((80, 120), (8, 12)))
    assert drawing[y // 10, x // 10]
    assert drawing.sum() == 1


def test_a_mask_keeps_a_read_only_copy():
    array = np.ones((2, 2), dtype=bool)
    mask = Mask(array)
    array[:] = False
    assert mask.array.all()
    with pytest.raises(ValueError, match="read-only"):
        mask.array[0, 0] = False


def test_mask_logits_cover_the_padded_input_four_pixels_each():
    logits = np.full((8, 8), -5.0, dtype=np.float32)
    logits[:, :3] = 5.0
    drawing = Mask(logits=logits[None]).rasterize(RasterFrame((100, 120), (25, 30)))
    assert drawing.shape == (25, 30)
    assert (drawing == (np.arange(30) < 12)).all()


def test_mask_logits_of_another_photo_are_refused():
    with pytest.raises(
        ValueError, match=r"\(4, 4\) do not cover the network's input of \(25, 30\)"
    ):
        Mask(logits=np.ones((4, 4), np.float32)).rasterize(RasterFrame((100, 120), (25, 30)))


@pytest.mark.parametrize(
    ("given_phrase", "kept"),
    [
        ("  the  red\tcar\n", "the red car"),
        ("👩‍👩‍👧 with a 🦮", "👩‍👩‍👧 with a 🦮"),
        ("a" * 10_000, "a" * 10_000),
        ("größer", "größer"),
    ],
)
def test_text_is_kept_with_its_white_space_collapsed(given_phrase, kept):
    assert Text(given_phrase).phrase == kept


EVERY_KIND = [
    (
        Point(3, 4.5, positive=False),
        {"kind": "point", "x": 3, "y": 4.5, "positive": False},
        "point: 3 x 3",
    ),
    (
        Stroke([(1, 2), (3, 4)], 2),
        {"kind": "stroke", "points": [[1, 2], [3, 4]], "width": 2.0, "positive": True},
        "stroke: round line, 2 photo pixels wide",
    ),
    (
        Scribble([[(1, 2), (3, 4)]], 2, False),
        {"kind": "scribble", "strokes": [[[1, 2], [3, 4]]], "width": 2.0, "positive": False},
        "scribble: round line",
    ),
    (
        Polygon(TRIANGLE),
        {"kind": "polygon", "points": [[1, 1], [7, 1], [1, 4]]},
        "polygon: closed curve",
    ),
    (Box(1, 2, 3, 4.5), {"kind": "box", "x0": 1, "y0": 2, "x1": 3, "y1": 4.5}, "box: filled"),
    (Mask(region("#.#")), {"kind": "mask", "size": [1, 3], "area": 2}, "mask: resized"),
    (
        Mask(logits=np.array([[1.0, -1.0]], np.float32)),
        {"kind": "mask_logits", "size": [1, 2], "area": 1},
        "mask: resized",
    ),
]


@pytest.mark.parametrize(("prompt", "record", "rule"), EVERY_KIND)
def test_every_kind_is_described_pickled_and_hashed(prompt, record, rule):
    assert json.loads(json.dumps(prompt.to_dict())) == record
    assert pickle.loads(pickle.dumps(prompt)).to_dict() == prompt.to_dict()
    assert {prompt: 1}[prompt] == 1
    assert rasterization_rule(prompt, "curve").startswith(rule)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(prompt, dataclasses.fields(prompt)[0].name, None)


BY_KIND = {"point": Point, "stroke": Stroke, "scribble": Scribble, "polygon": Polygon, "box": Box}
FRACTIONS = [
    Point(4.0, 2.25),
    Stroke([(1.0, 2), (3.5, 4)]),
    Scribble([[(1.0, 2), (3.5, 4)], [(0, 0), (9, 9.5)]], 3, positive=False),
    Polygon([(1.0, 1), (7, 1.5), (1, 4)]),
    Box(1, 2.0, 3.5, 4),
]


@pytest.mark.parametrize("prompt", [*FRACTIONS, *(prompt for prompt, _, _ in EVERY_KIND[:5])])
def test_json_reads_back_as_the_same_prompt(prompt):
    record = json.loads(json.dumps(prompt.to_dict()))
    again = BY_KIND[record.pop("kind")](**record)
    assert again == prompt
    assert (again.rasterize(same(12, 15)) == prompt.rasterize(same(12, 15))).all()


def test_a_phrase_is_described():
    assert Text("the red car").to_dict() == {"kind": "text", "phrase": "the red car"}
    assert rasterization_rule(Polygon(TRIANGLE), "filled") == "polygon: filled"
    assert rasterization_rule(Polygon(TRIANGLE), "filled", is_outline=True).startswith(
        "polygon: filled, bounds"
    )


coordinate = st.integers(-30, 90) | st.floats(-30, 90)
pairs = st.tuples(coordinate, coordinate)
sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


proposals = st.one_of(
    st.tuples(st.just(Point), coordinate, coordinate),
    st.tuples(st.just(Stroke), st.lists(pairs, min_size=2), st.floats(0.01, 40)),
    st.tuples(
        st.just(Scribble), st.lists(st.lists(pairs, min_size=2), min_size=1), st.floats(0.01, 40)
    ),
    st.tuples(st.just(Polygon), st.lists(pairs, min_size=3, max_size=8)),
    st.tuples(st.just(Box), coordinate, coordinate, coordinate, coordinate),
)


def made(kind, *arguments):
    """What is no prompt, such as a polygon on one line, is not our business here."""
    try:
        return kind(*arguments)
    except ValueError:
        reject()


@given(proposals, sizes, sizes, st.sampled_from(["filled", "curve"]))
def test_a_prompt_is_either_refused_or_leaves_a_trace(proposal, image_hw, network_hw, polygon_rule):
    prompt, frame = made(*proposal), RasterFrame(image_hw, network_hw, polygon_rule)
    try:
        drawing = prompt.rasterize(frame)
    except ValueError:
        with pytest.raises(ValueError, match="outside the image"):
            prompt.rasterize(frame)
        return
    assert drawing.shape == network_hw
    assert drawing.dtype == bool
    assert drawing.any()


@given(st.lists(pairs, min_size=3, max_size=8))
def test_filling_agrees_with_counting_turns(points):
    polygon = made(Polygon, points)
    try:
        drawing = polygon.rasterize(same(9, 11))
    except ValueError:
        reject()
    corners = np.array(polygon.positions)
    for y, x in np.argwhere(~drawing)[:20]:
        # Even-odd by a ray straight down, where the code sends it to the right: nothing left out lies inside.
        crossings = 0
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if (x0 <= x + 0.5) != (x1 <= x + 0.5):
                crossings += y0 + (x + 0.5 - x0) / (x1 - x0) * (y1 - y0) > y + 0.5
        assert crossings % 2 == 0


def test_drawing_a_click_takes_well_under_a_millisecond():
    frame, point = RasterFrame((3000, 4000), (512, 683)), Point(1000, 2000)
    assert min(timeit.repeat(lambda: point.rasterize(frame), number=20, repeat=5)) / 20 < 0.5e-3
