"""A photo that a model has looked at: kept in a file, read again, moved between devices."""

import inspect
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import seem
from seem.checkpoints.encoded_image import digest_of, from_named_tensors, to_named_tensors
from seem.checkpoints.safe import write_tensors
from seem.encoded_image import EncodedImage
from seem.inference.prompt_decoder import PromptDecoder
from seem.model import Model
from seem.models.segmenter import Segmenter
from tiny import picture, tiny_model, tiny_relative

CLICK, PHRASE = seem.Point(4, 2), seem.Text("a cat")


@pytest.fixture(scope="module", params=["nano", "seem-v1", "xdecoder"])
def model(request):
    return tiny_model("nano") if request.param == "nano" else tiny_relative(request.param)


def answers(photo):
    """Ask everything that every model answers."""
    results = [
        photo.panoptic(threshold=0.0),
        photo.semantic(["cat", "grass"]),
        photo.segment(PHRASE, text_threshold=0),
    ]
    return [(result.scores, result.embeddings, result.areas) for result in results]


def same(photo, other):
    """Compare answers as far as sums in another order (another layout in memory) let them differ."""
    for mine, theirs in zip(answers(photo), answers(other), strict=True):
        for one, two in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)


def test_a_photo_is_kept_with_all_that_was_seen(model, tmp_path, monkeypatch):
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(53, 37).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "street.png", exif=turned)
    photo = model.encode(tmp_path / "street.png", size=96)
    photo.save(tmp_path / "street.safetensors")
    (tmp_path / "street.png").unlink()
    monkeypatch.setattr(Segmenter, "encode_image", lambda *_: pytest.fail("it was looked at again"))
    again = model.load_encoded(str(tmp_path / "street.safetensors"))
    assert (again.name, again.hw, again.batch.input_hw) == (
        "street.png",
        (37, 53),
        photo.batch.input_hw,
    )
    assert np.array_equal(np.array(again.image), np.array(photo.image))
    assert again.encode_seconds == photo.encode_seconds
    same(photo, again)
    record = again.semantic(["cat"]).to_coco()
    assert record["seem"]["orientation"] == 6
    assert record["images"][0]["file_name"] == "street.png"


def test_a_file_of_before_the_convolution_was_left_out_is_read(tmp_path):
    model = tiny_relative("seem-v1")
    photo = model.encode(picture(53, 37))
    photo.save(tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert metadata["seem_photo"] == "2"
    with torch.no_grad():
        tensors["mask_features"] = model.network.mask_convolution(tensors.pop("mask_cells"))
    old = {**metadata, "seem_photo": "1", "tensors_sha256": digest_of(tensors)}
    write_tensors(tmp_path / "old.safetensors", tensors, old)
    again = model.load_encoded(tmp_path / "old.safetensors")
    assert again.encoding.pixels.mask_features.convolution is None
    same(photo, again)
    again.save(tmp_path / "again.safetensors")
    same(photo, model.load_encoded(tmp_path / "again.safetensors"))


def test_a_session_goes_on_with_a_photo_from_a_file(tmp_path):
    model = tiny_model("nano")
    photo = model.encode(picture(53, 37))
    photo.save(tmp_path / "a.safetensors")
    again = model.load_encoded(tmp_path / "a.safetensors")
    first = photo.segment(CLICK)
    refined = (p.segment(CLICK, seem.Mask(logits=first.logits)).logits for p in (photo, again))
    np.testing.assert_allclose(*refined, atol=1e-5)


def test_another_model_refuses_it_by_name_and_sha256(model, tmp_path):
    model.encode(picture(53, 37)).save(tmp_path / "a.safetensors")
    other = tiny_model("seem-focal-t-v1")
    with pytest.raises(
        seem.SeemError, match=r"was encoded by .*this model is seem-focal-t-v1"
    ) as caught:
        other.load_encoded(tmp_path / "a.safetensors")
    assert f"{model.name} (sha256 {model.sha256[:12]})" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_other_weights_of_the_same_name_refuse_it(tmp_path):
    model, retrained = tiny_model("nano"), tiny_model("nano")
    retrained.sha256 = "ef" * 32
    model.encode(picture(53, 37)).save(tmp_path / "a.safetensors")
    with pytest.raises(
        seem.SeemError, match=r"\(sha256 abababababab\), this model is nano \(efefefefefef\)"
    ):
        retrained.load_encoded(tmp_path / "a.safetensors")


def test_an_exact_model_reads_what_was_seen_in_bfloat16(tmp_path):
    model = tiny_model("nano")
    photo = model.encode(picture(53, 37))
    halves = {name: tensor.bfloat16() for name, tensor in to_named_tensors(photo.encoding).items()}
    decoder = PromptDecoder(model, photo.source, photo.batch, from_named_tensors(halves, None))
    EncodedImage(decoder).save(tmp_path / "a.safetensors")
    again = model.load_encoded(tmp_path / "a.safetensors")
    assert again.encoding.pixels.mask_features.cells.dtype == torch.float32
    assert len(again.segment(CLICK)) == 1


def test_a_file_is_not_overwritten_unasked(model, tmp_path):
    path = tmp_path / "a.safetensors"
    photo = model.encode(picture(53, 37))
    photo.save(path)
    with pytest.raises(
        FileExistsError, match=r"a\.safetensors exists already; pass overwrite=True"
    ):
        photo.save(path)
    photo.save(path, overwrite=True)


def test_a_file_of_another_kind_is_refused(model, tmp_path):
    photo = model.encode(picture(53, 37))
    with pytest.raises(ValueError, match=r"kept in a \.safetensors file, got .*a\.png; rename it"):
        photo.save(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def rewritten(change):
    """Return what changes the tensors of a file and leaves its metadata."""

    def spoil(path):
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        change(tensors)
        write_tensors(path, tensors, metadata)

    return spoil


without_a_level = rewritten(lambda tensors: tensors.pop("mask_features"))
with_nan = rewritten(lambda tensors: tensors["mask_features"].fill_(float("nan")))
with_fewer_rows = rewritten(
    lambda tensors: tensors.update(mask_features=tensors["mask_features"][:, :, 1:])
)
with_another_picture = rewritten(
    lambda tensors: tensors.update(picture=tensors["picture"][:, :, :2])
)


def without_facts(path):
    write_tensors(path, {"x": torch.zeros(1)}, {"seem_photo": "1", "facts": json.dumps({})})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "There is no file"),
        (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
        (lambda path: path.write_bytes(b"hello"), "is not a safetensors file, or it is cut short"),
        (cut, "cut short"),
        (
            without_a_level,
            r"is no whole encoded photo \(its values are not those that were written\); write it again",
        ),
        (with_nan, r"\(mask_features holds values that are not finite\)"),
        (with_fewer_rows, r"\(its values are not those that were written\)"),
        (with_another_picture, r"\(picture has shape \(37, 53, 2\), torch.uint8\)"),
        (without_facts, "is no whole encoded photo"),
        (lambda path: write_tensors(path, {"x": torch.zeros(1)}), "holds no encoded photo"),
    ],
    ids=[
        "missing",
        "empty",
        "nonsense",
        "cut",
        "a tensor less",
        "not finite",
        "fewer rows",
        "two channels",
        "no facts",
        "weights",
    ],
)
def test_a_bad_file_is_one_line(tmp_path, spoil, message):
    model = tiny_model("nano")
    path = tmp_path / "a.safetensors"
    model.encode(picture(53, 37)).save(path)
    spoil(path)
    with pytest.raises(seem.SeemError, match=message) as caught:
        model.load_encoded(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_picture_is_not_an_encoded_photo(tmp_path):
    picture(20, 20).save(tmp_path / "a.png")
    with pytest.raises(
        seem.SeemError, match=r"a\.png is no encoded photo.*encode the picture with model\.encode"
    ):
        tiny_model("nano").load_encoded(tmp_path / "a.png")


# --- Devices ----------------------------------------------------------------------------------------------------------


def test_a_photo_on_its_models_device_answers_as_before(model):
    photo = model.encode(picture(53, 37))
    same(photo, photo.to("cpu"))


def test_a_photo_elsewhere_says_where(model):
    away = model.encode(picture(53, 37)).to("meta")
    assert away.hw == (37, 53)
    for ask in (
        away.panoptic,
        away.semantic,
        lambda: away.segment(PHRASE),
        lambda: away.find("a cat"),
    ):
        with pytest.raises(
            ValueError, match=r"The image is on meta, its model on cpu; ask image\.to\('cpu'\)"
        ):
            ask()


@pytest.mark.parametrize("device", ["toaster", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    photo = tiny_model("nano").encode(picture(20, 20))
    with pytest.raises(
        ValueError, match=rf"The image cannot go to '{device}' \(.*\); try 'cpu'\."
    ) as caught:
        photo.to(device)
    assert len(str(caught.value).splitlines()) == 1


# --- What a model has not learned -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nano", "seem-focal-t-v1"])
def test_captions_are_refused_by_who_has_not_learned_them(name):
    photo = tiny_model(name).encode(picture(20, 20))
    with pytest.raises(ValueError, match=f"{name} writes no captions; load an X-Decoder"):
        photo.caption()
    assert "captioning" not in seem.zoo.find_model_card(name).tasks


def test_retrieval_is_refused_by_who_has_not_learned_it():
    name = "seem-focal-t-v1"
    model = tiny_model(name)
    photo = model.encode(picture(20, 20))
    for photos in ([photo], []):
        with pytest.raises(ValueError, match=f"{name} compares no full images; load nano, or an X"):
            model.retrieve(photos, "a cat")
    with pytest.raises(ValueError, match=f"{name} compares no full images"):
        photo.similarity(["a cat"])
    assert "retrieval" not in seem.zoo.find_model_card(name).tasks


def test_photos_are_encoded_before_they_are_ranked():
    model = tiny_relative("xdecoder")
    assert model.retrieve([], "a cat") == ()
    retrieve = inspect.unwrap(Model.retrieve)  # without the type checks of these tests
    with pytest.raises(
        ValueError, match=r"retrieve ranks encoded images, got 'a\.jpg'; call model\.encode on each"
    ):
        retrieve(model, ["a.jpg"], "a cat")


@pytest.mark.parametrize("phrases", [[], "a cat"])
def test_similarity_takes_a_list_of_phrases(phrases):
    photo = tiny_relative("xdecoder").encode(picture(20, 20))
    with pytest.raises(ValueError, match="similarity takes a list of phrases, at least one"):
        photo.similarity(phrases)
