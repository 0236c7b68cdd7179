"""A byte-pair tokenizer as `tokenizer.json`, the file of Hugging Face tokenizers, which browsers read too."""

from __future__ import annotations

import json
from typing import Any

from seem.models.text.tokenizer import BEGIN, END, WORD_END, BytePairTokenizer

WORD_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def tokenizer_json(tokenizer: BytePairTokenizer) -> str:
    """Return the text of `tokenizer.json`: begin and end are added to every phrase, which is lower-cased."""
    spellings = tokenizer.spellings
    merges = []
    for left, right in tokenizer.merges:
        merges.append(f"{spellings[left]} {spellings[right]}")
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _special_token(BEGIN, tokenizer.begin),
            _special_token(END, tokenizer.end),
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Lowercase"},
            ],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": WORD_PATTERN},
                    "behavior": "Removed",
                    "invert": True,
                },
                {
                    "type": "ByteLevel",
                    "add_prefix_space": False,
                    "trim_offsets": True,
                    "use_regex": False,
                },
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_template(BEGIN), {"Sequence": {"id": "A", "type_id": 0}}, _template(END)],
            "pair": [
                _template(BEGIN),
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
                _template(END),
            ],
            "special_tokens": {
                BEGIN: {"id": BEGIN, "ids": [tokenizer.begin], "tokens": [BEGIN]},
                END: {"id": END, "ids": [tokenizer.end], "tokens": [END]},
            },
        },
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": END,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": WORD_END,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {spelling: number for number, spelling in enumerate(spellings)},
            "merges": merges,
        },
    }
    return json.dumps(content, ensure_ascii=False)


def _special_token(content: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, **flags, "special": True}


def _template(content: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": content, "type_id": 0}}
