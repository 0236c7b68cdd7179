"""`seem segment --tile`: photos of any size from the command line, GeoTIFF files among them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seem.cli.main import main
from tiny import picture


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Run `seem segment` in an empty folder with nano, whose weights are in the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEEM_DEBUG", raising=False)
    picture(300, 200).save("street.png")

    def run(*words):
        capfd.readouterr()
        code = main(["segment", *words, "--device", "cpu", "--precision", "exact"])
        return code, *capfd.readouterr()

    return run


def written(folder="seem-out"):
    return sorted(path.name for path in Path(folder).iterdir())


def test_everything_in_a_large_photo(run):
    code, out, err = run("street.png", "--tile", "128", "--threshold", "0.05")
    assert code == 0, err
    assert written() == ["street.json", "street.overlay.png", "street.segments.npy"]
    record = json.loads(Path("seem-out/street.json").read_text())
    ids = np.load("seem-out/street.segments.npy")
    assert ids.shape == (200, 300)
    present = {info["id"] for info in record["annotations"][0]["segments_info"]}
    assert present == set(np.unique(ids).tolist()) - {0}
    assert record["seem"]["options"] == ["--threshold 0.05", "--tile 128"]
    assert f"{len(present)} object" in out


def test_a_click_and_a_phrase_in_a_large_photo(run):
    code, out, err = run("street.png", "--tile", "128", "--point", "100,100", "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["annotations"][0]["segmentation"]["size"] == [200, 300]
    assert written() == ["street.json", "street.overlay.png"]
    code, out, err = run("street.png", "--tile", "128", "--find", "cat", "--out", "found")
    assert code == 0, err
    assert "street.png:" in out


def test_an_array_file_and_a_folder(run):
    np.save("scan.npy", np.asarray(picture(200, 150)))
    code, _, err = run("scan.npy", "street.png", "--tile", "128", "--task", "semantic", "--quiet")
    assert (code, err) == (0, "")
    assert "scan.segments.npy" in written()
    code, _, err = run("scan.npy", "street.png", "--tile", "128", "--task", "semantic", "--resume")
    assert "2 of 2 photos have results already" in err
    code, _, err = run("scan.npy", "street.png", "--tile", "256", "--task", "semantic", "--resume")
    assert code == 2
    assert "--tile 128, this call has --task semantic --tile 256" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tile", "128", "--everything"], "--everything is not there for photos in tiles; leave"),
        (["--tile", "128", "--format", "coco"], "--format coco is not there for photos in tiles"),
        (["--tile", "128", "--workers", "2"], "--workers 2 is not there for photos in tiles"),
        (["--tile", "128", "--embeddings"], "--embeddings is not there for photos in tiles"),
        (["--tile", "128", "--text", "cat"], "--find looks for phrases"),
        (["--tile", "128", "--point", "5,5", "--refine", "zoom"], "--refine zoom is not there"),
        (["--overlap", "20"], "--overlap 20 is for photos in tiles; add --tile 1024"),
        (["--bands", "1,2,3"], "--bands 1,2,3 is for photos in tiles"),
        (["--tile", "128", "--bands", "red"], "--bands 'red': write numbers of bands, such as 4,3,2"),
        (["--tile", "128", "--bands", "1,2"], "--bands '1,2': bands are 1,2; give three numbers"),
        (["--tile", "10"], "tile is 10; a tile has a side of 64 pixels or more"),
        (["--tile", "128", "--overlap", "100"], "overlap is 100; neighbouring tiles"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused_in_one_line(run, words, message):
    code, out, err = run("street.png", *words)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1, err
    assert message in err
    assert not Path("seem-out").exists()


def test_a_click_outside_a_photo_is_an_error_about_that_photo(run):
    code, _, err = run("street.png", "--tile", "128", "--point", "900,5")
    assert code == 2
    assert "street.png: Point(900, 5) lies outside the image of 300 x 200" in err
    assert not Path("seem-out").exists()


def test_a_file_that_is_not_there_is_named_before_the_model_loads(run):
    code, out, err = run("scan.tif", "--tile", "128")
    assert (code, out) == (1, "")
    assert "There is no photo at scan.tif" in err


# ------------------------------------------------------------------------------------------------ GeoTIFF

TRANSFORM = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_400_000.0)


@pytest.fixture
def scan(tmp_path):
    """Write a georeferenced file of four bands, the fourth near infrared but tagged as alpha."""
    rasterio = pytest.importorskip("rasterio", reason='pip install "seem[geo]"')
    from rasterio.enums import ColorInterp

    def write(name="scan.tif", crs="EPSG:32633"):
        coffee = Image.open(Path(__file__).parents[2] / "examples" / "photos" / "coffee.jpg")
        pixels = np.asarray(coffee.convert("RGB"))
        infrared = np.random.default_rng(0).integers(1, 255, (1, *pixels.shape[:2]), np.uint8)
        bands = np.concatenate([pixels.transpose(2, 0, 1), infrared]).astype(np.uint16) * 16
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", count=4, height=bands.shape[1], width=bands.shape[2],
            dtype="uint16", crs=crs, transform=rasterio.Affine(*TRANSFORM), tiled=True,
        ) as dataset:  # fmt: skip
            dataset.write(bands)
            dataset.colorinterp = [ColorInterp[each] for each in ("red", "green", "blue", "alpha")]
        return rasterio

    return write


def area_of(geometry):
    """Return the area of a polygon, its holes taken off, in the units of its coordinates."""
    parts = geometry["coordinates"]
    if geometry["type"] == "Polygon":
        parts = [parts]
    return sum(signed_area(ring) for part in parts for ring in part)


def signed_area(ring):
    x, y = (np.array(ring) - np.array(ring[0])).T
    return (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2


def check_georeferenced_files(rasterio, record):
    """Read the files of `scan` back, by rasterio and by GDAL's own rasterizer."""
    from rasterio.features import rasterize

    with rasterio.open("seem-out/scan.segments.tif") as dataset:
        assert dataset.crs.to_epsg() == 32633
        assert tuple(dataset.transform)[:6] == TRANSFORM
        assert (dataset.height, dataset.width) == (400, 600)
        ids = dataset.read(1)
        transform = dataset.transform
    collection = json.loads(Path("seem-out/scan.geojson").read_text())
    assert collection["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    shapes = []
    for feature in collection["features"]:
        geometry = feature["geometry"]
        assert area_of(geometry) == pytest.approx(100 * feature["properties"]["area_pixels"])
        outer = geometry["coordinates"][0]
        assert signed_area(outer if geometry["type"] == "Polygon" else outer[0]) > 0
        shapes.append((geometry, feature["id"]))
    drawn = rasterize(shapes, out_shape=ids.shape, transform=transform, dtype="int32")
    assert (drawn == ids).all()
    assert any("tagged as alpha, varies like a picture" in note for note in record["seem"]["notes"])
    assert any("read as 12 bits" in note for note in record["seem"]["notes"])


def test_a_map_keeps_its_place_on_the_earth(run, scan):
    rasterio = scan()
    code, _, err = run("scan.tif", "--tile", "256", "--threshold", "0.5")
    assert code == 0, err
    assert written() == ["scan.geojson", "scan.json", "scan.overlay.png", "scan.segments.tif"]
    record = json.loads(Path("seem-out/scan.json").read_text())
    assert record["annotations"][0]["file_name"] == "scan.segments.tif"
    assert record["annotations"][0]["segments_info"]
    check_georeferenced_files(rasterio, record)


def test_objects_keep_their_place_on_the_earth(run, scan):
    rasterio = scan()
    code, _, err = run("scan.tif", "--tile", "256", "--point", "300,200")
    assert code == 0, err
    record = json.loads(Path("seem-out/scan.json").read_text())
    check_georeferenced_files(rasterio, record)


def test_bands_are_chosen_on_the_command_line(run, scan):
    scan()
    code, _, err = run("scan.tif", "--tile", "256", "--bands", "4,2,1", "--point", "300,200")
    assert code == 0, err
    code, _, err = run("scan.tif", "--tile", "256", "--bands", "5,2,1", "--out", "other")
    assert code == 2
    assert "bands are 5,2,1, and scan.tif has 4; give numbers from 1 to 4" in err


def test_longitude_and_latitude_need_no_name(run, scan):
    scan(crs="EPSG:4326")
    code, _, err = run("scan.tif", "--tile", "256", "--point", "300,200")
    assert code == 0, err
    assert "crs" not in json.loads(Path("seem-out/scan.geojson").read_text())


def test_tiles_are_counted_where_all_are_asked(run):
    _, _, err = run("street.png", "--tile", "128")
    assert "6/6 [" in err
    _, _, err = run("street.png", "--tile", "128", "--point", "50,50", "--out", "click")
    assert "tile" not in err
