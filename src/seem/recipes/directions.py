"""A direction in the text embedding space for every noun of WordNet, from its hypernym tree.

The raw vector of a synset is a random vector of its own plus the mean of its hypernyms' raw vectors; its direction is
that sum, normalised. How long its own part is decides what is near what (`Shares`): class names of our data sets and of
ImageNet keep a large part to themselves, so that classes stay apart; what lies below a class adds little, so that a
beagle is nearly a dog; what lies above many classes is nearly nothing. A word's direction is that of its senses, the
commonest visible one first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seem.data.classes import class_list
from seem.recipes.senses import ALSO, CLASSES, KINDS, WORDS, ClassSense, parse_classes, parse_kinds, parse_pairs, split
from seem.recipes.wordnet import Sense, Synset, WordNet
from seem.recipes.words import KINDS as LEXICON
from seem.recipes.words import directions as spread
from seem.recipes.words import parse as parse_lexicon
from seem.training.vocabulary import EVERYDAY_NOUNS
from seem.vocabulary import Vocabulary, imagenet_synsets

VISIBLE: Mapping[str, float] = {
    "animal": 1.0, "artifact": 1.0, "food": 1.0, "tops": 1.0, "plant": 0.9, "object": 0.9, "body": 0.9, "person": 0.3,
    "substance": 0.6, "phenomenon": 0.4, "group": 0.4, "communication": 0.25, "location": 0.2, "shape": 0.1,
}  # fmt: skip
"""How likely a sense of a lexicographer file is what a photo shows; `HARDLY` for the other files."""

HARDLY = 0.02
CLASS_BONUS = 3.0  # for senses that are a class or lie below one
CLASS_WEIGHT = 12.0  # of a class name, where an untagged visible word has 1
RARE = 0.25  # for scientific names such as Canis lupus
TAXON = 0.1  # for names of genera and families
EVERYDAY = 3.0  # more for everyday words


@dataclass(frozen=True, slots=True)
class Shares:
    """Squared lengths of the own parts of synsets, before normalisation.

    `nested_class` is a class of our sets below another one, `fine_class` a class of ImageNet below one of our sets.
    `outer` is the first synset on a way down that leads to no class.
    """

    top_class: float = 0.65
    nested_class: float = 0.9
    fine_class: float = 0.3
    below: float = 0.1
    outer: float = 0.4
    broad: float = 0.05


@dataclass(frozen=True)
class Nouns:
    """Directions of words.

    `words` are lower case, `vectors` of length 1, `weights` how much a word matters (visible and common ones most).
    `classes` are the names that are told apart, a subset of the words, with their rows in `class_rows`.
    """

    words: tuple[str, ...]
    vectors: Float[Tensor, "n d"]
    weights: Float[np.ndarray, " n"]
    classes: tuple[str, ...]
    plurals: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rows", {word: row for row, word in enumerate(self.words)})

    def row(self, word: str) -> int:
        """Return the row of a word; `KeyError` for an unknown one."""
        rows: dict[str, int] = self._rows  # type: ignore[attr-defined]
        return rows[word.lower()]

    def __contains__(self, word: str) -> bool:
        return word.lower() in self._rows  # type: ignore[attr-defined]

    def __getitem__(self, word: str) -> Float[Tensor, " d"]:
        return self.vectors[self.row(word)]

    @property
    def class_vectors(self) -> Float[Tensor, "c d"]:
        """Directions of the classes, in their order."""
        return self.vectors[[self.row(name) for name in self.classes]]


@dataclass(frozen=True, slots=True)
class Node:
    """A synset, or a class that WordNet does not know: the keys of what it is a kind of."""

    key: str
    parents: tuple[str, ...]


def our_class_names() -> tuple[str, ...]:
    """Return the class names of COCO, ADE20K and the photo sets of the pack, as they are said."""
    names = dict.fromkeys(Vocabulary.coco_panoptic().phrases)
    names |= dict.fromkeys(category.text for category in class_list("ade20k"))
    names |= dict.fromkeys(name for lines in LEXICON.values() for name in parse_lexicon(lines))
    names |= dict.fromkeys(parse_classes(CLASSES))
    aliases = {word for words in WORDS.values() for word in split(words)}
    return tuple(name for name in names if name not in aliases)


def best_sense(senses: Sequence[Sense], bonus: Mapping[int, float] | None = None) -> int:
    """Return the index of the sense that a photo most likely shows."""
    return int(np.argmax(sense_scores(senses, bonus or {})))


def sense_scores(senses: Sequence[Sense], bonus: Mapping[int, float]) -> Float[np.ndarray, " s"]:
    """Return how likely each sense of a word is meant about a photo, not normalised; 0 for single individuals.

    The number of times that a sense was tagged counts, and for untagged ones their rank; `bonus` multiplies the scores
    of synsets by number.
    """
    scores = [
        (sense.count + 1 / rank) * visibility(sense.synset) * bonus.get(sense.synset.number, 1.0)
        for rank, sense in enumerate(senses, 1)
    ]
    return np.array(scores)


def visibility(synset: Synset) -> float:
    """Return how likely a photo shows a synset, from 0 to 1."""
    return 0.0 if synset.is_instance else VISIBLE.get(synset.lexname, HARDLY)


def build_nouns(wordnet: WordNet, dim: int, seed: int = 0, shares: Shares = Shares()) -> Nouns:
    """Give every noun of a database a direction in `dim` dimensions, drawn from `seed`."""
    table = resolve_classes(wordnet, our_class_names())
    groups = group_classes(wordnet, table)
    nodes = make_nodes(wordnet, table)
    own = own_shares(wordnet, nodes, groups, shares)
    kinds = {wordnet.sense(sense).wnid for sense in parse_kinds(KINDS)}
    raw = raw_vectors(nodes, own, groups, kinds, dim, seed)
    return name_words(wordnet, table, groups, raw)


def resolve_classes(wordnet: WordNet, names: Iterable[str]) -> dict[str, ClassSense]:
    """Say for every class name what it means, by the table or by its most visible sense; ImageNet's classes are added.

    Raises:
        ValueError: a name is neither in the table nor in the database.
    """
    table = parse_classes(CLASSES)
    found: dict[str, ClassSense] = {}
    for name in names:
        if name in table:
            found[name] = table[name]
            continue
        senses = wordnet.senses.get(name.lower())
        if senses is None:
            raise ValueError(f"WordNet does not know the class {name!r}; say in senses.CLASSES what it means.")
        found[name] = ClassSense(name, (f"{name}#{best_sense(senses) + 1}",), ())
    return found


def group_classes(wordnet: WordNet, table: Mapping[str, ClassSense]) -> dict[str, tuple[str, bool]]:
    """Map the key of every class node to its group, whose members share one own vector, and to whether it is ours.

    ImageNet's classes form groups of one synset, where no class name of ours claims it.
    """
    groups: dict[str, tuple[str, bool]] = {}
    for name, meaning in table.items():
        keys = [wordnet.sense(sense).wnid for sense in meaning.senses if sense not in table or sense == name]
        keys = keys or [name]
        group = next((groups[key][0] for key in keys[:1] if key in groups), name)
        for key in keys:
            groups.setdefault(key, (group, True))
    for wnid in imagenet_synsets():
        groups.setdefault(wnid, (wnid, False))
    return groups


def make_nodes(wordnet: WordNet, table: Mapping[str, ClassSense]) -> dict[str, Node]:
    """Return the hypernym graph with the classes that WordNet lacks, parents before children."""
    added: dict[str, tuple[str, ...]] = {}
    for sense, parent in parse_pairs(ALSO):
        added[wordnet.sense(sense).wnid] = (wordnet.sense(parent).wnid,)
    for name, meaning in table.items():
        if meaning.parents:
            key = wordnet.sense(meaning.senses[0]).wnid if meaning.senses else name
            added[key] = tuple(
                parent if is_new(parent, table) else wordnet.sense(parent).wnid for parent in meaning.parents
            )
        elif not meaning.senses:
            added[name] = ()
    nodes = {}
    for synset in wordnet.top_down:
        parents = tuple(wordnet.synsets[number].wnid for number in synset.parents)
        nodes[synset.wnid] = Node(synset.wnid, parents + added.get(synset.wnid, ()))
    new = {key: parents for key, parents in added.items() if key not in nodes}
    while new:
        ready = [key for key, parents in new.items() if all(parent in nodes for parent in parents)]
        for key in ready:
            nodes[key] = Node(key, new.pop(key))
    return order(nodes)


def is_new(name: str, table: Mapping[str, ClassSense]) -> bool:
    """Whether a name of the table stands for a class that is no synset."""
    return name in table and not table[name].senses


def order(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Sort nodes so that each comes after its parents."""
    done: dict[str, Node] = {}
    waiting = dict(nodes)
    while waiting:
        ready = [node for node in waiting.values() if all(parent in done for parent in node.parents)]
        if not ready:
            raise ValueError("The hypernyms form a circle.")
        for node in ready:
            done[node.key] = waiting.pop(node.key)
    return done


def own_shares(
    wordnet: WordNet, nodes: Mapping[str, Node], groups: Mapping[str, tuple[str, bool]], shares: Shares
) -> dict[str, float]:
    """Return the squared length of every node's own part."""
    kinds = {wordnet.sense(sense).wnid: share for sense, share in parse_kinds(KINDS).items()}
    below: dict[str, set[str]] = {key: set() for key in nodes}  # groups of the classes under a node, itself excluded
    for key in reversed(nodes):
        reached = below[key] | ({groups[key][0]} if key in groups else set())
        for parent in nodes[key].parents:
            below[parent] |= reached
    above: dict[str, set[str]] = {}  # groups of our classes over a node
    is_broad: dict[str, bool] = {}
    own = {}
    for key, node in nodes.items():
        above[key] = set().union(*(above[parent] for parent in node.parents))
        is_broad[key] = bool(below[key])
        if key in kinds:
            own[key] = kinds[key]
        elif key in groups:
            group, ours = groups[key]
            nested = shares.nested_class if ours else shares.fine_class
            own[key] = nested if above[key] - {group} else shares.top_class
            above[key] = above[key] | {group}
        elif above[key]:
            own[key] = shares.below
        elif is_broad[key]:
            own[key] = min(shares.broad, 2 / len(below[key]))
        else:
            first = all(is_broad[parent] for parent in node.parents)
            own[key] = shares.outer if first else shares.below
    return own


def raw_vectors(
    nodes: Mapping[str, Node],
    own: Mapping[str, float],
    groups: Mapping[str, tuple[str, bool]],
    kinds: set[str],
    dim: int,
    seed: int,
) -> dict[str, Float[np.ndarray, " d"]]:
    """Return own parts summed down the graph, not normalised."""
    rng = np.random.default_rng(seed)
    owner = {key: groups[key][0] if key in groups else key for key in nodes}
    names = dict.fromkeys(group for group, _ in groups.values())
    special = dict(zip(names, spread(len(names), dim, seed).numpy(), strict=True))
    raw: dict[str, np.ndarray] = {}
    for key, node in nodes.items():
        drawn = rng.standard_normal(dim)
        mine = special.get(owner[key], drawn / np.linalg.norm(drawn))
        raw[key] = math.sqrt(own[key]) * mine
        if node.parents:
            raw[key] = raw[key] + mean_vector([raw[parent] for parent in node.parents])
        if key in groups and key not in kinds:
            raw[key] = unit_length(raw[key])  # so that what lies below has the same likeness to it everywhere
    return raw


def name_words(
    wordnet: WordNet,
    table: Mapping[str, ClassSense],
    groups: Mapping[str, tuple[str, bool]],
    raw: Mapping[str, Float[np.ndarray, " d"]],
) -> Nouns:
    """Give every word the direction of its senses, and class names that of their class."""
    under = under_classes(wordnet, groups)
    bonus = dict.fromkeys(under, CLASS_BONUS)
    taxa = descendants(wordnet, wordnet.sense("taxonomic group").number)
    everyday = set(EVERYDAY_NOUNS.split())
    found: dict[str, np.ndarray] = {}
    weights: dict[str, float] = {}
    for word, senses in wordnet.senses.items():
        scores = sense_scores(senses, bonus)
        if not scores.any():
            continue
        likely = scores**2 / (scores**2).sum()
        rows = [unit_length(raw[sense.synset.wnid]) for sense in senses]
        found[word] = unit_length(np.sum([p * row for p, row in zip(likely, rows, strict=True)], axis=0))
        best = senses[int(scores.argmax())]
        weights[word] = word_weight(word, senses, best.synset, wordnet.gloss_counts.get(word, 0))
        if best.synset.number in taxa:
            weights[word] *= TAXON
        elif word in everyday:
            weights[word] += EVERYDAY
    classes = {}
    for name, wnid in zip(Vocabulary.imagenet().names, imagenet_synsets(), strict=True):
        classes[name] = unit_length(raw[wnid])
    for name, meaning in table.items():
        keys = [wordnet.sense(sense).wnid for sense in meaning.senses] or [name]
        classes[name] = unit_length(np.sum([unit_length(raw[key]) for key in keys], axis=0))
    for name, meaning in table.items():  # "glove" as "gloves"
        if meaning.senses:
            for word in wordnet.sense(meaning.senses[0]).words:
                if f"{word.lower()}s" == name.lower():
                    found[word.lower()] = classes[name]
    named = {name.lower() for name in classes}
    for name, vector in classes.items():
        found[name.lower()] = vector
        weights[name.lower()] = CLASS_WEIGHT
    for name, words in WORDS.items():
        for word in split(words):
            found[word] = classes[name]
            weights[word] = CLASS_WEIGHT / 2
    for name in classes:  # no other word is spelled as the plural of a class name
        plural = plural_of(name.lower(), wordnet.plurals)
        if plural in found and plural not in named and plural != name.lower():
            del found[plural]
    vectors = torch.from_numpy(np.stack(list(found.values()))).float()
    names = tuple(dict.fromkeys(name.lower() for name in classes))
    return Nouns(tuple(found), vectors, np.array([weights[word] for word in found]), names, wordnet.plurals)


def under_classes(wordnet: WordNet, groups: Mapping[str, tuple[str, bool]]) -> set[int]:
    """Return the numbers of all synsets that are a class or lie below one."""
    found = {synset.number for synset in wordnet.top_down if synset.wnid in groups}
    for synset in wordnet.top_down:
        if not found.isdisjoint(synset.parents):
            found.add(synset.number)
    return found


def descendants(wordnet: WordNet, number: int) -> set[int]:
    """Return the numbers of a synset and of all that is a kind of it."""
    found = {number}
    for synset in wordnet.top_down:
        if not found.isdisjoint(synset.parents):
            found.add(synset.number)
    return found


def word_weight(word: str, senses: Sequence[Sense], synset: Synset, in_glosses: int) -> float:
    """Return how much a word that means a synset matters: visible and common ones more, scientific names less."""
    spelled = next((other for other in synset.words if other.lower() == word), word)
    scientific = synset.lexname in ("animal", "plant") and spelled != word and " " in word
    common = 1 + math.log1p(sum(sense.count for sense in senses)) + 0.7 * math.log1p(in_glosses)
    return visibility(synset) * common * (RARE if scientific else 1.0)


def mean_vector(vectors: Sequence[Float[np.ndarray, " d"]]) -> Float[np.ndarray, " d"]:
    """Return the mean of some vectors, lengthened to their mean length; unlike vectors do not shorten each other."""
    mean = np.mean(vectors, axis=0)
    wanted = np.mean([np.linalg.norm(vector) for vector in vectors])
    return np.asarray(mean * wanted / max(float(np.linalg.norm(mean)), 1e-9))


def unit_length(vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """Scale a vector to length 1."""
    return np.asarray(vector / np.linalg.norm(vector))


def plural_of(word: str, irregular: Mapping[str, Sequence[str]]) -> str:
    """Return the plural of a word, of its last part where it has several."""
    first, gap, last = word.rpartition(" ")
    if last in irregular:
        return first + gap + irregular[last][0]
    if last.endswith(("s", "x", "z", "ch", "sh")):
        return word if last.endswith("s") and not last.endswith("ss") else f"{word}es"
    if last.endswith("y") and len(last) > 1 and last[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"
