"""Every version answers through the one API: SEEM v0, the demo, X-Decoder, and the other backbones in small."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import seem
from seem import config
from seem.checkpoints.network import LoadedNetwork
from seem.model import Model
from seem.models.build import build
from seem.models.text.tokenizer import BytePairTokenizer
from seem.prompts import Box, Point, Text
from tiny import PIXELS, tiny_v1

PHOTO = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
DAVIT = config.DaViTConfig(dims=(8, 8, 16, 16), heads=(2, 2, 2, 2), depths=(1, 1, 1, 1))
SAM = config.SamViTConfig(
    dim=16, depth=2, heads=2, global_blocks=(1,), window=3, grid=8, dims=(8, 8, 16, 16)
)
SAM_IMAGE = config.ImageConfig(120, 128, divisor=128, largest=120)
DEFORMABLE = config.DeformableConfig(
    dim=16, mask_dim=16, encoder_layers=1, encoder_ffn=32, num_heads=2, num_norm_groups=4
)


def small(policy, **changes):
    v1 = tiny_v1()
    memory = 0 if policy == "xdecoder" else 4
    return replace(v1, decoder=replace(v1.decoder, policy=policy, num_memory=memory), **changes)


def model(configuration):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(configuration)
    return Model(
        LoadedNetwork("tiny", network, "0" * 64, BytePairTokenizer.nano),
        torch.device("cpu"),
        "float32",
    )


@pytest.fixture(scope="module", params=["seem-v0", "seem-v1", "seem-demo"])
def seem_photo(request):
    return model(small(request.param)).encode(PHOTO)


@pytest.fixture(scope="module")
def xdecoder():
    return model(small("xdecoder"))


@pytest.mark.parametrize(
    "prompts", [[Point(30, 20)], [Text("a cat")], [Point(30, 20), Text("a cat")]]
)
def test_every_seem_version_answers_clicks_phrases_and_both(seem_photo, prompts):
    result = seem_photo.segment(*prompts)
    assert result.masks.shape == (1, 40, 60)


def test_a_phrase_changes_the_answer_to_a_click(seem_photo):
    click, both = (
        seem_photo.segment(Point(30, 20)),
        seem_photo.segment(Point(30, 20), Text("a cat")),
    )
    assert not np.array_equal(click.logits, both.logits)


def test_several_objects_are_answered_as_one_by_one(seem_photo):
    asked = [[Point(30, 20)], [Box(5, 5, 9, 12)], [Text("a cat")]]
    together = seem_photo.segment_many(asked)
    for row, prompts in enumerate(asked):
        np.testing.assert_allclose(
            together.logits[row], seem_photo.segment(*prompts).logits[0], atol=1e-4
        )


def test_a_second_round_remembers(seem_photo):
    talk = seem_photo.session()
    first = talk.add(Point(30, 20))
    second = talk.add(Point(10, 10, positive=False))
    assert len(first) == len(second) == 1
    assert talk.undo() is first


def test_object_queries_of_the_demo_hear_prompts_and_those_of_others_do_not():
    assert seem_policy("seem-demo").visual.value == "object"
    assert seem_policy("seem-v0").visual.value == "visual"


def seem_policy(name):
    return build(small(name)).decoder.policy


def test_xdecoder_finds_regions_and_answers_phrases(xdecoder):
    photo = xdecoder.encode(PHOTO)
    assert photo.semantic(classes=["cat", "grass"]).masks.any(axis=0).all()
    assert len(photo.segment(Text("a cat"))) == 1


def test_xdecoder_takes_no_visual_prompts_and_says_so(xdecoder):
    with pytest.raises(ValueError, match="takes no visual prompts"):
        xdecoder.encode(PHOTO).segment(Point(3, 4))


def test_xdecoder_writes_a_caption_of_the_photo_or_of_a_region(xdecoder):
    photo = xdecoder.encode(PHOTO)
    whole = photo.caption()
    assert isinstance(whole, str)
    assert photo.caption() == whole
    assert isinstance(photo.caption(region=Box(5, 5, 30, 30)), str)


def test_xdecoder_looks_at_whole_photos_small():
    speaker = model(replace(small("xdecoder"), full_image_side=32))
    photo = speaker.encode(PHOTO)
    assert min(photo.at_full_image_size().batch.input_hw[0]) == 32 != min(photo.batch.input_hw[0])
    assert photo.at_full_image_size() is photo.at_full_image_size()
    there = speaker.encode(PHOTO, size=32)
    assert there.at_full_image_size() is there
    assert photo.caption(Box(5, 5, 30, 30)) == there.caption(Box(5, 5, 30, 30))
    assert photo.similarity(["a cat"]).tolist() == there.similarity(["a cat"]).tolist()
    sides = {card.name: card.config().full_image_side for card in seem.list_models()}
    assert {name for name, side in sides.items() if side == 224} == {
        name for name in sides if "xdecoder" in name
    }


def test_photos_are_ranked_by_a_phrase(xdecoder):
    photos = [xdecoder.encode(PHOTO), xdecoder.encode(255 - PHOTO)]
    ranking = xdecoder.retrieve(photos, "a cat")
    scores = [float(photo.similarity(["a cat"])[0]) for photo in photos]
    assert [ranked.score for ranked in ranking] == sorted(scores, reverse=True)
    assert all(scores[ranked.index] == ranked.score for ranked in ranking)
    assert photos[0].similarity(["a cat", "two dogs"]).shape == (2,)


@pytest.mark.parametrize(
    "ask", [lambda photo: photo.caption(), lambda photo: photo.similarity(["a cat"])]
)
def test_seem_models_have_no_caption_head_and_say_so(seem_photo, ask):
    with pytest.raises(ValueError, match=r"load (nano, or )?an X-Decoder"):
        ask(seem_photo)


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": config.FocalNetConfig(variant="plain", embed_dim=8, depths=(1, 1, 1, 1))},
        {"backbone": DAVIT},
        {"backbone": SAM, "pixel_decoder": DEFORMABLE, "image": SAM_IMAGE},
        {"pixel_decoder": PIXELS},
    ],
    ids=["focal-l", "davit", "sam-vit", "focal-t"],
)
def test_every_backbone_serves_the_same_decoder(changes):
    photo = model(small("seem-v1", **changes)).encode(PHOTO)
    assert photo.segment(Point(30, 20)).masks.shape == (1, 40, 60)
    assert len(photo.instances(threshold=0.0)) > 0


def test_a_sam_backbone_refuses_another_padded_size():
    network = build(small("seem-v1", backbone=SAM, pixel_decoder=DEFORMABLE))
    with pytest.raises(ValueError, match="padded to 128 x 128"):
        network.backbone(torch.zeros(1, 3, 64, 128))


@pytest.mark.parametrize("size", [32, 100, 120])
def test_a_sam_backbone_sees_any_size_up_to_its_table(size):
    sam = model(small("seem-v1", backbone=SAM, pixel_decoder=DEFORMABLE, image=SAM_IMAGE))
    photo = sam.encode(PHOTO, size=size)
    assert photo.batch.padded_hw == (128, 128)
    assert photo.segment(Point(30, 20)).masks.shape == (1, 40, 60)
    with pytest.raises(ValueError, match=r"size is 121; .* at most 120"):
        sam.encode(PHOTO, size=121)


def test_published_sam_models_take_their_own_working_size():
    for card in seem.list_models():
        image = card.config().image
        assert 32 <= image.short_side <= image.largest, card.name


def test_the_table_lists_every_published_model():
    names = [card.name for card in seem.list_models()]
    assert "xdecoder-focal-l-q101" in names
    assert len(names) == 16
