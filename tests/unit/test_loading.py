import inspect
import json
import struct
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import seem
from seem import loading, zoo
from seem.checkpoints.download import CLIP_VOCABULARY
from seem.checkpoints.mapping import to_official
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import sha256_of, write_tensors
from seem.errors import SeemError
from seem.models.text.tokenizer import BytePairTokenizer
from tiny import CONFIGS, picture, tiny_model, tiny_network


@pytest.fixture(autouse=True)
def tiny_zoo(monkeypatch):
    """Let the names stand for tiny networks."""
    for name, config in CONFIGS.items():
        monkeypatch.setitem(zoo.MODEL_CARDS, name, replace(zoo.MODEL_CARDS[name], config=config))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "mine.safetensors"
    write_tensors(path, tiny_network("nano").state_dict(), {MODEL_KEY: "nano"})
    return path


def refused(name_or_path, kind=SeemError, **options):
    with pytest.raises(kind) as caught:
        seem.load(name_or_path, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# --- By path ----------------------------------------------------------------------------------------------------------


def test_a_file_of_weights_answers_as_the_network_it_was_written_from(weights):
    click = seem.Point(4, 2)
    expected = tiny_model("nano").encode(picture(53, 37)).segment(click)
    for given in (weights, str(weights)):
        model = seem.load(given, device="cpu", precision="exact")
        assert (model.name, model.sha256) == ("nano", sha256_of(weights))
        result = model.encode(picture(53, 37)).segment(click)
        assert (result.logits == expected.logits).all()


def test_a_folder_with_weights_is_a_model(weights):
    weights.rename(weights.with_name("model.safetensors"))
    assert seem.load(weights.parent, "cpu").name == "nano"
    assert seem.load(str(weights.parent), "cpu").name == "nano"


def test_half_precision_weights_run_in_float32(tmp_path):
    half = {
        key: value.half() if value.is_floating_point() else value
        for key, value in tiny_network("nano").state_dict().items()
    }
    write_tensors(tmp_path / "half.safetensors", half, {MODEL_KEY: "nano"})
    model = seem.load(tmp_path / "half.safetensors", "cpu", "exact")
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}
    assert not model.network.training


def test_a_folder_without_weights_is_refused(tmp_path):
    assert f"{tmp_path} holds neither model.safetensors nor best.safetensors;" in refused(tmp_path)


@pytest.fixture
def tuned(weights):
    """Write weights with what fine-tuning adds; returns how."""

    def write(**metadata):
        write_tensors(weights, tiny_network("nano").state_dict(), {MODEL_KEY: "nano", **metadata})
        return seem.load(weights, "cpu", "exact")

    return write


def test_a_tuned_model_answers_with_its_own_classes_unless_it_is_asked_for_others(tuned):
    model = tuned(
        class_names='["brick", "wall"]', class_stuff='["wall"]', **{"even_presence": "0.3"}
    )
    own = seem.Vocabulary.of(["brick", "wall"], stuff=["wall"])
    assert model.classes == model.vocabulary() == own
    assert model.vocabulary(["dog"]) == seem.Vocabulary.of(["dog"])
    assert model.network.config.presence_midpoint == 0.3
    assert model.network.config.instance_threshold == loading.DEFAULT_REGION_THRESHOLD
    photo = model.encode(picture(53, 37))
    assert set(photo.semantic().labels) <= {"brick", "wall"}
    named = photo.panoptic(threshold=0.0)
    assert [category["name"] for category in named.categories] == ["unlabelled", "brick", "wall"]
    assert set(photo.segment(seem.Point(9, 9)).labels) <= {"brick", "wall"}
    other = photo.semantic(["dog", "cat"])
    assert set(other.labels) <= {"dog", "cat"}


def test_a_tuned_model_knows_from_when_on_to_keep_a_region(tuned):
    kept = tuned(class_names='["brick"]', region_threshold="0.23").network.config
    assert (kept.panoptic_threshold, kept.instance_threshold) == (0.23, 0.23)
    other = tuned(
        region_threshold="0.23"
    ).network.config  # of no classes: not a model that was fine-tuned
    assert (other.panoptic_threshold, other.instance_threshold) == (0.65, 0.65)


@pytest.mark.parametrize(
    ("told", "background"), [("true", True), ("false", False), ("what", False)]
)
def test_pixels_of_a_tuned_model_may_be_none_of_its_classes(tuned, told, background):
    assert (
        tuned(class_names='["brick"]', class_background=told).vocabulary().background is background
    )


def test_classes_of_a_tuned_model_exclude_each_other(tuned):
    photo = picture(53, 37)
    names = seem.Vocabulary.of(["dog", "puppy"])
    vectors = tuned().classifier(names)[:2]
    mine = tuned(class_names='["dog", "puppy"]')
    alone = tuned(class_names='["dog"]')
    both = mine.encode(photo).predictor.recognizer.presence(vectors)
    for row, one in enumerate(
        alone.encode(photo).predictor.recognizer.presence(vectors[:1]).tolist()
    ):
        assert both[row] < one  # the other class takes some of its places


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"class_names": "[]"},
        {"class_names": "no JSON"},
        {"class_names": '["dog", "dog"]'},
        {"class_names": "[1]"},
    ],
    ids=["nothing told", "none", "damaged", "twice the same", "no names"],
)
def test_a_model_whose_classes_are_not_told_takes_those_of_coco(tuned, metadata):
    model = tuned(**metadata, **{"even_presence": "0.3"})
    assert model.classes is None
    assert len(model.vocabulary()) == 133
    assert model.network.config.presence_midpoint == CONFIGS["nano"]().presence_midpoint


@pytest.mark.parametrize(
    ("made_by", "parts"),
    [
        ('{"sources": [{"spec": "a", "train": "train", "held": "val"}]}', [("a", "train", True)]),
        ('{"sources": [{"spec": "a", "train": "all", "held": null}]}', [("a", "all", False)]),
        ("{}", []),
        ("[]", []),
        ("no JSON", []),
        ('{"sources": [{}]}', []),
        ('{"sources": 3}', []),
    ],
)
def test_a_tuned_model_says_what_it_has_learnt_from(tuned, made_by, parts):
    assert [
        (each.spec, each.part, each.is_whole) for each in tuned(made_by=made_by).fine_tuned_on
    ] == parts


@pytest.mark.parametrize("even", ["", "much", "nan", "0", "1", "-1", "inf"])
def test_a_threshold_that_cannot_be_meant_is_the_usual_one(tuned, even):
    model = tuned(class_names='["brick"]', **{"even_presence": even})
    assert model.network.config.presence_midpoint == loading.DEFAULT_PRESENCE_MIDPOINT


@pytest.mark.parametrize("name", ["gone.safetensors", "gone.pt", "folder/gone.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    assert refused(tmp_path / name) == f"There is no file {tmp_path / name}; check the path."
    assert f"There is no file {name}" in refused(name)


@pytest.mark.parametrize("name", ["runs/mine/best", "/nowhere/weights", "./nano"])
def test_what_is_written_like_a_path_is_looked_for_as_a_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert refused(name) == f"There is no file {Path(name)}; check the path."


@pytest.mark.parametrize("given", [None, 3, b"nano"])
def test_what_is_neither_a_name_nor_a_path_is_refused(given):
    load = inspect.unwrap(seem.load)  # without the type checks of these tests
    with pytest.raises(
        ValueError, match="A model is loaded by its name or the path of a file, got"
    ):
        load(given)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("names", [to_official, dict], ids=["official", "ours"])
def test_a_pytorch_file_is_sent_to_convert(tmp_path, suffix, names):
    path = tmp_path / f"seem{suffix}"
    torch.save(names(tiny_network("seem-focal-t-v1").state_dict()), path)
    message = refused(path, ValueError)
    assert "convert it once with seem convert" in message
    assert f"seem{suffix} OUT.safetensors --model NAME, then load OUT.safetensors." in message


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "weights.onnx").write_bytes(b"onnx")
    for given in (tmp_path / "weights.onnx", str(tmp_path / "weights.onnx")):
        assert "Cannot tell what" in refused(given, ValueError)


def test_weights_that_do_not_say_what_they_are_are_sent_to_convert(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "plain.safetensors")
    message = refused(tmp_path / "plain.safetensors")
    assert (
        "does not say which model it is; if it is an official checkpoint, convert it first: seem convert"
        in message
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [("nanno", "did you mean 'nano'"), ("", "There is no model ''")],
)
def test_weights_of_a_model_that_is_not_here_are_refused(tmp_path, name, message):
    path = tmp_path / "other.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {MODEL_KEY: name})
    assert refused(path).startswith(f"{path} cannot be used: ")
    assert message in refused(path)


def test_weights_of_another_architecture_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    write_tensors(path, tiny_network("seem-focal-t-v1").state_dict(), {MODEL_KEY: "nano"})
    assert refused(path).startswith(f"{path} is no nano checkpoint: it misses backbone.")


def test_weights_of_another_size_are_refused(weights, monkeypatch):
    large = CONFIGS["nano"]()
    large = replace(large, decoder=replace(large.decoder, num_queries=13))
    monkeypatch.setitem(
        zoo.MODEL_CARDS, "nano", replace(zoo.MODEL_CARDS["nano"], config=lambda: large)
    )
    assert refused(weights).endswith(
        "is no nano checkpoint: it has misshapen decoder.query_features, decoder.query_positions."
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(weights, tmp_path, monkeypatch, value):
    tensors = dict(tiny_network("nano").state_dict())
    tensors["decoder.query_features"] = tensors["decoder.query_features"].clone().half()
    tensors["decoder.query_features"][3, 2] = value
    write_tensors(weights, tensors, {MODEL_KEY: "nano"})
    assert f"{weights} holds NaN or infinite values in decoder.query_features" in refused(weights)

    official = to_official(tiny_network("seem-focal-t-v1").state_dict())
    official["backbone.norm0.weight"] = official["backbone.norm0.weight"] * value
    torch.save(official, tmp_path / "seem_focalt_v1.pt")
    monkeypatch.setattr(loading, "fetch", lambda *files: tmp_path / "seem_focalt_v1.pt")
    assert "holds NaN or infinite values in backbone.norms.0.weight" in refused("seem-focal-t-v1")


def test_large_finite_weights_in_half_precision_are_loaded(weights):
    tensors = {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in tiny_network("nano").state_dict().items()
    }
    tensors["decoder.query_features"] = torch.full_like(tensors["decoder.query_features"], 60_000.0)
    write_tensors(weights, tensors, {MODEL_KEY: "nano"})
    assert seem.load(weights, "cpu").name == "nano"


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999])
def test_a_file_that_is_cut_short_is_refused(weights, kept):
    content = weights.read_bytes()
    weights.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    message = refused(weights)
    assert str(weights) in message
    assert "is empty (0 bytes)" in message or "it is cut short" in message


def test_a_header_that_lies_about_its_size_is_refused(tmp_path):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + json.dumps({}).encode())
    assert "is not a safetensors file, or it is cut short" in refused(path)


# --- By name ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nanno", "There is no model 'nanno'; did you mean 'nano'?"),
        ("seem-focal-t", "did you mean 'seem-focal-t-v1'?"),
        ("seem_focalt_v1", "did you mean 'seem-focal-t-v1'?"),
        ("resnet50", "There is no model 'resnet50'; the models are nano, seem-focal-t-v1, "),
        ("", "There is no model ''; the models are nano, seem-focal-t-v1, "),
        ("xdecoder_focalt", "did you mean 'xdecoder-focal-t'?"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name, message):
    assert message in refused(name, ValueError)


def test_a_folder_of_the_same_name_does_not_hide_a_model(tmp_path, monkeypatch):
    (tmp_path / "seem-focal-t-v1").mkdir()
    monkeypatch.chdir(tmp_path)

    def asked(file, *companions):
        raise SeemError(f"asked for {file.name}")

    monkeypatch.setattr(loading, "fetch", asked)
    assert "asked for" in refused("seem-focal-t-v1")
    assert "holds neither" in refused(Path("seem-focal-t-v1"))


def test_a_published_model_is_fetched_and_answers(tmp_path, monkeypatch):
    network, checkpoint = tiny_network("seem-focal-t-v1"), tmp_path / "seem_focalt_v1.pt"
    torch.save(
        to_official(network.state_dict()) | {"criterion.empty_weight": torch.ones(134)}, checkpoint
    )
    fetched = []

    def fetch(file, *companions):
        fetched.extend((file, *companions))
        return checkpoint

    monkeypatch.setattr(loading, "fetch", fetch)
    model = seem.load("seem-focal-t-v1", device="cpu", precision="exact")
    assert fetched == [zoo.MODEL_CARDS["seem-focal-t-v1"].file, CLIP_VOCABULARY]
    assert (model.name, model.sha256) == ("seem-focal-t-v1", sha256_of(checkpoint))
    click = seem.Point(4, 2)
    expected = tiny_model("seem-focal-t-v1").encode(picture(53, 37)).segment(click)
    assert (model.encode(picture(53, 37)).segment(click).logits == expected.logits).all()


def test_a_published_file_of_another_architecture_is_refused(tmp_path, monkeypatch):
    checkpoint = tmp_path / "seem_focalt_v1.pt"
    official = to_official(tiny_network("seem-focal-t-v1").state_dict())
    official.pop("backbone.norm0.weight")
    torch.save(official, checkpoint)
    monkeypatch.setattr(loading, "fetch", lambda *files: checkpoint)
    message = refused("seem-focal-t-v1")
    assert f"{checkpoint} is no seem-focal-t-v1 checkpoint" in message
    assert "1 missing: backbone.norm0.weight" in message


def test_a_model_that_was_never_released_says_so(monkeypatch):
    card = replace(zoo.MODEL_CARDS["seem-davit-d3-v1"], config=CONFIGS["seem-focal-t-v1"])
    monkeypatch.setitem(zoo.MODEL_CARDS, card.name, card)
    message = refused(card.name)
    assert (
        "The weights of seem-davit-d3-v1 were never released; load your own checkpoint by its path"
        in message
    )
    assert "--model seem-davit-d3-v1" in message


def test_the_vocabulary_is_clips_or_nanos(monkeypatch):
    asked = []
    monkeypatch.setattr(loading, "fetch", lambda file: asked.append(file) or Path("gone.txt.gz"))
    assert (
        loading.tokenizer_of(seem.config.nano())().num_tokens
        == BytePairTokenizer.nano().num_tokens
        == 4096
    )
    with pytest.raises(FileNotFoundError, match=r"CLIP's vocabulary is not at gone\.txt\.gz"):
        loading.tokenizer_of(seem.config.seem_focal_t_v1())()
    assert asked == [CLIP_VOCABULARY]


# --- Device and precision ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["tpu", "", "cpu:-1", "the gpu"])
def test_an_unknown_device_is_refused(weights, device):
    assert refused(weights, ValueError, device=device) == (
        f"There is no device {device!r}; use 'cpu', 'cuda', 'cuda:1', 'mps' or another of PyTorch's."
    )


@pytest.mark.parametrize("device", ["meta", "cuda:99", "vulkan"])
def test_a_device_that_is_not_here_is_refused(weights, device):
    message = refused(weights, ValueError, device=device)
    assert message.startswith(f"The device {device!r} cannot be used here (")
    assert message.endswith("); try 'cpu'.")


@pytest.mark.parametrize("device", [None, "cpu", torch.device("cpu")])
def test_a_device_may_be_left_out_or_named(weights, device):
    model = seem.load(weights, device)
    assert model.device == loading.usable_device(device)
    assert {p.device.type for p in model.network.parameters()} == {model.device.type}


@pytest.mark.parametrize(("measured", "named"), [("bfloat16", "bfloat16"), ("float32", "float32")])
def test_precision_is_measured_unless_it_must_be_exact(weights, monkeypatch, measured, named):
    monkeypatch.setattr(loading, "choose_precision", lambda network, device: measured)
    for precision, expected in (("auto", named), ("exact", "float32")):
        model = seem.load(weights, "cpu", precision)
        result = model.encode(picture(53, 37)).segment(seem.Point(4, 2), seem.Text("the red car"))
        assert result.to_coco()["seem"]["precision"] == expected
        assert result.masks.shape == (1, 37, 53)
        assert result.logits.dtype == np.float32


def test_an_unknown_precision_is_refused(weights):
    with pytest.raises(ValueError, match="precision is 'half'; use 'exact' or 'auto'"):
        inspect.unwrap(loading.load)(weights, "cpu", "half")


# --- What ships -------------------------------------------------------------------------------------------------------


def test_nano_ships_in_the_package(monkeypatch):
    monkeypatch.undo()
    embedded = files("seem") / "assets" / loading.EMBEDDED
    assert embedded.is_file(), "the package has no embedded weights"
    model = seem.load("nano", device="cpu", precision="exact")
    assert model.name == "nano"
    assert model.sha256 == sha256_of(Path(str(embedded)))
    assert Path(str(embedded)).stat().st_size <= 25e6
    assert sum(p.numel() for p in model.network.parameters()) <= 12e6
    photo = model.encode(picture(320, 240))
    assert photo.segment(seem.Point(160, 120)).masks.shape == (1, 240, 320)
    assert photo.panoptic().masks.shape[1:] == (240, 320)
