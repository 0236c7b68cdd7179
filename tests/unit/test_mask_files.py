"""Mask files as programs really write them: of every depth and ending, smoothed, lossy, with the object in alpha."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageDraw

from seem.data.image_files import read_labels, read_panoptic_ids
from seem.data.inspection import inspect_dataset
from seem.data.mask_pixels import is_smoothed
from seem.data.opening import open_dataset
from seem.data.records import DataError, FlawKind

HW = (60, 80)


@pytest.fixture
def numbers():
    """A map of the numbers 0 to 3."""
    values = np.zeros(HW, np.uint8)
    values[5:25, 5:25], values[30:40, 30:45], values[50:, :20] = 1, 2, 3
    return values


@pytest.fixture
def disc():
    picture = Image.new("L", HW[::-1])
    ImageDraw.Draw(picture).ellipse((15, 10, 60, 50), fill=255)
    return np.asarray(picture)


def folder_with(root, name, save):
    """Make a folder of one photo, a.jpg, and a mask that `save` writes."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    Image.new("RGB", HW[::-1], "grey").save(root / "images" / "a.jpg")
    save(root / "masks" / name)
    return root


def only_mask(root):
    dataset = open_dataset(f"folder:{root}", "train")
    (record,) = dataset.objects[1]
    return record.mask()


def tiff(values, bits, photometric=1):
    """Encode a grey map as an uncompressed TIFF of 1 to 8 bits."""
    height, width = values.shape
    planes = (values[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    packed = np.packbits(planes.reshape(height, width * bits).astype(np.uint8), axis=1).tobytes()
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8)]
    tags += [(277, 1), (278, height), (279, len(packed))]
    rows = b"".join(struct.pack("<HHII", number, 4, 1, value) for number, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(packed))
    return head + packed + struct.pack("<H", len(tags)) + rows + bytes(4)


# --- Depth ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_are_numbers_not_brightness(tmp_path, numbers, bits):
    scale = 255 // (2**bits - 1)
    Image.fromarray(numbers * np.uint8(scale)).save(tmp_path / "a.png", bits=bits)
    (tmp_path / "a.tif").write_bytes(tiff(numbers, bits))
    for name in ("a.png", "a.tif"):
        with Image.open(tmp_path / name) as opened:
            assert np.array_equal(opened, numbers * scale)  # what Pillow makes of them
        assert np.array_equal(read_labels(tmp_path / name), numbers)


DEPTHS = {
    "1 bit": (np.bool_, "png"),
    "16 bits": (np.uint16, "png"),
    "16 bits TIFF": (np.uint16, "tif"),
    "32 bits": (np.int32, "tif"),
    "floats": (np.float32, "tif"),
}


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_holds_its_numbers(tmp_path, numbers, depth):
    dtype, suffix = DEPTHS[depth]
    values = numbers.astype(dtype) * dtype(300 if dtype is np.uint16 else 1)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(read_labels(tmp_path / f"a.{suffix}"), values.astype(int))


def test_floats_that_are_no_numbers_of_classes_are_refused(tmp_path, numbers):
    Image.fromarray(numbers.astype(np.float32) / 2).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="holds float32 numbers"):
        read_labels(tmp_path / "a.tif")


def test_a_palette_gives_indices_and_that_of_a_gif_its_greys(tmp_path, numbers):
    picture = Image.fromarray(numbers)
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    picture.save(tmp_path / "a.png")
    Image.fromarray(numbers * np.uint8(40)).save(tmp_path / "a.gif")  # Pillow numbers these anew
    assert np.array_equal(read_labels(tmp_path / "a.png"), numbers)
    assert np.array_equal(read_labels(tmp_path / "a.gif"), numbers * 40)


# --- Endings ----------------------------------------------------------------------------------------------------------


ENDINGS = {"png": "PNG", "PNG": "PNG", "tif": "TIFF", "TIFF": "TIFF", "gif": "GIF", "webp": "WEBP"}
ENDINGS["BMP"] = "BMP"


@pytest.mark.parametrize("ending", ENDINGS)
def test_maps_have_any_ending(tmp_path, numbers, ending):
    def save(path):
        Image.fromarray(numbers).save(path, ENDINGS[ending], lossless=True)

    root = folder_with(tmp_path, f"a.{ending}", save)
    (root / "classes.txt").write_text("crack\nrust\nmoss\n")
    dataset = open_dataset(f"folder:{root}", "train")
    assert [record.area for record in dataset.objects[1]] == [400, 150, 200]
    assert np.array_equal(dataset.semantic(dataset.images[0]), numbers)


# --- Edges ------------------------------------------------------------------------------------------------------------


def smoothed(mask):
    return Image.fromarray(mask).resize((33, 27), 2).resize(HW[::-1], 2)


@pytest.mark.parametrize("name", ["a.png", "a_cat_1.png", "a/cat.png"])
def test_grey_edges_are_cut_at_their_half(tmp_path, disc, name):
    def save(path):
        path.parent.mkdir(exist_ok=True)
        smoothed(disc).save(path)

    root = folder_with(tmp_path, name, save)
    with Image.open(root / "masks" / name) as opened:
        values = np.asarray(opened)
    assert len(np.unique(values)) > 20
    assert np.array_equal(only_mask(root), values >= 128)
    report = inspect_dataset(open_dataset(f"folder:{root}", "train"))
    assert report.ok
    if name == "a.png":
        assert [n.where for n in report.notes if n.kind is FlawKind.GREY_EDGES] == ["a.png"]


@pytest.mark.parametrize("name", ["a.jpg", "a_cat_1.jpg", "a.JPEG"])
def test_a_jpeg_mask_is_cut_at_its_half(tmp_path, disc, name):
    root = folder_with(
        tmp_path, name, lambda path: Image.fromarray(disc).save(path, "JPEG", quality=60)
    )
    assert np.count_nonzero(only_mask(root) != (disc > 0)) <= 4


def test_a_jpeg_of_numbers_is_refused(tmp_path, numbers):
    root = folder_with(tmp_path, "a.jpg", lambda path: Image.fromarray(numbers).save(path))
    with pytest.raises(DataError, match=r"a\.jpg is a JPEG, which changes the numbers"):
        only_mask(root)


def test_maps_of_numbers_are_not_taken_for_smoothed_masks(numbers, disc):
    assert is_smoothed(np.asarray(smoothed(disc)))
    assert not is_smoothed(disc)
    assert not is_smoothed(numbers)
    bordered = numbers.copy()
    bordered[26:30] = 255  # void
    assert not is_smoothed(bordered)
    dots = np.where(disc > 0, 255, 0)
    dots[55, 2:78:4] = np.arange(1, 20)  # tiny objects far from the void
    assert not is_smoothed(dots)


# --- Alpha ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.png", "RGBA"),
        ("a.png", "LA"),
        ("a_cat_1.png", "RGBA"),
        ("a_cat_1.png", "LA"),
        ("a.webp", "RGBA"),  # WebP has no grey
    ],
)
def test_an_object_in_alpha_is_read(tmp_path, disc, name, mode):
    layers = [np.full(HW, 255, np.uint8)] * (len(mode) - 1)
    picture = Image.fromarray(np.dstack([*layers, disc]))
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    root = folder_with(tmp_path, name, lambda path: picture.save(path, **options))
    assert np.array_equal(only_mask(root), disc > 0)


def test_a_cut_out_is_its_opaque_pixels_black_ones_too(tmp_path, disc):
    pixels = np.random.default_rng(0).integers(0, 255, (*HW, 4)).astype(np.uint8)
    pixels[..., 3] = disc
    pixels[20:25, 30:35, :3] = 0
    root = folder_with(tmp_path, "a_cat_1.png", Image.fromarray(pixels).save)
    assert np.array_equal(only_mask(root), disc > 0)


def test_a_mask_on_a_transparent_canvas_is_what_is_not_black(tmp_path, disc):
    pixels = np.zeros((*HW, 4), np.uint8)
    pixels[5:55, 5:70, 3] = 255
    pixels[disc > 0, :3] = 255
    root = folder_with(tmp_path, "a_cat_1.png", Image.fromarray(pixels).save)
    assert np.array_equal(only_mask(root), disc > 0)


# --- Panoptic maps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp"])
def test_a_panoptic_map_may_have_a_palette(tmp_path, numbers, suffix):
    ids = numbers.astype(np.int32) * 300
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    picture = Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    picture.save(tmp_path / f"a.{suffix}")
    assert np.array_equal(read_panoptic_ids(tmp_path / f"a.{suffix}", HW), ids)


def test_a_panoptic_map_of_grey_is_refused_unless_it_is_black(tmp_path, numbers):
    Image.fromarray(numbers).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="a panoptic map is an RGB picture"):
        read_panoptic_ids(tmp_path / "a.png", HW)
    Image.fromarray(numbers * 0).save(tmp_path / "a.png")
    assert not read_panoptic_ids(tmp_path / "a.png", HW).any()


def test_16_bit_colours_keep_their_numbers(tmp_path, numbers):
    deep = np.repeat(numbers.astype(">u2")[:, :, None], 3, axis=2)
    (tmp_path / "a.png").write_bytes(png16(deep))
    assert np.array_equal(read_labels(tmp_path / "a.png"), numbers)


def png16(values):
    """Encode (H, W, 3) numbers of 16 bits as a PNG."""
    import zlib

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        checksum = zlib.crc32(name + data)
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)
    return content
