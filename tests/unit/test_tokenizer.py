import json
import pickle
import random
import subprocess
import sys
import time
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import ftfy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seem.models.text.templates import TEMPLATES, class_phrases
from seem.models.text.tokenizer import (
    BYTE_CHARACTERS,
    BYTE_ORDER,
    NANO_MERGES_FILE,
    BytePairTokenizer,
    Tokens,
    find_words,
    read_merges,
    repair,
)
from seem.training.vocabulary import SHIPPABLE_SETS, load_texts, train_bpe, write_merges

SHARED = Path(__file__).resolve().parents[3] / "shared"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared beside this checkout")

# Ids: 256 characters, 256 ends of words, then these.
MERGES = ["l o", "lo w</w>", "e r</w>", "lo w", "low er</w>", "a a"]
LO, LOW_END, ER_END, LOW, LOWER_END, AA = range(512, 518)
BEGIN, END = 518, 519


def byte(character: str, *, last: bool = False) -> int:
    return ord(character) - ord("!") + 256 * last


@pytest.fixture
def tiny() -> BytePairTokenizer:
    return BytePairTokenizer(MERGES, context=8)


@cache
def nano() -> BytePairTokenizer:
    return BytePairTokenizer.nano()


@cache
def clip() -> BytePairTokenizer:
    return BytePairTokenizer.clip(SHARED / "parity" / "text" / "bpe_simple_vocab_16e6.txt.gz")


@cache
def nano_lines() -> tuple[str, ...]:
    packed = (files("seem") / "assets" / NANO_MERGES_FILE).read_bytes()
    return tuple(read_merges(packed, source=NANO_MERGES_FILE))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("   \t\n", []),
        ("low", [LOW_END]),
        ("lower", [LOWER_END]),
        ("LoW", [LOW_END]),
        ("lo", [byte("l"), byte("o", last=True)]),
        ("low low", [LOW_END, LOW_END]),
        ("lowlow", [LOW, LOW_END]),
        ("aaaa", [AA, byte("a"), byte("a", last=True)]),
        ("aaaaa", [AA, AA, byte("a", last=True)]),
        ("a1.", [byte("a", last=True), byte("1", last=True), byte(".", last=True)]),
        ("low<|endoftext|>low", [LOW_END, END, LOW_END]),
        ("<|STARTOFTEXT|>", [BEGIN]),
        ("&lt;", [byte("<", last=True)]),
    ],
)
def test_words_become_the_merges_of_a_hand_written_table(
    tiny: BytePairTokenizer, text: str, ids: list[int]
) -> None:
    assert tiny.encode(text) == ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 3.14%!", ["it", "'s", "3", ".", "1", "4", "%!"]),
        ("don't", ["don", "'t"]),
        ("naïve—façade", ["naïve", "—", "façade"]),
        ("ﬁsh &amp; chips", ["fish", "&", "chips"]),
        ("<b> &amp; </b>", ["<", "b", ">", "&", "amp", ";", "</", "b", ">"]),
        ("<|startoftext|> &amp; cats", ["<|startoftext|>", "&", "cats"]),
        ("a\u00a0b\u3000c\x00d", ["a", "b", "cd"]),
        ("ΟΔΟΣ", ["οδος"]),
    ],
)
def test_words_are_repaired_lower_cased_and_split(text: str, words: list[str]) -> None:
    assert list(find_words(text)) == words


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_plain_text_needs_no_repair(text: str) -> None:
    assert repair(text) == ftfy.fix_text(text)


def merge_the_best_pair_everywhere(word: str) -> list[int]:
    """Merge as the definition says, slowly: join every occurrence of the best pair, and look again."""
    ranks = {tuple(line.split()): rank for rank, line in enumerate(nano_lines())}
    pieces = [BYTE_CHARACTERS[BYTE_ORDER.index(byte)] for byte in word.encode()]
    pieces[-1] += "</w>"
    while (
        best := min(pairwise(pieces), key=lambda pair: ranks.get(pair, 10**9), default=None)
    ) in ranks:
        joined: list[str] = []
        while pieces:
            size = 2 if tuple(pieces[:2]) == best else 1
            joined.append("".join(pieces[:size]))
            pieces = pieces[size:]
        pieces = joined
    results = ["".join(line.split()) for line in nano_lines()]
    tokens = [*BYTE_CHARACTERS, *(character + "</w>" for character in BYTE_CHARACTERS), *results]
    return [tokens.index(piece) for piece in pieces]


@settings(deadline=None)
@given(
    st.text(st.sampled_from("adeghinorst"), min_size=1, max_size=30)
    | st.text("\u00e9\u65e5", min_size=1, max_size=9)
)
def test_merging_on_a_heap_equals_merging_the_best_pair_everywhere(word: str) -> None:
    assert nano().encode(word) == merge_the_best_pair_everywhere(word)[:30]


def test_batch_is_padded_to_its_longest_phrase(tiny: BytePairTokenizer) -> None:
    tokens = tiny(["low", "low lower low", ""])
    assert tokens.ids.tolist() == [
        [BEGIN, LOW_END, END, END, END],
        [BEGIN, LOW_END, LOWER_END, LOW_END, END],
        [BEGIN, END, END, END, END],
    ]
    assert tokens.valid.long().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]


def test_padding_to_the_context_adds_only_end_tokens(tiny: BytePairTokenizer) -> None:
    short, full = tiny(["low lower"]), tiny(["low lower"], pad_to_context=True)
    assert full.ids.shape == full.valid.shape == (1, 8)
    assert torch.equal(full.ids[:, :4], short.ids)
    assert full.ids[0, 4:].tolist() == [END] * 4
    assert full.valid.sum() == short.valid.sum() == 4


def test_typed_end_tokens_stay_valid(tiny: BytePairTokenizer) -> None:
    tokens = tiny(["<|endoftext|> low", "low low low"])
    assert tokens.ids[0].tolist() == [BEGIN, END, LOW_END, END, END]
    assert tokens.valid[0].tolist() == [True, True, True, True, False]


def test_long_phrase_keeps_its_head_and_an_end(tiny: BytePairTokenizer) -> None:
    assert tiny(["low " * 20]).ids.tolist() == [[BEGIN, *[LOW_END] * 6, END]]
    assert len(tiny.encode("lxxxxxxxxxxxx")) == 6


def test_no_phrases_give_an_empty_batch(tiny: BytePairTokenizer) -> None:
    tokens = tiny([])
    assert tokens.ids.shape == tokens.valid.shape == (0, 2)


def test_single_string_instead_of_a_list_is_rejected(tiny: BytePairTokenizer) -> None:
    with pytest.raises(ValueError, match="single string 'low'; put it into a list"):
        tiny("low")


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        (["l o", "lo"], "Merge 2 is 'lo'"),
        (["lo w"], "Merge 1 is 'lo w'"),
        (["l o", "l o"], "already exists"),
    ],
)
def test_broken_merges_are_rejected(merges: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BytePairTokenizer(merges, 8)


def test_context_without_room_is_rejected() -> None:
    with pytest.raises(ValueError, match="got 1"):
        BytePairTokenizer(MERGES, 1)


def test_missing_clip_vocabulary_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="fetch bpe_simple_vocab_16e6"):
        BytePairTokenizer.clip(tmp_path / "none.gz")


@pytest.mark.parametrize("keep", [0, 9, 200])
def test_damaged_vocabulary_is_rejected(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "vocabulary.gz"
    write_merges(path, [f"{left} {right}" for left in "abcdef" for right in "uvwxyz"])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="fetch"):
        BytePairTokenizer.clip(path)


def test_short_vocabulary_is_no_clip_vocabulary(tmp_path: Path) -> None:
    write_merges(tmp_path / "short.gz", MERGES)
    with pytest.raises(ValueError, match="holds 6 merges"):
        BytePairTokenizer.clip(tmp_path / "short.gz")


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("A Photo of a Cat.", "a photo of a cat."),
        ("it's the man's hat, isn't it?", "it's the man's hat, isn't it?"),
        ("café 日本語 😀", "café 日本語 😀"),
        ("", ""),
        ("the man 's", "the man's"),
    ],
)
def test_decoding_spells_the_phrase(text: str, spelled: str) -> None:
    ids = nano()([text], pad_to_context=True).ids[0]
    assert nano().decode(ids) == nano().decode(ids.tolist()) == spelled


def test_decoding_stops_at_the_first_end(tiny: BytePairTokenizer) -> None:
    assert tiny.decode([BEGIN, LOW_END, BEGIN, LOW_END, END, LOWER_END]) == "low low"


def test_decoding_half_a_character_shows_a_replacement(tiny: BytePairTokenizer) -> None:
    assert tiny.decode(tiny.encode("é")[:1]) == "\ufffd"


@pytest.mark.parametrize("token", [-1, 520])
def test_decoding_a_foreign_id_is_rejected(tiny: BytePairTokenizer, token: int) -> None:
    with pytest.raises(ValueError, match=f"got {token}"):
        tiny.decode([LOW_END, token])


def test_nano_ships_4096_tokens_and_the_context_32() -> None:
    assert (nano().num_tokens, nano().begin, nano().end, nano().context) == (4096, 4094, 4095, 32)
    assert nano()(["word " * 100]).ids.shape == (1, 32)


@pytest.mark.parametrize(
    "name",
    ["person", "dog", "traffic light", "zebra", "sky", "surfboard", "refrigerator", "red car"],
)
def test_common_names_cost_nano_one_token_a_word(name: str) -> None:
    assert len(nano().encode(name)) == len(name.split())


@pytest.mark.parametrize("name", ["penguin", "kangaroo", "keyboards", "mango", "windowsill"])
def test_rarer_names_cost_nano_few_tokens(name: str) -> None:
    assert len(nano().encode(name)) <= 3


@settings(deadline=None)
@given(st.text())
def test_any_text_fits(text: str) -> None:
    tokens = nano()([text])
    assert tokens.ids.shape[1] <= 32
    assert tokens.ids.min() >= 0
    assert tokens.ids.max() == nano().end
    assert int(tokens.ids[0, 0]) == nano().begin


def test_word_of_ten_thousand_letters_is_quick() -> None:
    word = "".join(random.Random(0).choices("etaoinshr", k=10_000))
    start = time.process_time()
    assert len(nano().encode(word)) == 30
    assert time.process_time() - start < 1.0


def test_all_class_prompts_are_tokenised_quickly() -> None:
    phrases = class_phrases([f"kind {i} of thing" for i in range(134)], TEMPLATES)
    start = time.process_time()
    nano()(phrases)
    assert time.process_time() - start < 1.5


def test_tokenizer_survives_pickling(tiny: BytePairTokenizer) -> None:
    tiny.encode("low")
    assert pickle.loads(pickle.dumps(tiny)).encode("lower low") == [LOWER_END, LOW_END]


def test_import_alone_needs_neither_ftfy_nor_regex() -> None:
    code = "import sys, seem.models.text.tokenizer; print(sorted({'ftfy', 'regex', 'tokenizers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_finds_the_commonest_pairs_in_any_order(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    texts = ["low lower lowest", "low low", "é <|endoftext|>"]
    merges = train_bpe(texts, size=514 + 3)
    assert merges == train_bpe(texts[::-1], size=514 + 3)
    assert merges[0] == "l o"
    write_merges(tmp_path / "bpe.gz", merges)
    assert read_merges((tmp_path / "bpe.gz").read_bytes(), source="bpe.gz") == merges
    assert [path.name for path in tmp_path.iterdir()] == ["bpe.gz"]
    assert len(BytePairTokenizer(merges, 8).encode("low")) == 1


def test_training_without_room_for_merges_is_rejected() -> None:
    with pytest.raises(ValueError, match="got size 514"):
        train_bpe(["low"], size=514)


def test_training_takes_only_shippable_photos(tmp_path: Path) -> None:
    for name in SHIPPABLE_SETS:
        (tmp_path / name).mkdir()
        images = [
            {"id": 1, "split": "train", "license_group": "C", "captions": [f"{name} of group c"]},
            {"id": 2, "split": "train", "license_group": "A", "captions": [f"{name} of group a"]},
            {"id": 3, "split": "val", "license_group": "A", "captions": [f"{name} held back"]},
        ]
        annotations = [
            {"image_id": i, "category_id": i, "phrases": [f"phrase {i} of {name}"]}
            for i in (1, 2, 3)
        ]
        categories = [{"id": i, "name": f"{name} {i}"} for i in (1, 2, 3)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / name / "annotations.json").write_text(json.dumps(content))
    (tmp_path / "coco_full" / "panoptic.json").write_text(
        json.dumps({"categories": [{"name": "wall-other-merged"}]})
    )
    texts = set(load_texts(tmp_path))
    assert {
        "coco_full of group c",
        "phrase 1 of ccp",
        "ccp 1",
        "open_mix of group a",
        "open_mix 2",
        "wall",
    } <= texts
    assert not texts & {"coco_full held back", "phrase 3 of ccp", "ccp 3"}
    assert not texts & {"open_mix of group c", "phrase 1 of open_mix", "open_mix 1"}


@needs_shared
@pytest.mark.slow
def test_shipped_vocabulary_is_what_training_makes() -> None:
    assert train_bpe(load_texts(SHARED / "data")) == list(nano_lines())


@needs_shared
@pytest.mark.parametrize("case", ["language", "grounding"])
def test_clip_ids_equal_the_official_ones(case: str) -> None:
    recorded = np.load(SHARED / "parity" / "fixtures" / "seem_v1_focalt" / f"{case}.npz")
    texts = json.loads(str(recorded["strings" if case == "language" else "texts"]))
    tokens = clip()(texts, pad_to_context=True)
    np.testing.assert_array_equal(tokens.ids, recorded["input_ids"])
    np.testing.assert_array_equal(tokens.valid, recorded["attention_mask"].astype(bool))
    _assert_trimmed_alike(clip()(texts[:2]), tokens)


@needs_shared
@pytest.mark.parametrize("case", ["seem_v1_focalt_panoptic", "xdecoder_focalt"])
def test_clip_class_ids_equal_the_official_ones(case: str) -> None:
    content = json.loads((SHARED / "data" / "coco_full" / "panoptic.json").read_text())
    names = [
        category["name"]
        for category in sorted(content["categories"], key=lambda category: category["id"])
    ]
    recorded = np.load(SHARED / "parity" / "excerpt" / f"{case}.npz")["class_token_ids"]
    np.testing.assert_array_equal(clip()(class_phrases([*names, "background"])).ids, recorded)


def _assert_trimmed_alike(trimmed: Tokens, full: Tokens) -> None:
    count, width = trimmed.ids.shape
    assert torch.equal(trimmed.ids, full.ids[:count, :width])
    assert torch.equal(trimmed.valid, full.valid[:count, :width])
