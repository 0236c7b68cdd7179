import io
import re
import struct
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from seem.errors import SeemError, UnusableFileError
from seem.images import MAX_PIXELS, image_from_array, read_image, to_eight_bits

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
CORNERS = np.array(
    [[RED, GREEN, WHITE], [BLUE, BLACK, BLACK]], dtype=np.uint8
)  # no two rotations of it are equal


def seen(photo):
    return np.asarray(photo.rgb)


def saved(folder, image, name, **options):
    image.save(folder / name, **options)
    return folder / name


def png(width, height, depth, colour, rows, *, more=b""):
    """Write a PNG by hand: what Pillow cannot write, or should not believe."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + more
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def refused(image, kind=ValueError, **options):
    with pytest.raises(kind) as caught:
        read_image(image, **options)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.endswith(".")
    return message


def unusable(image, **options):
    """Refuse a file or an image for what it holds."""
    return refused(image, UnusableFileError, **options)


# --- Every way to hand a photo in -------------------------------------------------------------------------------------


def test_path_text_pil_array_and_tensor_are_one_photo(tmp_path):
    path = saved(tmp_path, Image.fromarray(CORNERS), "corners.png")
    with Image.open(path) as opened:
        photos = [
            read_image(given)
            for given in (path, str(path), opened, CORNERS, Image.fromarray(CORNERS))
        ]
    photos.append(read_image(torch.from_numpy(CORNERS).permute(2, 0, 1)))
    assert all((seen(photo) == CORNERS).all() for photo in photos)
    assert [photo.name for photo in photos] == ["corners.png"] * 3 + [None] * 3
    assert {(photo.hw, photo.orientation, photo.notes) for photo in photos} == {((2, 3), 1, ())}


def test_a_picture_in_memory_is_read_without_a_name(tmp_path):
    data = saved(tmp_path, Image.fromarray(CORNERS), "corners.png").read_bytes()
    photo = read_image(Image.open(io.BytesIO(data)))
    assert (seen(photo) == CORNERS).all()
    assert photo.name is None


@pytest.mark.parametrize(
    "view",
    [np.asfortranarray, lambda a: a[::-1, ::-1], lambda a: np.repeat(a, 2, axis=1)[:, ::2]],
    ids=["columns first", "backwards", "every second"],
)
def test_arrays_need_not_be_contiguous(view):
    given = view(CORNERS)
    assert (seen(read_image(given)) == given).all()
    assert (
        seen(read_image(torch.from_numpy(given.copy()).permute(2, 0, 1)[:, ::2])) == given[::2]
    ).all()


@pytest.mark.parametrize(
    "given", [CORNERS.copy(), Image.fromarray(CORNERS)], ids=["array", "picture"]
)
def test_a_photo_stays_what_it_was_when_the_original_changes(given):
    photo = read_image(given)
    given.fill(7) if isinstance(given, np.ndarray) else given.paste((7, 7, 7), (0, 0, 3, 2))
    assert (seen(photo) == CORNERS).all()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 5000), (5000, 3)])
def test_the_smallest_and_the_longest_photos_are_read(tmp_path, width, height):
    photo = read_image(saved(tmp_path, Image.new("RGB", (width, height), RED), "photo.png"))
    assert photo.hw == (height, width)
    assert (seen(photo) == RED).all()


# --- Upright ----------------------------------------------------------------------------------------------------------

AS_STORED = {  # how a camera that was held in each way stores the upright picture abc / def
    1: ["abc", "def"],
    2: ["cba", "fed"],
    3: ["fed", "cba"],
    4: ["def", "abc"],
    5: ["ad", "be", "cf"],
    6: ["cf", "be", "ad"],
    7: ["fc", "eb", "da"],
    8: ["da", "eb", "fc"],
}
COLOURS = {
    letter: tuple(colour) for letter, colour in zip("abcdef", CORNERS.reshape(-1, 3), strict=True)
}


@pytest.mark.parametrize("orientation", AS_STORED)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_exif_rotation_is_undone_and_recorded(tmp_path, orientation, suffix):
    stored = np.array(
        [[COLOURS[letter] for letter in row] for row in AS_STORED[orientation]], dtype=np.uint8
    )
    blocks = Image.fromarray(
        np.kron(stored, np.ones((16, 16, 1), dtype=np.uint8))
    )  # which JPEG keeps apart
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(
        suffix, {}
    )
    photo = read_image(saved(tmp_path, blocks, f"photo.{suffix}", exif=exif, **options))
    assert (photo.hw, photo.orientation) == ((32, 48), orientation)
    assert np.abs(seen(photo)[8::16, 8::16].astype(int) - CORNERS).max() <= (
        8 if suffix == "jpg" else 0
    )
    assert photo.rgb.getexif().get(0x0112, 1) == 1  # so that nobody turns it again


@pytest.mark.parametrize("value", [0, 9, 6.5, "6"])
def test_an_orientation_that_does_not_exist_counts_as_upright(value):
    picture = Image.fromarray(CORNERS)
    picture.getexif()[0x0112] = value
    photo = read_image(picture)
    assert (photo.orientation, photo.hw) == (1, (2, 3))


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"x"]
)
def test_damaged_exif_is_no_reason_to_refuse_a_photo(tmp_path, exif):
    photo = read_image(saved(tmp_path, Image.fromarray(CORNERS), "photo.jpg", exif=exif))
    assert (photo.orientation, photo.hw) == (1, (2, 3))


# --- Colours ----------------------------------------------------------------------------------------------------------


def test_grey_and_black_and_white_become_rgb(tmp_path):
    grey = read_image(saved(tmp_path, Image.new("L", (2, 2), 77), "grey.jpg", quality=100))
    assert (seen(grey) == 77).all()
    assert (seen(read_image(saved(tmp_path, Image.new("1", (2, 2), 1), "bits.png"))) == WHITE).all()


def test_cmyk_photos_keep_their_colours(tmp_path):
    inks = Image.fromarray(np.kron(CORNERS, np.ones((16, 16, 1), dtype=np.uint8))).convert("CMYK")
    photo = read_image(saved(tmp_path, inks, "print.jpg", quality=100, subsampling=0))
    assert np.abs(seen(photo)[8::16, 8::16].astype(int) - CORNERS).max() <= 8


def palette():
    picture = Image.new("P", (3, 1))
    picture.putpalette([*RED, *BLACK, *BLACK])
    for x in range(3):
        picture.putpixel((x, 0), x)
    return picture


LAYERED = np.array(
    [[(*RED, 255), (*BLACK, 128), (*BLACK, 0)]], dtype=np.uint8
)  # opaque, half there, invisible


@pytest.mark.parametrize(
    ("picture", "options", "shown"),
    [
        (Image.fromarray(LAYERED), {}, [RED, (127, 127, 127), WHITE]),
        (Image.fromarray(LAYERED).convert("LA"), {}, [(76, 76, 76), (127, 127, 127), WHITE]),
        (palette(), {"transparency": bytes([255, 128, 0])}, [RED, (127, 127, 127), WHITE]),
        (palette(), {"transparency": 1}, [RED, WHITE, BLACK]),
        (palette(), {}, [RED, BLACK, BLACK]),
        (Image.fromarray(LAYERED[..., :3]), {"transparency": RED}, [WHITE, BLACK, BLACK]),
        (Image.fromarray(LAYERED[..., 3]), {"transparency": 128}, [WHITE, WHITE, BLACK]),
    ],
    ids=[
        "RGBA",
        "LA",
        "palette of layers",
        "palette with a hole",
        "palette",
        "RGB with a hole",
        "grey with a hole",
    ],
)
def test_what_is_transparent_shows_white(tmp_path, picture, options, shown):
    photo = read_image(saved(tmp_path, picture, "photo.png", **options))
    assert [tuple(pixel) for pixel in seen(photo)[0].tolist()] == shown


def test_premultiplied_grey_shows_white():
    given = Image.fromarray(LAYERED).convert("LA")
    assert (seen(read_image(given.convert("La"))) == seen(read_image(given))).all()


def test_a_gif_with_a_hole_shows_white(tmp_path):
    photo = read_image(saved(tmp_path, palette(), "photo.gif", transparency=1))
    assert [tuple(pixel) for pixel in seen(photo)[0].tolist()] == [RED, WHITE, BLACK]


def test_a_colour_mode_that_pillow_cannot_convert_is_refused(monkeypatch):
    def cannot(*arguments):
        raise ValueError("conversion from HSV to RGB not supported")

    monkeypatch.setattr(Image.Image, "convert", cannot)
    assert (
        unusable(Image.new("HSV", (2, 2)))
        == "A picture of colour mode HSV cannot be read; convert it to RGB first."
    )


# --- More than 8 bits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_16_bit_grey_photo_keeps_its_exposure(tmp_path, suffix):
    values = np.array([[0, 257, 25_700, 32_896, 65_535]], dtype=np.uint16)
    photo = read_image(saved(tmp_path, Image.fromarray(values), f"photo.{suffix}"))
    assert seen(photo)[0].tolist() == [[level] * 3 for level in (0, 1, 100, 128, 255)]
    assert photo.notes == ("more than 8 bits of grey: read as 16 bits",)
    dim = read_image(saved(tmp_path, Image.fromarray(values[:, :4]), f"dim.{suffix}"))
    assert (
        seen(dim) == seen(photo)[:, :4]
    ).all()  # the brightest pixel of a photo is not made white


@pytest.mark.parametrize(
    ("values", "levels", "rule"),
    [
        (np.array([0, 100, 255], np.uint16), [0, 100, 255], "read as 8 bits"),
        (np.array([0, 512, 1023], np.uint16), [0, 128, 255], "read as 10 bits"),
        (np.array([0, 2048, 4095], np.uint16), [0, 128, 255], "read as 12 bits"),
        (np.array([40_000, 40_000], np.uint16), [156, 156], "read as 16 bits"),
        (np.array([0, 65_535], np.int32), [0, 255], "read as 16 bits"),
        (np.array([0, 0], np.uint16), [0, 0], "read as 8 bits"),
        (np.array([-100, 0, 100], np.int32), [0, 128, 255], "-100 to 100 stretched"),
        (np.array([0, 100_000], np.int32), [0, 255], "0 to 100000 stretched"),
        (np.array([0, 0.5, 0.75], np.float32), [0, 128, 191], "1.0 is white"),
        (np.array([0, 255], np.float32), [0, 255], "0 to 255 stretched"),
        (np.array([7.5, 7.5], np.float32), [0, 0], "7.5 to 7.5 stretched"),
        (np.array([np.nan, 0.5, np.inf], np.float32), [0, 128, 255], "1.0 is white"),
        (np.array([np.nan, np.nan], np.float32), [0, 0], "1.0 is white"),
    ],
    ids=str,
)
def test_deep_grey_becomes_eight_bits(values, levels, rule):
    grey, named = to_eight_bits(values)
    assert (grey.tolist(), named) == (levels, rule)


def test_deep_pictures_from_memory_are_read():
    photo = read_image(Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32)))
    assert seen(photo)[0, :, 0].tolist() == [0, 128, 255]
    assert photo.notes == ("more than 8 bits of grey: 1.0 is white",)


def test_16_bit_colour_is_read(tmp_path):
    (tmp_path / "deep.png").write_bytes(
        png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0, 32_896, 65_535, 257, 25_700, 0))
    )
    assert (
        np.abs(
            seen(read_image(tmp_path / "deep.png"))[0].astype(int) - [[0, 128, 255], [1, 100, 0]]
        ).max()
        <= 1
    )


@pytest.mark.parametrize(("bits", "peak"), [(10, 1023), (12, 4095), (16, 65_535)])
def test_deep_colour_is_brought_to_8_bits_by_what_it_holds(tmp_path, bits, peak):
    values = (0, peak // 2, peak, peak, 0, 0)
    (tmp_path / "deep.png").write_bytes(png(2, 1, 16, 2, b"\0" + struct.pack(">6H", *values)))
    (tmp_path / "deep.tif").write_bytes(tiff(1, 2, [16] * 3, struct.pack("<6H", *values)))
    for name in ("deep.png", "deep.tif"):
        photo = read_image(tmp_path / name)
        assert np.abs(seen(photo)[0].astype(int) - [[0, 127, 255], [255, 0, 0]]).max() <= 1
        assert photo.notes == (f"more than 8 bits of colour: read as {bits} bits",)


def test_deep_colour_keeps_its_alpha(tmp_path):
    values = (4095, 0, 0, 65_535, 0, 0, 4095, 0)
    (tmp_path / "deep.png").write_bytes(png(2, 1, 16, 6, b"\0" + struct.pack(">8H", *values)))
    assert seen(read_image(tmp_path / "deep.png"))[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def test_deep_colour_that_is_cut_short_is_refused(tmp_path):
    noise = np.random.default_rng(0).bytes(2 * 3 * 40)
    content = png(40, 40, 16, 2, (b"\0" + noise) * 40)
    (tmp_path / "deep.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(SeemError, match="may be cut short"):
        read_image(tmp_path / "deep.png")


def tiff(height, width, bits, content, **tags):
    """Encode an uncompressed RGB TIFF; `tags` are further numbers of one value each."""
    count = len(bits)
    data_end = 8 + len(content)
    rows = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, count, data_end), (259, 3, 1, 1)]
    rows += [(262, 3, 1, tags.get("photometric", 2)), (273, 4, 1, 8), (277, 3, 1, count)]
    rows += [(278, 4, 1, height), (279, 4, 1, len(content))]
    if "extra" in tags:
        rows.append((338, 3, 1, tags["extra"]))
    table = b"".join(struct.pack("<HHII", *row) for row in rows)
    depths = struct.pack(f"<{count}H", *bits)
    head = b"II*\0" + struct.pack("<I", data_end + len(depths))
    return head + content + depths + struct.pack("<H", len(rows)) + table + bytes(4)


def test_a_damaged_tiff_is_described_without_warnings(tmp_path):
    """Its only entry has more text than the file has bytes; warnings are errors here."""
    entry = struct.pack("<HHHII", 1, 52568, 2, 10**6, 4)
    (tmp_path / "bad.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + entry + bytes(4))
    with pytest.raises(SeemError, match="is a TIFF of 1 band of 1-bit integers"):
        read_image(tmp_path / "bad.tif")


@pytest.mark.parametrize("extra", [0, 2])
def test_a_fourth_band_that_is_no_alpha_neither_bleaches_nor_blackens(tmp_path, extra):
    bands = np.zeros((20, 30, 4), np.uint8)
    bands[:] = 200, 30, 30, 40
    bands[:, 15:, 3] = 220  # near infrared
    (tmp_path / "nir.tif").write_bytes(tiff(20, 30, [8] * 4, bands.tobytes(), extra=extra))
    photo = read_image(tmp_path / "nir.tif")
    assert (seen(photo) == (200, 30, 30)).all()
    assert photo.notes == (() if extra == 0 else (FOURTH_BAND,))


FOURTH_BAND = "its fourth band, tagged as alpha, varies like a picture: it is left out"


def test_true_alpha_of_a_tiff_shows_white(tmp_path):
    bands = np.full((20, 30, 4), (200, 30, 30, 255), np.uint8)
    bands[:, 15:, 3], bands[:, 14, 3] = 0, 128
    (tmp_path / "cut.tif").write_bytes(tiff(20, 30, [8] * 4, bands.tobytes(), extra=2))
    shown = seen(read_image(tmp_path / "cut.tif"))
    assert (shown[:, :14] == (200, 30, 30)).all()
    assert (shown[:, 15:] == 255).all()


def test_an_image_that_is_transparent_everywhere_shows_its_colours(tmp_path):
    clear = Image.new("RGBA", (3, 2), (*RED, 0))
    photo = read_image(saved(tmp_path, clear, "clear.png"))
    assert (seen(photo) == RED).all()
    assert photo.notes == ("transparent everywhere: its colours are read as if they were opaque",)


def test_a_tiff_of_bands_that_are_no_picture_says_what_to_save(tmp_path):
    content = tiff(2, 2, [8] * 4, bytes(16), photometric=1)
    (tmp_path / "bands.tif").write_bytes(content)
    message = refused(tmp_path / "bands.tif", SeemError)
    assert (
        "bands.tif is a TIFF of 4 bands of 8-bit integers, which is no picture; save red,"
        in message
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"\0\0\0\x1cftypheic\0\0\0\0mif1heic",
            "is a HEIC photo, as iPhones store them; export it",
        ),
        (tiff(2, 2, [32] * 3, bytes(48)), "is a TIFF of 3 bands of 32-bit integers, which is no"),
        (b"II*\0\xff\xff", "is a TIFF of bands that cannot be read, which is no picture"),
    ],
)
def test_a_file_that_is_no_picture_is_called_what_it_is(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    assert reason in refused(tmp_path / "a.jpg", SeemError)


def test_lab_colours_are_converted(tmp_path):
    lab = Image.merge("LAB", [Image.new("L", (2, 2), level) for level in (137, 208, 195)])
    photo = read_image(saved(tmp_path, lab, "lab.tif"))
    assert np.abs(seen(photo)[0, 0].astype(int) - (255, 0, 0)).max() < 30


# --- Several frames ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_frame_of_an_animation_is_read(tmp_path, suffix):
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(
        tmp_path, frames[0], f"film.{suffix}", save_all=True, append_images=frames[1:], **options
    )
    photo = read_image(path)
    assert (seen(photo) == RED).all()
    assert photo.notes == ("several frames: only the first is read",)
    with Image.open(path) as film:
        film.seek(1)
        second = read_image(film)
    assert (seen(second) == GREEN).all()
    assert second.notes == ("several frames: only number 2 is read",)


def test_a_single_frame_is_no_animation(tmp_path):
    for suffix in ("gif", "webp", "png", "tif"):
        assert read_image(saved(tmp_path, Image.new("RGB", (4, 4)), f"still.{suffix}")).notes == ()


# --- What is no photo -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def noise():
    return Image.effect_noise((64, 64), 90).convert("RGB")


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "bmp"])
def test_a_file_that_is_cut_short_is_refused(tmp_path, noise, suffix, kept):
    whole = saved(tmp_path, noise, f"whole.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: int(len(whole) * kept)])
    message = refused(path, SeemError)
    assert f"cut.{suffix}" in message
    assert "picture" in message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "is empty (0 bytes); use JPEG, PNG, WebP, TIFF, GIF or BMP."),
        ("notes.txt", b"not a picture\n" * 40, "is not a picture that can be read; use JPEG"),
        (
            "page.jpg",
            b"<html><body>404 Not Found</body></html>",
            "is a web page, not the photo itself; download that.",
        ),
        ("model.png", b"\0" * 1000, "is not a picture that can be read; use JPEG"),
    ],
)
def test_a_file_that_is_no_picture_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name, SeemError).startswith(f"{tmp_path / name} {message}")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "gif"])
def test_damaged_bytes_are_read_or_refused_in_one_line(tmp_path, noise, suffix, seed):
    content = bytearray(saved(tmp_path, noise, f"whole.{suffix}").read_bytes())
    chance = np.random.default_rng(seed)
    for place in chance.integers(0, min(len(content), 400 * (1 + seed % 3)), 8):
        content[place] = chance.integers(256)
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(content)
    try:
        photo = read_image(path)
    except (SeemError, ValueError) as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  (either outcome is right)
        assert str(path) in str(error) or path.name in str(error)  # noqa: PT017
    else:
        assert photo.rgb.mode == "RGB"


def test_a_missing_file_is_named(tmp_path):
    assert (
        refused(tmp_path / "gone.jpg", SeemError)
        == f"There is no photo at {tmp_path / 'gone.jpg'}; check the path."
    )
    (tmp_path / "file").write_text("")
    assert "There is no photo at" in refused(tmp_path / "file" / "photo.jpg", SeemError)


def test_a_folder_is_refused(tmp_path):
    assert (
        refused(tmp_path)
        == f"{tmp_path} is a folder; pass one photo (the command line takes folders)."
    )


@pytest.mark.parametrize(
    "address", ["https://example.org/cat.jpg", "http://x/y.png", "s3://photos/cat.jpg"]
)
def test_a_web_address_is_refused(address):
    assert (
        refused(address)
        == f"{address} is a web address; download the photo first and pass its file."
    )


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(CORNERS), "secret.png")

    def forbidden(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", forbidden)  # root may read everything
    assert (
        refused(path, SeemError) == f"{path} may not be read by this user; change its permissions."
    )


@pytest.mark.parametrize("path", ["a\0b.jpg", "x" * 5000 + ".jpg"], ids=["nul", "long"])
def test_an_impossible_path_is_refused(path):
    assert "cannot be read" in refused(path, SeemError)


# --- Too large --------------------------------------------------------------------------------------------------------


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(50_000, 50_000, 8, 2, b"\0" * 1000))
    started = time.perf_counter()
    message = unusable(tmp_path / "bomb.png")
    assert time.perf_counter() - started < 1
    assert (
        "bomb.png claims 2,500,000,000 pixels, more than the limit of 100,000,000; pass a smaller photo"
        in message
    )


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (100_000_001, 1)])
def test_just_above_the_limit_is_refused_by_size(tmp_path, width, height):
    (tmp_path / "large.png").write_bytes(png(width, height, 8, 2, b""))
    message = unusable(tmp_path / "large.png")
    assert (
        f"large.png has {width} x {height} pixels, more than the limit of 100,000,000; pass a smaller"
        in message
    )


def test_the_limit_is_an_argument(tmp_path):
    path = saved(tmp_path, Image.fromarray(CORNERS), "photo.png")
    for given in (
        path,
        CORNERS,
        Image.fromarray(CORNERS),
        torch.from_numpy(CORNERS).permute(2, 0, 1),
    ):
        assert read_image(given, max_pixels=6).hw == (2, 3)
        assert (
            "3 x 2 pixels, more than the limit of 5; pass a smaller photo, or in Python encode("
            in unusable(given, max_pixels=5)
        )


def test_where_pillow_has_the_last_word_it_is_named(tmp_path):
    (tmp_path / "large.png").write_bytes(png(20_000, 10_000, 8, 2, b""))
    message = unusable(tmp_path / "large.png", max_pixels=10**9)
    assert message.endswith(
        "claims 200,000,000 pixels, more than Pillow opens; raise PIL.Image.MAX_IMAGE_PIXELS if you trust it."
    )


def test_a_large_photo_gives_no_warning_of_pillows(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)  # warns from 6 on, refuses from 11 on
    assert read_image(saved(tmp_path, Image.fromarray(CORNERS), "photo.png")).hw == (2, 3)


def test_reading_in_threads_leaves_the_warning_filters_alone(tmp_path):
    path = saved(tmp_path, Image.fromarray(CORNERS), "photo.png")
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [read_image(path) for _ in range(20)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


# --- What is no picture at all ----------------------------------------------------------------------------------------

ZEROS = np.zeros((4, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (
            ZEROS[..., 0],
            r"got uint8 of shape \(4, 5\): a grey one becomes a photo with PIL.Image.fromarray",
        ),
        (ZEROS[0, 0], "a grey one becomes a photo"),
        (ZEROS[None], "one photo at a time"),
        (np.zeros((4, 5, 4), np.uint8), "keep red, green and blue alone"),
        (ZEROS[..., :1], "keep red, green and blue alone"),
        (ZEROS.transpose(2, 0, 1), r"move its colours with .transpose\(1, 2, 0\)"),
        (ZEROS[:0], "this one is empty"),
        (ZEROS[:, :0], "this one is empty"),
        (ZEROS.astype(np.float32), "scale its values to 0-255 and convert them to uint8"),
        (ZEROS.astype(np.int64), "convert them to uint8"),
        (ZEROS.astype(np.bool_), "convert them to uint8"),
    ],
)
def test_an_array_of_another_kind_is_refused_with_the_way_out(array, hint):
    with pytest.raises(ValueError, match=hint) as caught:
        image_from_array(array, MAX_PIXELS)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("tensor", "hint"),
    [
        (torch.zeros(3, 4, 5), "got float32 of shape .*convert them to uint8"),
        (
            torch.zeros(4, 5, 3, dtype=torch.uint8),
            r"A photo tensor is 3 x H x W, .*\.permute\(2, 0, 1\)",
        ),
        (torch.zeros(1, 3, 4, 5, dtype=torch.uint8), "one photo at a time"),
        (torch.zeros(4, 5, dtype=torch.uint8), "a grey one"),
        (torch.zeros(3, 0, 5, dtype=torch.uint8), "this one is empty"),
    ],
)
def test_a_tensor_of_another_kind_is_refused_with_the_way_out(tensor, hint):
    with pytest.raises(ValueError, match=hint):
        image_from_array(tensor, MAX_PIXELS)


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (None, "got NoneType"),
        (7, "got int"),
        ([[[0, 0, 0]]], "got list"),
        (b"\xff\xd8\xff", "got bytes; open it first: PIL.Image.open"),
        (io.BytesIO(b""), "got BytesIO; open it first"),
    ],
)
def test_something_else_is_refused_with_the_way_out(thing, message):
    with pytest.raises(ValueError, match=message):
        image_from_array(thing, MAX_PIXELS)


def test_a_picture_without_pixels_is_refused():
    assert (
        unusable(Image.new("RGB", (0, 5))) == "The photo has 0 x 5 pixels, there is nothing to see."
    )


def test_a_picture_object_whose_file_is_cut_short_is_refused(tmp_path, noise):
    content = saved(tmp_path, noise, "whole.jpg").read_bytes()
    assert "The photo cannot be read as a picture" in refused(
        Image.open(io.BytesIO(content[:2000])), SeemError
    )


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photo_that_was_cut_short_and_closed_again_says_so(tmp_path, orientation):
    noise = np.random.default_rng(0).integers(0, 255, (96, 64, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise).save(tmp_path / "whole.jpg", quality=90, exif=exif)
    data = (tmp_path / "whole.jpg").read_bytes()
    end_marker = b"\xff\xd9"
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2] + end_marker)
    assert not any("cut short" in note for note in read_image(tmp_path / "whole.jpg").notes)
    (note,) = (note for note in read_image(tmp_path / "cut.jpg").notes if "cut short" in note)
    missing = int(re.search(r"the last (\d+) of 96 rows", note)[1])
    assert 32 <= missing <= 56


def test_a_grey_photo_of_another_format_is_not_called_cut(tmp_path):
    Image.new("RGB", (64, 64), (128, 128, 128)).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").notes == ()
