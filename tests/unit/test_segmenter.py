"""The whole network, tiny: photo and phrases in, typed answers out."""

from concurrent.futures import ThreadPoolExecutor
from math import exp, log

import pytest
import torch

from seem import config
from seem.models.build import build
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import join_phrases, unit_vectors
from seem.models.structures import DecoderQuery, ImageBatch, TextFeatures, VisualPrompts
from tiny import CONFIGS, tiny_network

END = 4095  # of nano's vocabulary


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def network(request):
    return tiny_network(request.param).double().requires_grad_(False)


def photos(count=1, height=64, width=96, seed=0):
    pixels = torch.randn(
        count, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return ImageBatch(pixels, ((height, width),) * count)


def ids(*phrases, length=8):
    """Token ids, padded with the end token, and which of them count."""
    rows = [[END - 1, *phrase, END] for phrase in phrases]
    padded = torch.tensor([row + [END] * (length - len(row)) for row in rows])
    return padded, torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]


def clicked(x, y, height=64, width=96):
    masks = torch.zeros(1, 1, height, width, dtype=torch.bool)
    masks[0, 0, y, x] = True
    return VisualPrompts(masks, torch.zeros_like(masks))


def question(network, image, x=30, y=20):
    return DecoderQuery(visual=network.encode_prompts(clicked(x, y), image), num_objects=1)


def test_a_photo_becomes_a_pyramid(network):
    batch = photos(2)
    image = network.encode_image(batch)
    assert batch.padded_hw == (64, 96)
    assert image.pixels.mask_features.maps.shape == (2, 16, 16, 24)
    assert [tuple(level.shape[-2:]) for level in image.pixels.levels] == [(2, 3), (4, 6), (8, 12)]
    assert len(image.reads) == network.config.decoder.layers


def test_one_encoding_serves_every_question(network):
    image = network.encode_image(photos())
    asked = frozenset({RowKind.OBJECT, RowKind.VISUAL})
    first = network.decode(image, question(network, image), asked)
    network.decode(image, question(network, image, 70, 50), asked)  # leaves nothing behind
    fresh = network.encode_image(photos())
    again = network.decode(fresh, question(network, fresh), asked)
    assert torch.equal(first.object.class_vectors, again.object.class_vectors)
    assert torch.equal(first.visual.mask_embeddings, again.visual.mask_embeddings)


def test_encoding_and_decoding_change_no_weight(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    image = network.encode_image(photos())
    network.decode(image, question(network, image), frozenset({RowKind.VISUAL}))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_batch_is_its_photos(network):
    batch = photos(2)
    together = network.encode_image(batch).pixels.mask_features.maps
    for number in range(2):
        alone = network.encode_image(
            ImageBatch(batch.pixels[number : number + 1], batch.input_hw[:1])
        )
        assert torch.allclose(
            together[number], alone.pixels.mask_features.maps[0], rtol=0, atol=1e-9
        )


def test_threads_share_a_network(network):
    def answer(seed):
        image = network.encode_image(photos(seed=seed))
        text = network.encode_text(*ids([seed, 3], [7]))
        asked = DecoderQuery(question(network, image).visual, join_phrases(text), num_objects=1)
        return network.decode(
            image, asked, frozenset({RowKind.VISUAL, RowKind.OBJECT})
        ).visual.mask_embeddings

    alone = [answer(seed) for seed in range(6)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(answer, range(6)))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_unprompted_network_answers_without_chance(network):
    image = network.encode_image(photos())
    first = network.decode(image, DecoderQuery()).object
    torch.manual_seed(77)
    assert torch.equal(
        first.class_vectors, network.decode(image, DecoderQuery()).object.class_vectors
    )


# ------------------------------------------------------------------------------------------------ text


def test_padding_of_text_changes_nothing(network):
    short, long = (network.encode_text(*ids([5, 6, 7], [9], length=length)) for length in (5, 12))
    assert torch.allclose(short.phrases, long.phrases, rtol=0, atol=1e-9)
    assert torch.allclose(short.tokens, long.tokens[:, :5], rtol=0, atol=1e-9)


def test_a_phrase_is_read_up_to_its_first_end(network):
    plain = network.encode_text(*ids([5, 6]))
    typed = network.encode_text(*ids([5, 6, END, 8]))
    assert torch.allclose(plain.phrases, typed.phrases, rtol=0, atol=1e-9)


def test_words_do_not_see_what_follows(network):
    first, second = (network.encode_text(*ids(phrase)).tokens for phrase in ([5, 6, 7], [5, 6, 8]))
    assert torch.allclose(first[:, :3], second[:, :3], rtol=0, atol=1e-9)
    assert not torch.allclose(first[:, 3], second[:, 3], rtol=0, atol=1e-3)


def test_joined_phrases_stand_one_after_the_other_without_padding():
    tokens = torch.arange(8.0).reshape(2, 4, 1)
    valid = torch.tensor([[True, True, True, False], [True, True, False, False]])
    joined = join_phrases(TextFeatures(tokens, valid, torch.zeros(2, 1)))
    assert joined.tokens.flatten().tolist() == [0, 1, 2, 4, 5]
    assert joined.owner.tolist() == [[0] * 5]


@pytest.mark.parametrize(("vector", "length"), [([3.0, 4.0], 1.0), ([0.0, 0.0], 0.0)])
def test_unit_vectors_have_length_one_and_nothing_stays_nothing(vector, length):
    assert unit_vectors(torch.tensor([vector])).norm().item() == pytest.approx(length, abs=1e-6)


@pytest.mark.parametrize(
    ("temperature", "of_classes", "of_phrases"), [(log(14), 14, 14), (log(1000), 1000, 100)]
)
def test_similarity_is_cosine_times_temperature(temperature, of_classes, of_phrases):
    network = tiny_network("seem-focal-t-v1")
    with torch.no_grad():
        network.text.logit_scale.fill_(temperature)
        vectors = torch.tensor([[[3.0, 0.0], [1.0, 1.0], [0.0, -2.0]]])
        axis = torch.tensor([[1.0, 0.0]])
        cosines = torch.tensor([1.0, 0.5**0.5, 0.0])
        assert torch.allclose(
            network.class_logits(vectors, axis)[0, :, 0], of_classes * cosines, rtol=1e-4
        )
        assert torch.allclose(
            network.phrase_logits(vectors, 5 * axis)[0, :, 0], of_phrases * cosines, rtol=1e-4
        )
    assert network.text.logit_scale.exp().item() == pytest.approx(exp(temperature))


# ------------------------------------------------------------------------------------------------ configurations


@pytest.mark.parametrize(
    ("described", "least", "most"),
    [(config.nano, 6e6, 12e6), (config.seem_focal_t_v1, 164.6e6, 164.7e6)],
    ids=["nano", "focal-t"],
)
def test_models_have_the_size_they_should(described, least, most):
    with torch.device("meta"):
        network = build(described())
    assert least < sum(parameter.numel() for parameter in network.parameters()) < most
    assert not network.training
