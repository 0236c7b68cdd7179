"""The phrase tower learns directions, and phrases that it learns them from."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from seem.errors import SeemError
from seem.models.text.encoder import TextEncoder
from seem.models.text.tokenizer import BytePairTokenizer
from seem.recipes.directions import Nouns
from seem.recipes.phrases import (
    Caption,
    PhraseMix,
    PhraseSampler,
    held_out,
    quality_directions,
)
from seem.recipes.tower import (
    TowerConfig,
    begin,
    by_length,
    deepen,
    direction_loss,
    encode_texts_of_tower,
    start_from_pieces,
    train_tower,
)
from tiny_words import NOUNS

DIM = 64
TOKENIZER = BytePairTokenizer.nano()
CONFIG = TowerConfig(
    vocabulary_size=4096,
    layers=1,
    width=DIM,
    ffn=128,
    dim=DIM,
    batch=24,
    names=4,
    learning_rate=2e-3,
)
BARE = PhraseMix(template=0.0, compound=0.0, caption=0.0, plural=0.0)


def draw(mix, count=200, **options):
    sampler = PhraseSampler(NOUNS, mix=mix, **options)
    rng = np.random.default_rng(0)
    return [sampler.draw(rng) for _ in range(count)]


def test_bare_words_have_their_own_directions():
    for text, vector in draw(BARE):
        assert torch.allclose(vector, NOUNS[text])


def test_common_words_come_more_often():
    texts = [text for text, _ in draw(BARE, 600)]
    assert texts.count("dog") > 3 * texts.count("rodent")
    assert texts.count("rodent") > texts.count("idea")


def test_words_kept_for_validation_are_never_drawn():
    kept = frozenset({"hound", "rodent"})
    texts = [text for text, _ in draw(PhraseMix(), 400, validation=kept)]
    assert not [text for text in texts if kept & set(text.split())]


@pytest.mark.parametrize(
    "mix", [PhraseMix(template=1.0, compound=0.0), PhraseMix(template=0.0, compound=1.0)]
)
def test_a_phrase_means_mostly_its_noun(mix):
    for text, vector in draw(mix):
        assert float(vector.norm()) == pytest.approx(1.0, abs=1e-5)
        assert float((NOUNS.vectors @ vector).max()) > 0.8, text


def test_a_quality_turns_a_direction_a_little():
    sampler = PhraseSampler(NOUNS)
    left = sampler.turned(NOUNS["dog"], ["the", "left", "dog"])
    assert 0.85 < float(left @ NOUNS["dog"]) < 0.99
    assert float(left @ quality_directions(DIM)["left"]) > 0.2
    assert torch.allclose(sampler.turned(NOUNS["dog"], ["a", "dog"]), NOUNS["dog"])


def test_words_for_one_quality_are_alike():
    table = quality_directions(DIM)
    assert torch.equal(table["left"], table["leftmost"])
    assert abs(float(table["left"] @ table["right"])) < 0.5


def test_captions_mean_the_first_noun_that_their_class_agrees_with():
    sampler = PhraseSampler(
        NOUNS, [Caption("the leftmost cat on a couch", "cat"), Caption("it is asleep", "dog")]
    )
    (_, cat), (_, dog) = sampler.captions
    assert float(cat @ NOUNS["cat"]) > 0.9
    assert torch.allclose(dog, NOUNS["dog"])


def test_words_held_out_are_visible_and_no_classes():
    words = (*(f"word{i}" for i in range(500)), "dog")
    nouns = Nouns(
        words, torch.ones(501, 4) / 2, np.array([1.0] * 400 + [0.1] * 100 + [12.0]), ("dog",), {}
    )
    kept = held_out(nouns)
    assert 5 < len(kept) < 40
    assert kept <= set(words[:400])


def test_phrases_of_one_length_are_tokenised_together():
    drawn = [
        (text, NOUNS["dog"]) for text in ("a dog", "dog", "the dog on the left of the couch", "cat")
    ]
    parts = by_length(drawn, TOKENIZER, size=2)
    assert [len(wanted) for _, wanted in parts] == [2, 2]
    assert parts[0][0].ids.shape[1] < parts[1][0].ids.shape[1]


def test_a_loss_is_zero_at_the_wanted_directions():
    wanted = NOUNS.vectors[:5]
    assert float(direction_loss(wanted, wanted, NOUNS.class_vectors, CONFIG)) == pytest.approx(
        0.0, abs=1e-5
    )
    assert float(direction_loss(-wanted, wanted, NOUNS.class_vectors, CONFIG)) > 2.0


def likeness(tower):
    return float(
        (encode_texts_of_tower(tower, TOKENIZER, NOUNS.classes) * NOUNS.class_vectors)
        .sum(dim=1)
        .mean()
    )


def test_a_tower_begins_with_the_sum_of_pieces():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shallow = TextEncoder(CONFIG.text_without_blocks(), DIM)
        tower = TextEncoder(CONFIG.text(), DIM)
    sampler = PhraseSampler(NOUNS)
    untaught = likeness(shallow)
    start_from_pieces(shallow, TOKENIZER, sampler, phrases=200)
    begun = likeness(shallow)
    assert begun > untaught + 0.4
    deepen(shallow, tower)
    assert torch.allclose(
        encode_texts_of_tower(tower, TOKENIZER, ["a cat"]),
        encode_texts_of_tower(shallow, TOKENIZER, ["a cat"]),
        atol=1e-5,
    )


def test_a_tower_learns_without_a_start():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = TextEncoder(CONFIG.text(), DIM)
    before = likeness(tower)
    scale = tower.logit_scale.clone()
    losses = []
    train_tower(
        tower, TOKENIZER, PhraseSampler(NOUNS), CONFIG, 60, lambda _, loss: losses.append(loss)
    )
    assert losses[-1] < losses[0]
    assert likeness(tower) > before + 0.2
    assert torch.equal(tower.logit_scale, scale)


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr("seem.recipes.tower.SAVE_EVERY", 2)
    config = replace(CONFIG, batch=6)
    sampler = PhraseSampler(NOUNS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = TextEncoder(config.text(), DIM)
    stopped, resumed = copy.deepcopy(whole), copy.deepcopy(whole)
    train_tower(whole, TOKENIZER, sampler, config, 4)
    state = tmp_path / "state.safetensors"

    def stop(step, _):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tower(stopped, TOKENIZER, sampler, config, 4, stop, state)
    train_tower(resumed, TOKENIZER, sampler, config, 4, None, state)
    assert all(torch.equal(t, resumed.state_dict()[name]) for name, t in whole.state_dict().items())


def test_a_folder_begun_with_other_settings_is_refused(tmp_path):
    begin(tmp_path / "run", CONFIG, False)
    begin(tmp_path / "run", CONFIG, False)
    with pytest.raises(SeemError, match="other settings"):
        begin(tmp_path / "run", replace(CONFIG, steps=7), False)
