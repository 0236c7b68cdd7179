"""Images that are read window by window: the pixels of `read_image`, and never more of them than were asked for."""

import numpy as np
import pytest
import torch
from PIL import Image

import seem
from seem import large_images
from seem.images import read_image
from seem.large_images import ArrayFile, open_windowed, read_reduced, strips, thumbnail

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
BOX = (7, 5, 31, 22)
PART = PIXELS[5:22, 7:31]


@pytest.mark.parametrize(
    "image",
    [PIXELS, Image.fromarray(PIXELS), torch.from_numpy(PIXELS).permute(2, 0, 1)],
    ids=["array", "pil", "tensor"],
)
def test_windows_of_images_in_memory(image):
    opened = open_windowed(image)
    assert opened.hw == (40, 60)
    assert (opened.read(BOX) == PART).all()


def test_windows_of_an_array_file_are_read_from_the_file(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, PIXELS)
    opened = open_windowed(path)
    assert isinstance(opened, ArrayFile)
    assert (opened.name, opened.hw) == ("a.npy", (40, 60))
    assert (opened.read(BOX) == PART).all()
    path.write_bytes(b"")
    with pytest.raises(seem.SeemError, match=r"a\.npy cannot be read as an array"):
        opened.read(BOX)


def test_other_files_are_read_as_usual(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    opened = open_windowed(path)
    assert opened.name == "a.png"
    assert (opened.read(BOX) == PART).all()


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((4, 4), np.uint8), "grey"),
        (np.zeros((4, 4, 3), np.float32), "scale its values"),
        (np.zeros((4, 4, 4), np.uint8), "red, green and blue alone"),
    ],
)
def test_arrays_that_are_no_image_are_refused(array, hint, tmp_path):
    np.save(tmp_path / "a.npy", array)
    for image in (array, tmp_path / "a.npy"):
        with pytest.raises(ValueError, match=hint):
            open_windowed(image)


def test_an_image_that_is_not_there_is_named(tmp_path):
    for name in ("a.png", "a.npy", "a.tif"):
        with pytest.raises(seem.SeemError, match=f"no photo at .*{name}"):
            open_windowed(tmp_path / name)


def test_bands_are_those_of_files():
    with pytest.raises(ValueError, match="bands 1,2,3 are those of a file"):
        open_windowed(PIXELS, [1, 2, 3])


def test_strips_cover_an_image_in_multiples(monkeypatch):
    monkeypatch.setattr(large_images, "STRIP_PIXELS", 600)
    boxes = list(strips((40, 60), 4))
    assert [box[1] for box in boxes] == [0, 8, 16, 24, 32]
    assert boxes[-1] == (0, 32, 60, 40)


def test_a_window_is_reduced_strip_by_strip_as_it_would_be_at_once(monkeypatch):
    whole = Image.fromarray(PIXELS).crop((3, 2, 60, 39)).reduce(4)
    monkeypatch.setattr(large_images, "STRIP_PIXELS", 300)
    reduced = read_reduced(open_windowed(PIXELS), (3, 2, 60, 39), 4)
    assert (np.asarray(reduced) == np.asarray(whole)).all()


def test_a_thumbnail_is_no_longer_than_asked():
    picture, factor = thumbnail(open_windowed(PIXELS), 25)
    assert (picture.size, factor) == ((20, 14), 3)
    assert thumbnail(open_windowed(PIXELS), 60)[1] == 1


# ------------------------------------------------------------------------------------------------ files that GDAL reads


@pytest.fixture
def write(tmp_path):
    """Write bands (N, H, W) to a TIFF file; `colours` are the names of its bands."""
    rasterio = pytest.importorskip("rasterio", reason='pip install "seem[geo]"')
    from rasterio.enums import ColorInterp

    def write(bands, colours=None, name="a.tif", nodata=None, **profile):
        path = tmp_path / name
        count, height, width = bands.shape
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width,
            dtype=bands.dtype, crs="EPSG:32633", nodata=nodata,
            transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000), **profile,
        ) as dataset:  # fmt: skip
            dataset.write(bands)
            if colours:
                dataset.colorinterp = [ColorInterp[colour] for colour in colours]
        return path

    return write


RGB = PIXELS.transpose(2, 0, 1)
NEAR_INFRARED = np.random.default_rng(1).integers(1, 254, (1, 40, 60), dtype=np.uint8)


def test_colours_of_a_tiff_are_those_that_pillow_reads(write):
    path = write(RGB, ("red", "green", "blue"), tiled=True, blockxsize=16, blockysize=16)
    opened = open_windowed(path)
    assert (opened.read((0, 0, 60, 40)) == np.asarray(read_image(path).rgb)).all()
    assert opened.georeference.authority_code == "EPSG:32633"
    assert opened.georeference.transform == (10, 0, 500_000, 0, -10, 5_400_000)


def test_near_infrared_tagged_as_alpha_does_not_bleach(write):
    path = write(np.concatenate([RGB, NEAR_INFRARED]), ("red", "green", "blue", "alpha"))
    opened = open_windowed(path)
    assert (opened.read(BOX) == PART).all()
    assert any("tagged as alpha, varies like a picture" in note for note in opened.notes)


def test_what_is_transparent_shows_white(write):
    alpha = np.full((1, 40, 60), 255, np.uint8)
    alpha[:, :, :10] = 0
    opened = open_windowed(write(np.concatenate([RGB, alpha]), ("red", "green", "blue", "alpha")))
    pixels = opened.read((0, 0, 60, 40))
    assert (pixels[:, :10] == 255).all()
    assert (pixels[:, 10:] == PIXELS[:, 10:]).all()


def test_an_image_that_is_transparent_everywhere_shows_its_colours(write):
    clear = np.concatenate([RGB, np.zeros((1, 40, 60), np.uint8)])
    opened = open_windowed(write(clear, ("red", "green", "blue", "alpha")))
    assert (opened.read(BOX) == PART).all()


def test_bands_are_chosen_by_the_user(write):
    path = write(np.concatenate([RGB, NEAR_INFRARED]), ("gray", "undefined", "undefined", "alpha"))
    opened = open_windowed(path, [4, 3, 2])
    expected = np.stack([NEAR_INFRARED[0], RGB[2], RGB[1]], axis=-1)
    assert (opened.read((0, 0, 60, 40)) == expected).all()
    grey = open_windowed(path, [2]).read((0, 0, 60, 40))
    assert (grey == RGB[1][..., None]).all()
    untagged = open_windowed(
        write(np.concatenate([RGB, RGB[:2]]), name="five.tif", photometric="minisblack")
    )
    assert (untagged.read(BOX) == PART).all()
    assert "bands chooses others" in untagged.notes[0]


@pytest.mark.parametrize("bands", [[], [1, 2], [0, 1, 2], [1, 2, 3, 4], [-1]])
def test_bands_that_cannot_be_are_refused(write, bands):
    with pytest.raises(ValueError, match="three numbers from 1 on"):
        open_windowed(write(RGB), bands)


def test_a_band_that_is_not_there_is_refused(write):
    with pytest.raises(
        ValueError, match=r"bands are 4,3,2, and .*a\.tif has 3; give numbers from 1 to 3"
    ):
        open_windowed(write(RGB), [4, 3, 2])


def test_sixteen_bits_are_scaled_by_what_the_whole_image_holds(write, monkeypatch):
    monkeypatch.setattr(large_images, "STRIP_PIXELS", 300)
    deep = RGB.astype(np.uint16) * 16
    deep[0, 39, 59] = 4095  # 12 bits, known from the last pixel alone
    opened = open_windowed(write(deep, ("red", "green", "blue")))
    expected = np.rint(deep / 4095 * 255).astype(np.uint8).transpose(1, 2, 0)
    assert (opened.read((0, 0, 20, 20)) == expected[:20, :20]).all()
    assert "read as 12 bits" in opened.notes[0]


def test_what_holds_no_data_is_black_and_does_not_count(write):
    deep = RGB.astype(np.uint16) * 16
    deep[:, :, :10] = 65535
    opened = open_windowed(write(deep, ("red", "green", "blue"), nodata=65535))
    pixels = opened.read((0, 0, 60, 40))
    assert "read as 12 bits" in opened.notes[0]
    assert (pixels[:, :10] == 0).all()
    assert abs(pixels[:, 10:].astype(int) - PIXELS[:, 10:]).max() <= 1


def test_floats_are_read_by_the_rule_of_floats(write):
    opened = open_windowed(write((RGB / 255).astype(np.float32), ("red", "green", "blue")))
    assert (opened.read(BOX) == PART).all()
    heights = np.linspace(-5, 300, 40 * 60, dtype=np.float32).reshape(1, 40, 60)
    heights[0, 0, 0] = np.nan
    grey = open_windowed(write(heights, name="heights.tif"))
    assert "-5 to 300 stretched" in grey.notes[0] or "stretched" in grey.notes[0]
    assert grey.read((59, 39, 60, 40)).tolist() == [[[255, 255, 255]]]
    assert grey.read((0, 0, 1, 1)).tolist() == [[[0, 0, 0]]]


def test_complex_numbers_are_no_picture(write):
    with pytest.raises(seem.SeemError, match="complex64, which is no picture"):
        open_windowed(write(RGB[:1].astype(np.complex64)))


def test_a_damaged_file_is_named(write):
    path = write(RGB, ("red", "green", "blue"), compress="deflate")
    path.write_bytes(path.read_bytes()[:-2000])
    opened = open_windowed(path, [1, 2, 3])
    with pytest.raises(seem.SeemError, match=r"a\.tif cannot be read as a picture"):
        opened.read((0, 0, 60, 40))


def test_a_tiff_that_is_stored_turned_is_shown_upright(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", tiffinfo={274: 6})
    assert open_windowed(tmp_path / "a.tif").hw == (60, 40)


def test_palettes_and_one_bit_are_read_as_usual(tmp_path):
    picture = Image.fromarray(PIXELS)
    for name, stored in {"p.tif": picture.quantize(16), "1.tif": picture.convert("1")}.items():
        stored.save(tmp_path / name)
        opened = open_windowed(tmp_path / name)
        expected = np.asarray(read_image(tmp_path / name).rgb)
        assert (opened.read((0, 0, 60, 40)) == expected).all(), name


def test_without_the_extra_bands_say_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    Image.fromarray(PIXELS).save(tmp_path / "a.tif")
    with pytest.raises(seem.SeemError, match=r'pip install "seem\[geo\]"'):
        open_windowed(tmp_path / "a.tif", [1, 2, 3])
    assert (open_windowed(tmp_path / "a.tif").read(BOX) == PART).all()  # by Pillow
