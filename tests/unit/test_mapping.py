"""Official key names and ours, on a network of a few small tensors."""

import pytest
import torch

from seem.checkpoints.mapping import KNOWN_EXTRAS, from_official, key_mappings, to_official

PREDICTOR = "sem_seg_head.predictor."
ATTENTION = f"{PREDICTOR}transformer_cross_attention_layers.7.multihead_attn"

OURS = {
    "text.projection": torch.empty(3, 2),
    "pixel_decoder.outputs.0.conv.weight": torch.empty(2, 2, 3, 3),
    "decoder.layers.7.image_attention.query.weight": torch.empty(2, 2),
    "decoder.layers.7.image_attention.query.bias": torch.empty(2),
    "decoder.layers.7.image_attention.key.weight": torch.empty(2, 2),
    "decoder.layers.7.image_attention.key.bias": torch.empty(2),
    "decoder.layers.7.image_attention.value.weight": torch.empty(2, 2),
    "decoder.layers.7.image_attention.value.bias": torch.empty(2),
}


def official():
    """The same tensors as the authors' file holds them, every number different."""
    shapes = {
        f"{PREDICTOR}lang_encoder.lang_proj": (3, 2),
        "sem_seg_head.pixel_decoder.layer_1.weight": (2, 2, 3, 3),
        f"{ATTENTION}.in_proj_weight": (6, 2),
        f"{ATTENTION}.in_proj_bias": (6,),
    }
    return {
        key: torch.arange(torch.Size(shape).numel()).float().reshape(shape)
        for key, shape in shapes.items()
    }


def test_packed_attention_is_taken_apart_in_order():
    tensors = from_official(official(), OURS).tensors
    assert set(tensors) == set(OURS)
    rows = {
        name: tensors[f"decoder.layers.7.image_attention.{name}.weight"].tolist()
        for name in ("query", "value")
    }
    assert rows == {"query": [[0, 1], [2, 3]], "value": [[8, 9], [10, 11]]}
    assert tensors["decoder.layers.7.image_attention.key.bias"].tolist() == [2, 3]


def test_there_and_back_is_exact():
    back = to_official(from_official(official(), OURS).tensors)
    assert set(back) == set(official())
    assert all(torch.equal(tensor, official()[key]) for key, tensor in back.items())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            "backbone.stages.2.5.modulation.contexts.1.weight",
            "layers.2.blocks.5.modulation.focal_layers.1.0.weight",
        ),
        ("backbone.norms.3.bias", "backbone.norm3.bias"),
        ("pixel_decoder.outputs.3.norm.weight", "layer_4.norm.weight"),
        ("pixel_decoder.laterals.0.conv.weight", "adapter_1.weight"),
        ("text.blocks.11.fc2.bias", "resblocks.11.mlp.c_proj.bias"),
        ("decoder.heads.mask_layers.2.weight", "mask_embed.layers.2.weight"),
        ("prompt_encoder.level_projections.1", "mask_sptial_embed.1"),
    ],
)
def test_numbers_stay_with_their_layer(ours, theirs):
    (row,) = key_mappings([ours])
    assert row.ours == (ours,)
    assert row.official.endswith(theirs)


@pytest.mark.parametrize("extra", KNOWN_EXTRAS)
def test_known_extras_are_left_out_and_listed(extra):
    converted = from_official({**official(), extra: torch.ones(1)}, OURS)
    assert converted.extras == (extra,)
    assert set(converted.tensors) == set(OURS)


def without(key):
    return {name: tensor for name, tensor in official().items() if name != key}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (without(f"{ATTENTION}.in_proj_bias"), [f"1 missing: {ATTENTION}.in_proj_bias"]),
        ({**official(), "backbone.fc.weight": torch.ones(2)}, ["1 unknown: backbone.fc.weight"]),
        (
            {**official(), f"{PREDICTOR}lang_encoder.lang_proj": torch.ones(2, 3)},
            [f"1 of another shape: {PREDICTOR}lang_encoder.lang_proj is [2, 3], expected [3, 2]"],
        ),
        (
            {**official(), f"{ATTENTION}.in_proj_weight": torch.ones(9, 2)},
            [f"{ATTENTION}.in_proj_weight is [9, 2], expected [6, 2]"],
        ),
        (
            {**without(f"{ATTENTION}.in_proj_bias"), "head": torch.ones(2)},
            [f"1 missing: {ATTENTION}.in_proj_bias", "1 unknown: head"],
        ),
    ],
    ids=["missing", "unknown", "misshapen", "misshapen-packed", "several"],
)
def test_what_does_not_fit_is_named(changed, said):
    with pytest.raises(ValueError, match="another architecture") as caught:
        from_official(changed, OURS)
    assert all(words in str(caught.value) for words in said)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 7, 8])
def test_a_packed_attention_of_any_wrong_length_is_refused(rows):
    with pytest.raises(ValueError, match=r"in_proj_bias is \[\d\], expected \[6\]"):
        from_official({**official(), f"{ATTENTION}.in_proj_bias": torch.ones(rows)}, OURS)


def test_long_lists_are_cut():
    strangers = {f"stranger.{number:02}": torch.ones(1) for number in range(20)}
    with pytest.raises(ValueError, match=r"20 unknown: stranger\.00, .*stranger\.07 and 12 more"):
        from_official({**official(), **strangers}, OURS)


def test_a_tensor_of_ours_without_an_official_name_is_our_mistake():
    with pytest.raises(KeyError, match=r"mask_refiner\.fine"):
        key_mappings([*OURS, "mask_refiner.fine.weight"])
