"""Class embeddings are computed once: batches of the text encoder, files beside weights, the cache on disk."""

import json
import os
import stat
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import seem
from seem import zoo
from seem.checkpoints import class_embeddings
from seem.checkpoints.class_embeddings import path_beside, read_class_embeddings
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import write_tensors
from seem.cli.class_embeddings import write_built_in_classes
from seem.inference.runtime import BACKGROUND, Runtime
from seem.models.segmenter import unit_vectors
from seem.models.text.batches import (
    batches_by_length,
    encode_class_phrases,
    encode_tokens,
    num_shared_tokens,
)
from seem.models.text.encoder import TextEncoder
from seem.models.text.templates import TEMPLATES, class_phrases
from seem.models.text.tokenizer import BytePairTokenizer, Tokens
from tiny import CONFIGS, TEXT, tiny_model, tiny_network

NAMES = ("cat", "dining table", "a very long name of a class", "sky", "traffic light")
PHRASES = ("a cat", "the man in a red coat on the left of the door", "dog", "two dogs", "")


@pytest.fixture
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TextEncoder(replace(TEXT, word_shortcut=False, layers=3), 16).eval()


@pytest.fixture
def tokenizer():
    return BytePairTokenizer.nano()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the cache, switched on."""
    folder = tmp_path / "cache" / "classes"
    monkeypatch.setenv("SEEM_CLASS_CACHE", str(folder))
    return folder


@pytest.fixture
def computed(monkeypatch):
    """The lists of names that were computed."""
    calls, embed = [], Runtime.embed_class_names

    def counted(runtime, names, templates=None):
        calls.append(tuple(names))
        return embed(runtime, names, templates)

    monkeypatch.setattr(Runtime, "embed_class_names", counted)
    return calls


# --- Batches ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("cost", [0, 5, 1000])
@pytest.mark.parametrize("word_shortcut", [False, True])
def test_phrases_in_batches_are_those_of_one_padded_batch(
    encoder, tokenizer, monkeypatch, cost, word_shortcut
):
    monkeypatch.setattr("seem.models.text.batches.PASS_COST", cost)
    encoder.word_shortcut = word_shortcut
    tokens = tokenizer(PHRASES)
    found, expected = encode_tokens(encoder, tokens), encoder(tokens.ids, tokens.valid)
    torch.testing.assert_close(found.phrases, expected.phrases)
    torch.testing.assert_close(found.tokens[tokens.valid], expected.tokens[tokens.valid])
    assert torch.equal(found.valid, tokens.valid)


@torch.no_grad()
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:2], NAMES])
@pytest.mark.parametrize(
    "templates",
    [TEMPLATES, ("{}",), ("{} and more", "a {}."), ("some<|endoftext|> {}.", "a {}.")],
    ids=["all", "bare", "first", "with an end"],
)
@pytest.mark.parametrize("word_shortcut", [False, True])
def test_class_phrases_that_begin_alike_are_those_encoded_alone(
    encoder, tokenizer, names, templates, word_shortcut
):
    encoder.word_shortcut = word_shortcut
    tokens = tokenizer(class_phrases(names, templates))
    found = encode_class_phrases(encoder, tokens, len(templates))
    torch.testing.assert_close(found, encoder(tokens.ids, tokens.valid).phrases)


def test_what_phrases_of_a_template_share_ends_before_the_name(tokenizer):
    templates = ("a photo of a {}.", "{}", "{} and more")
    tokens = tokenizer(class_phrases(NAMES, templates))
    words = len(tokenizer.encode("a photo of a"))
    assert num_shared_tokens(tokens, 3).tolist() == [1 + words, 1, 1]
    assert num_shared_tokens(Tokens(tokens.ids[:3], tokens.valid[:3]), 3).tolist() == [0, 0, 0]


def test_batches_pad_little_and_hold_every_row_once():
    lengths = torch.tensor([9, 3, 3, 30, 4, 9, 3])
    batches = [rows.tolist() for rows in batches_by_length(lengths)]
    assert batches == [[1, 2, 6, 4, 0, 5], [3]]
    many = [rows.tolist() for rows in batches_by_length(torch.tensor([3, 4] * 100))]
    assert [sorted(rows) for rows in many] == [list(range(0, 200, 2)), list(range(1, 200, 2))]
    large = list(batches_by_length(torch.full((1000,), 30)))
    assert sum(map(len, large)) == 1000
    assert max(map(len, large)) * 30 <= 8192


def test_embeddings_follow_the_published_rule():
    model = tiny_model("seem-focal-t-v1")
    names = [*NAMES, BACKGROUND]
    expected = []
    for name in names:
        tokens = model.tokenizer(class_phrases([name], TEMPLATES))
        with torch.no_grad():
            vectors = model.network.encode_text(tokens.ids, tokens.valid).phrases
        mean = unit_vectors(vectors).mean(dim=0)
        expected.append(mean / mean.norm())
    torch.testing.assert_close(
        model.classifier(seem.Vocabulary.of(NAMES, templates=TEMPLATES)),
        torch.stack(expected),
        atol=1e-6,
        rtol=1e-5,
    )


# --- Beside weights ---------------------------------------------------------------------------------------------------


def test_the_embedded_model_brings_the_names_of_coco_and_ade20k(computed):
    """If this fails after new weights: python -m seem.cli.class_embeddings src/seem/assets/nano.safetensors."""
    model = seem.load("nano", "cpu", "exact")
    coco = seem.Vocabulary.coco_panoptic()
    for vocabulary in (coco, coco.things, seem.Vocabulary.ade20k()):
        stored = model.classifier(vocabulary)
        assert not computed, vocabulary.names[:3]
        names = [*vocabulary.phrases, BACKGROUND]
        torch.testing.assert_close(stored, model.embed_class_names(names), atol=1e-5, rtol=0)
        computed.clear()


def test_only_names_that_are_stored_nowhere_are_computed(computed):
    model = seem.load("nano", "cpu", "exact")
    mixed = model.classifier(seem.Vocabulary.of(["dog", "axolotl", "cat"]))
    assert computed == [("axolotl",)]
    alone = model.embed_class_names(["dog", "axolotl", "cat", BACKGROUND])
    torch.testing.assert_close(mixed, alone, atol=1e-5, rtol=0)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file of weights of a small model, with the embeddings of names beside it."""
    name = "seem-focal-t-v1"
    card = replace(zoo.MODEL_CARDS[name], config=CONFIGS[name])
    monkeypatch.setitem(zoo.MODEL_CARDS, name, card)
    path = tmp_path / "small.safetensors"
    write_tensors(path, tiny_network(name).state_dict(), {MODEL_KEY: name})
    assert (
        write_built_in_classes(path) == path_beside(path) == tmp_path / "small.classes.safetensors"
    )
    return path


def test_embeddings_beside_weights_are_used(weights, computed):
    seem.load(weights, "cpu", "exact").classifier(seem.Vocabulary.coco_panoptic())
    assert not computed


def test_embeddings_of_other_weights_or_templates_are_not_used(weights, computed):
    model = seem.load(weights, "cpu", "exact")
    model.classifier(seem.Vocabulary.of(["dog", "cat"], templates=["my {}."]))
    assert computed == [("dog", "cat", BACKGROUND)]
    computed.clear()
    with torch.no_grad():
        model.network.text.positions[0, 0] += 1
    coco = seem.Vocabulary.coco_panoptic()
    model.classifier(coco)
    assert computed == [(*coco.phrases, BACKGROUND)]


# --- The cache on disk ------------------------------------------------------------------------------------------------

COCO = seem.Vocabulary.coco_panoptic()


def cached_file(cache) -> Path:
    (file,) = cache.iterdir()
    return file


def test_own_lists_are_computed_once_on_a_machine(cache, computed):
    first = tiny_model("nano").classifier(COCO)
    assert len(computed) == 1
    assert torch.equal(tiny_model("nano").classifier(COCO), first)
    assert len(computed) == 1
    changed = tiny_model("nano")
    with torch.no_grad():
        changed.network.text.positions[1] += 1
    other = changed.classifier(COCO)
    assert len(computed) == 2
    assert not torch.equal(other, first)


def test_short_lists_do_not_fill_the_cache(cache):
    tiny_model("nano").classifier(seem.Vocabulary.of(["cat", "dog"]))
    assert not cache.exists()


def test_the_cache_is_in_the_cache_folder_and_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("SEEM_CACHE", str(tmp_path))
    tiny_model("nano").classifier(COCO)
    assert not list(tmp_path.iterdir())  # switched off by the setting of all tests
    monkeypatch.delenv("SEEM_CLASS_CACHE")
    tiny_model("nano").classifier(COCO)
    assert [path.suffix for path in (tmp_path / "classes").iterdir()] == [".safetensors"]


def damaged(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def emptied(file):
    file.write_bytes(b"")


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def of_another_list(file):
    read = read_class_embeddings(file)
    class_embeddings.write_class_embeddings(file, replace(read, key="0" * 64))


def without_names(file):
    save_file({"embeddings": torch.zeros(134, 16)}, file, {"names": json.dumps([1, 2])})


def a_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [damaged, emptied, cut, of_another_list, without_names, a_folder])
def test_a_spoilt_entry_is_computed_anew(cache, computed, spoil):
    first = tiny_model("nano").classifier(COCO)
    spoil(cached_file(cache))
    assert torch.equal(tiny_model("nano").classifier(COCO), first)
    assert len(computed) == 2
    if spoil is not a_folder:
        tiny_model("nano").classifier(COCO)
        assert len(computed) == 2  # it was mended


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "classes"):
        monkeypatch.setenv("SEEM_CLASS_CACHE", str(folder))
        assert tiny_model("nano").classifier(COCO).shape == (134, 16)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_may_only_be_read_is_no_error(cache, computed):
    tiny_model("nano").classifier(COCO)
    cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    tiny_model("nano").classifier(COCO)
    assert len(computed) == 1


def test_what_was_used_longest_ago_makes_room(cache, computed, monkeypatch):
    monkeypatch.setattr(class_embeddings, "MAX_CACHED_LISTS", 2)
    lists = [seem.Vocabulary.of([f"{word} {i}" for i in range(70)]) for word in ("a", "b", "c")]
    for age, vocabulary in zip((300, 200), lists, strict=False):
        before = set(cache.iterdir()) if cache.exists() else set()
        tiny_model("nano").classifier(vocabulary)
        (new,) = set(cache.iterdir()) - before
        os.utime(new, (new.stat().st_mtime - age, new.stat().st_mtime - age))
    tiny_model("nano").classifier(lists[0])  # used again
    tiny_model("nano").classifier(lists[2])
    assert len(list(cache.iterdir())) == 2
    computed.clear()
    tiny_model("nano").classifier(lists[0])
    assert not computed
    tiny_model("nano").classifier(lists[1])
    assert len(computed) == 1


def test_a_large_cache_makes_room_by_bytes(cache, monkeypatch):
    monkeypatch.setattr(class_embeddings, "MAX_CACHED_BYTES", 1)
    for word in ("a", "b"):
        tiny_model("nano").classifier(seem.Vocabulary.of([f"{word} {i}" for i in range(70)]))
    assert len(list(cache.iterdir())) == 1


def test_the_package_holds_the_embeddings():
    assert read_class_embeddings(Path(str(files("seem") / "assets" / "nano.classes.safetensors")))
