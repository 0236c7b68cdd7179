"""From phrases to token ids: byte-pair encoding with CLIP's vocabulary or with nano's own.

Both vocabularies have one layout: 256 byte characters, the same 256 as the end of a word, one token for every line of
the merge file, then begin and end. Words are found, cleaned and merged as the slow `CLIPTokenizer` of Hugging Face
transformers does, which the published SEEM and X-Decoder use. It differs from OpenAI's own: `ftfy` alone repairs the
text, with no second HTML unescape after it, and special tokens typed by the user count as special tokens.
"""

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from heapq import heapify, heappop, heappush
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

BEGIN = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"

CLIP_CONTEXT = 77
CLIP_MERGES = 48_894  # the file goes on; CLIP reads this many lines after the header
NANO_CONTEXT = 32
NANO_MERGES_FILE = "nano_bpe.txt.gz"
NANO_SIZES = {
    4096: NANO_MERGES_FILE,
    10_240: "nano_wordnet_bpe.txt.gz",
}  # learnt from captions; and from WordNet

MAX_CACHED_WORDS = 65_536
MAX_CACHED_BYTES = 64  # longer words are rare: they are merged anew each time

_EITHER_SPECIAL = f"{re.escape(BEGIN)}|{re.escape(END)}"
_SPECIAL = re.compile(f"({_EITHER_SPECIAL})")
# What HF's decoder tidies up: no space before a full stop, a comma or the tail of a contraction.
_LOOSE_SPACE = re.compile(r" (?=[.,?!]|'(?:s|t|re|ve|m|ll|d)\b)")


def _byte_alphabet() -> tuple[list[int], list[str]]:
    """List the 256 bytes in vocabulary order, and the character that stands for each in merge files.

    Bytes that print in Latin-1 come first and stand for themselves; the others borrow characters from U+0100 on.
    """
    printable = [byte for byte in range(256) if chr(byte).isprintable() and chr(byte) != " "]
    hidden = [byte for byte in range(256) if byte not in printable]
    return printable + hidden, [chr(byte) for byte in printable] + [
        chr(256 + i) for i in range(len(hidden))
    ]


BYTE_ORDER, BYTE_CHARACTERS = _byte_alphabet()
_RANK_OF_BYTE = {byte: rank for rank, byte in enumerate(BYTE_ORDER)}


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of some phrases, one row each: begin, the phrase, end, then more end tokens as padding."""

    ids: Int[Tensor, "n t"]
    valid: Bool[
        Tensor, "n t"
    ]  # True from begin to the first end token that is not part of the text


class BytePairTokenizer:
    """Turns phrases into token ids and back.

    Args:
        merges: lines "left right", best first. Both sides must be byte characters (the last of a word with `</w>`) or
            results of earlier lines, and no two lines may give the same token: otherwise `ValueError`.
        context: tokens that the text encoder takes, begin and end included. Longer phrases lose their tail.
    """

    def __init__(self, merges: Sequence[str], context: int) -> None:
        if context < 2:
            raise ValueError(
                f"A context needs room for begin and end, got {context}; use 2 or more."
            )
        self.context = context
        self._bytes = [bytes([byte]) for byte in BYTE_ORDER] * 2
        self._ends_word = [False] * 256 + [True] * 256
        self._merged: dict[
            tuple[int, int], int
        ] = {}  # two neighbours -> the token that replaces both
        self._add_merges(merges)
        self.begin = len(self._bytes)
        self.end = self.begin + 1
        self._word_cache: dict[str, tuple[int, ...]] = {BEGIN: (self.begin,), END: (self.end,)}

    @classmethod
    def clip(cls, path: str | Path) -> "BytePairTokenizer":
        """Read CLIP's vocabulary (49,408 tokens, context 77) from its published `bpe_simple_vocab_16e6.txt.gz`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not a merge file, or holds too few lines.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"CLIP's vocabulary is not at {path}; fetch bpe_simple_vocab_16e6.txt.gz from "
                "github.com/openai/CLIP (folder clip) and put it there."
            )
        merges = read_merges(path.read_bytes(), source=str(path))
        if len(merges) < CLIP_MERGES:
            raise ValueError(
                f"{path} holds {len(merges)} merges and CLIP has {CLIP_MERGES}; fetch the file again."
            )
        return cls(merges[:CLIP_MERGES], CLIP_CONTEXT)

    @classmethod
    def nano(cls, size: int = 4096) -> "BytePairTokenizer":
        """Read a vocabulary of `size` tokens (context 32) that ships for the embedded model.

        Raises:
            ValueError: no vocabulary of this size ships.
        """
        if size not in NANO_SIZES:
            raise ValueError(
                f"nano has vocabularies of {' and '.join(map(str, NANO_SIZES))} tokens, not of {size}."
            )
        name = NANO_SIZES[size]
        asset = files("seem") / "assets" / name
        return cls(read_merges(asset.read_bytes(), source=name), NANO_CONTEXT)

    @property
    def num_tokens(self) -> int:
        """Size of the vocabulary, begin and end included."""
        return self.end + 1

    @property
    def spellings(self) -> list[str]:
        """Every token in order, in byte characters, as merge files and `tokenizer.json` spell it."""
        character_of = dict(zip(BYTE_ORDER, BYTE_CHARACTERS, strict=True))
        spelled = []
        for letters, ends_word in zip(self._bytes, self._ends_word, strict=True):
            word = "".join(character_of[letter] for letter in letters)
            spelled.append(word + WORD_END if ends_word else word)
        return [*spelled, BEGIN, END]

    @property
    def merges(self) -> list[tuple[int, int]]:
        """The two tokens of every merge, best first."""
        return list(self._merged)

    def __call__(self, texts: Sequence[str], *, pad_to_context: bool = False) -> Tokens:
        """Tokenise phrases together.

        Rows are padded with the end token to the longest of them, or to the full context on request. In a causal text
        encoder both give the same vectors up to the end token: trimming only saves work.

        Raises:
            ValueError: `texts` is one string instead of several.
        """
        if isinstance(texts, str):
            raise ValueError(
                f"A list of phrases is expected, got the single string {texts!r}; put it into a list."
            )
        rows = [[self.begin, *self.encode(text), self.end] for text in texts]
        width = self.context if pad_to_context else max(map(len, rows), default=2)
        ids = torch.full((len(rows), width), self.end, dtype=torch.long)
        for row, target in zip(rows, ids, strict=True):
            target[: len(row)] = torch.tensor(row)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        return Tokens(ids, torch.arange(width) < lengths[:, None])

    def encode(self, text: str) -> list[int]:
        """Token ids of one phrase without begin and end, cut to what fits between them."""
        room = self.context - 2
        return self._encode(text, room)[:room]

    def is_too_long(self, text: str) -> bool:
        """Whether a phrase loses its tail."""
        room = self.context - 2
        return len(self._encode(text, room + 1)) > room

    def _encode(self, text: str, enough: int) -> list[int]:
        ids: list[int] = []
        for word in find_words(text):
            ids.extend(self._word_cache.get(word) or self._encode_word(word))
            if len(ids) >= enough:
                break
        return ids

    def decode(self, ids: Sequence[int] | Int[Tensor, "t"]) -> str:
        """Spell one row of ids as text, up to the first end token; begin tokens are left out.

        Case and spacing of the original phrase are gone; bytes that are not UTF-8 show as U+FFFD.

        Raises:
            ValueError: an id lies outside the vocabulary.
        """
        spelled = bytearray()
        for token in map(int, ids):
            if token == self.end:
                break
            if token == self.begin:
                continue
            if not 0 <= token < self.begin:
                raise ValueError(
                    f"Token ids lie between 0 and {self.end}, got {token}; was it another vocabulary?"
                )
            spelled += self._bytes[token]
            if self._ends_word[token]:
                spelled += b" "
        return _LOOSE_SPACE.sub("", spelled.decode("utf-8", errors="replace").strip())

    def _add_merges(self, merges: Sequence[str]) -> None:
        alphabet = [*BYTE_CHARACTERS, *(character + WORD_END for character in BYTE_CHARACTERS)]
        id_of = {character: index for index, character in enumerate(alphabet)}
        for line, merge in enumerate(merges, start=1):
            sides = merge.split()
            if len(sides) != 2 or not all(side in id_of for side in sides):
                raise ValueError(
                    f"Merge {line} is {merge!r}; it must name two tokens that stand before it."
                )
            left, right = id_of[sides[0]], id_of[sides[1]]
            token = sides[0] + sides[1]
            if token in id_of:
                raise ValueError(
                    f"Merge {line}, {merge!r}, gives a token that already exists; remove it."
                )
            id_of[token] = self._merged[left, right] = len(id_of)
            self._bytes.append(self._bytes[left] + self._bytes[right])
            self._ends_word.append(self._ends_word[right])

    def _encode_word(self, word: str) -> tuple[int, ...]:
        """Merge a new word and remember it. Safe in threads: at worst two of them merge the same word."""
        spelled = word.encode("utf-8")
        ids = tuple(self._merge(spelled))
        if len(self._word_cache) < MAX_CACHED_WORDS and len(spelled) <= MAX_CACHED_BYTES:
            self._word_cache[word] = ids
        return ids

    def _merge(self, word: bytes) -> list[int]:
        """Join neighbours, the earliest merge first and leftmost first, until no merge applies.

        A heap of candidates over a linked list: n log n, so that a word of 10,000 letters costs milliseconds. A merge
        kills its right half (id -1); candidates that name a dead or changed neighbour are recognised when popped.
        """
        merged, count = self._merged, len(word)
        ids = [_RANK_OF_BYTE[byte] for byte in word]
        ids[-1] += 256
        ids.append(-1)  # stands beyond both ends: ids[count] and ids[-1]
        before = list(range(-1, count))
        after = list(range(1, count + 1))
        heap = [(merged[pair], at) for at, pair in enumerate(pairwise(ids)) if pair in merged]
        heapify(heap)
        while heap:
            token, at = heappop(heap)
            gone = after[at]
            if merged.get((ids[at], ids[gone])) != token:
                continue
            ids[at], ids[gone] = token, -1
            after[at] = after[gone]
            before[after[at]] = at
            for left, right in ((before[at], at), (at, after[at])):
                candidate = merged.get((ids[left], ids[right]))
                if candidate is not None:
                    heappush(heap, (candidate, left))
        return [token for token in ids if token >= 0]


def read_merges(packed: bytes, *, source: str) -> list[str]:
    """Unpack a merge file: gzip, UTF-8, one header line, then one merge a line. `source` names it in errors."""
    try:
        lines = gzip.decompress(packed).decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as problem:
        raise ValueError(
            f"{source} is not a gzipped merge file ({problem}); fetch it again."
        ) from problem
    return [line for line in lines[1:] if line]


def find_words(text: str) -> Iterator[str]:
    """Yield the words of a text, repaired and lower-cased: runs of letters, single digits, runs of other signs.

    Special tokens are not split. They are cut out before the repair, because `ftfy` leaves HTML entities alone in a
    text that holds '<'. White space separates words and is in none of them.
    """
    for piece in _SPECIAL.split(text):
        yield from (
            (piece,)
            if _SPECIAL.fullmatch(piece)
            else _word_pattern().findall(repair(piece).lower())
        )


def repair(text: str) -> str:
    """Undo wrong encodings, HTML entities, ligatures and full-width letters: `ftfy.fix_text` with its defaults."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text  # ftfy changes nothing here, and is neither imported nor run for most phrases
    import ftfy

    return str(ftfy.fix_text(text))


@cache
def _word_pattern() -> Any:
    """Compile CLIP's rule of what a word is; `regex` because Python's own `re` knows no letter classes."""
    import regex

    contraction = "'(?:s|t|re|ve|m|ll|d)"
    letters, digit, signs = r"\p{L}+", r"\p{N}", r"[^\s\p{L}\p{N}]+"
    return regex.compile(
        "|".join((_EITHER_SPECIAL, contraction, letters, digit, signs)), regex.IGNORECASE
    )
