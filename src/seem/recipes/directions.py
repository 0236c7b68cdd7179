"""A direction in the text embedding space for every noun of WordNet, from its hypernym tree.

The raw vector of a synset is a random vector of its own plus the mean of its hypernyms' raw vectors; its direction is
that sum, normalised. How long its own part is decides what is near what (`Shares`): class names of our data sets and of
ImageNet keep a large part to themselves, so that classes stay apart; what lies below a class adds little, so that a
beagle is nearly a dog; what lies above many classes is nearly nothing. A word's direction is that of its senses, the
commonest visible one first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seem.recipes.senses import ClassSense, SenseTable, shipped_table
from seem.recipes.wordnet import Sense, Synset, WordNet
from seem.training.vocabulary import EVERYDAY_NOUNS

VISIBLE: Mapping[str, float] = {
    "animal": 1.0, "artifact": 1.0, "food": 1.0, "tops": 1.0, "plant": 0.45, "object": 0.9, "body": 0.9, "person": 0.3,
    "substance": 0.6, "phenomenon": 0.4, "group": 0.4, "communication": 0.25, "location": 0.2, "shape": 0.1,
}  # fmt: skip
"""How likely a sense of a lexicographer file is what a photo shows; `HARDLY` for the other files.

Persons are told by what they do, and machines by the same words (washer, mixer): these are meant more often.
"""

HARDLY = 0.02
CLASS_BONUS = 3.0  # for senses that are a class or lie below one
CLASS_WEIGHT = 12.0  # of a class name, where an untagged visible word has 1
RARE = 0.25  # for scientific names such as Canis lupus
TAXON = 0.1  # for names of genera and families
EVERYDAY = 3.0  # more for everyday words
TAXA = "taxonomic group"  # what genera and families are in WordNet


@dataclass(frozen=True, slots=True)
class DirectionShares:
    """Squared lengths of the own parts of synsets, where what lies above a class has 1.

    `nested_class` is a class of our sets below another one, `fine_class` a class of ImageNet below one of our sets.
    `outer` is the first synset on a way down that leads to no class, `broad` one that has classes below it.
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
    `classes` are the words that are told apart. `plurals` gives irregular plurals by their singular.
    """

    words: tuple[str, ...]
    vectors: Float[Tensor, "n d"]
    weights: Float[np.ndarray, " n"]
    classes: tuple[str, ...]
    plurals: Mapping[str, tuple[str, ...]]

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of every word."""
        return {word: row for row, word in enumerate(self.words)}

    def __contains__(self, word: str) -> bool:
        return word.lower() in self.rows

    def __getitem__(self, word: str) -> Float[Tensor, " d"]:
        return self.vectors[self.rows[word.lower()]]

    @cached_property
    def class_vectors(self) -> Float[Tensor, "c d"]:
        """Directions of the classes, in their order."""
        return self.vectors[[self.rows[name] for name in self.classes]]


@dataclass(frozen=True)
class Graph:
    """The hypernym graph with the classes that WordNet lacks. Keys are synset identifiers, or class names.

    `parents` lists every node after its parents. `class_nodes` gives the nodes of a class name of ours or of ImageNet;
    `groups` the class that a node belongs to: nodes of one group share their own part. `ours` are nodes of our classes,
    `kinds` the parts of broad nodes.
    """

    parents: Mapping[str, tuple[str, ...]]
    class_nodes: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, str]
    ours: frozenset[str]
    kinds: Mapping[str, float]


def build_nouns(
    wordnet: WordNet,
    dim: int,
    seed: int = 0,
    table: SenseTable | None = None,
    shares: DirectionShares = DirectionShares(),
) -> Nouns:
    """Give every noun of a database a direction in `dim` dimensions, drawn from `seed`.

    Raises:
        ValueError: a class name of the table is not in the database, and the table does not say what it means.
    """
    table = table or shipped_table()
    graph = build_graph(wordnet, table)
    raw = raw_vectors(graph, own_parts(graph, shares), dim, seed)
    return name_words(wordnet, table, graph, raw)


def build_graph(wordnet: WordNet, table: SenseTable) -> Graph:
    """Join the database and what the table adds to it."""
    added: dict[str, tuple[str, ...]] = {}
    class_nodes: dict[str, tuple[str, ...]] = {}
    for sense, parent in table.also:
        added[wordnet.sense(sense).wnid] = (wordnet.sense(parent).wnid,)
    for name, class_sense in table.classes.items():
        nodes = class_synsets(wordnet, name, class_sense) or (name,)
        class_nodes[name] = nodes
        if class_sense.parents or nodes == (name,):
            added[nodes[0]] = parent_nodes(wordnet, table, class_sense)
    groups: dict[str, str] = {}
    for name, nodes in class_nodes.items():
        group = groups.get(nodes[0], name)
        for node in nodes:
            groups.setdefault(node, group)
    ours = frozenset(groups)
    for name, wnid in table.fine.items():
        groups.setdefault(wnid, name)
        class_nodes.setdefault(name, (wnid,))
    parents: dict[str, tuple[str, ...]] = {}
    for synset in wordnet.top_down:
        hypernyms = [wordnet.synsets[number].wnid for number in synset.parents]
        parents[synset.wnid] = (*hypernyms, *added.pop(synset.wnid, ()))
    kinds = {wordnet.sense(sense).wnid: part for sense, part in table.kinds.items()}
    return Graph(parents_first(parents | added), class_nodes, groups, ours, kinds)


def class_synsets(wordnet: WordNet, name: str, class_sense: ClassSense) -> tuple[str, ...]:
    """Return the synsets of a class name: those that it is said to mean, or the most visible one."""
    if not class_sense.is_open:
        return tuple(wordnet.sense(sense).wnid for sense in class_sense.senses)
    senses = wordnet.senses.get(name.lower())
    if senses is None:
        raise ValueError(
            f"WordNet does not know the class {name!r}; say in senses.CLASSES what it means."
        )
    return (senses[int(np.argmax(sense_scores(senses)))].synset.wnid,)


def parent_nodes(wordnet: WordNet, table: SenseTable, class_sense: ClassSense) -> tuple[str, ...]:
    """Return the nodes that the table puts over a class: synset identifiers, or names of classes that are new."""
    nodes = []
    for parent in class_sense.parents:
        if is_new(parent, table):
            nodes.append(parent)
        else:
            nodes.append(wordnet.sense(parent).wnid)
    return tuple(nodes)


def is_new(name: str, table: SenseTable) -> bool:
    """Whether a name stands for a class that is no synset."""
    return (
        name in table.classes and not table.classes[name].senses and not table.classes[name].is_open
    )


def parents_first(parents: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Sort the nodes of a graph so that each comes after its parents."""
    done: dict[str, tuple[str, ...]] = {}
    waiting = dict(parents)
    while waiting:
        ready = [node for node, above in waiting.items() if done.keys() >= set(above)]
        if not ready:
            raise ValueError(
                f"The hypernyms of {next(iter(waiting))!r} form a circle or are not there."
            )
        for node in ready:
            done[node] = waiting.pop(node)
    return done


def sense_scores(
    senses: Sequence[Sense], under_class: frozenset[str] = frozenset()
) -> Float[np.ndarray, " s"]:
    """Return how likely each sense of a word is meant about a photo, not normalised; 0 for single individuals.

    How often a sense was tagged counts, for untagged ones their rank, and whether its synset is in `under_class`.
    """
    scores = []
    for rank, sense in enumerate(senses, 1):
        bonus = CLASS_BONUS if sense.synset.wnid in under_class else 1.0
        scores.append((sense.count + 1 / rank) * visibility(sense.synset) * bonus)
    return np.array(scores)


def visibility(synset: Synset) -> float:
    """Return how likely a photo shows a synset, from 0 to 1."""
    if synset.is_instance:
        return 0.0
    return VISIBLE.get(synset.lexname, HARDLY)


def own_parts(graph: Graph, shares: DirectionShares) -> dict[str, float]:
    """Return the squared length of every node's own part."""
    below = classes_below(graph)
    above: dict[str, frozenset[str]] = {}  # our classes over a node, itself included
    own = {}
    for node, parents in graph.parents.items():
        above[node] = frozenset[str]().union(*(above[parent] for parent in parents))
        if node in graph.kinds:
            own[node] = graph.kinds[node]
        elif node in graph.groups:
            group = graph.groups[node]
            if not above[node] - {group}:
                own[node] = shares.top_class
            elif node in graph.ours:
                own[node] = shares.nested_class
            else:
                own[node] = shares.fine_class
            above[node] |= {group}
        elif above[node]:
            own[node] = shares.below
        elif below[node]:
            own[node] = min(shares.broad, 2 / len(below[node]))
        elif all(below[parent] for parent in parents):
            own[node] = shares.outer
        else:
            own[node] = shares.below
    return own


def classes_below(graph: Graph) -> dict[str, set[str]]:
    """Return the classes under every node, without its own."""
    below: dict[str, set[str]] = {node: set() for node in graph.parents}
    for node in reversed(list(graph.parents)):
        mine = {graph.groups[node]} if node in graph.groups else set()
        for parent in graph.parents[node]:
            below[parent] |= below[node] | mine
    return below


def raw_vectors(
    graph: Graph, own: Mapping[str, float], dim: int, seed: int
) -> dict[str, Float[np.ndarray, " d"]]:
    """Return own parts summed down the graph. Those of classes have length 1, so that what is below is equally near."""
    rng = np.random.default_rng(seed)
    names = dict.fromkeys(graph.groups.values())
    apart = dict(zip(names, spread(len(names), dim, seed).numpy(), strict=True))
    raw: dict[str, np.ndarray] = {}
    for node, parents in graph.parents.items():
        drawn = unit_length(rng.standard_normal(dim))
        raw[node] = math.sqrt(own[node]) * apart.get(graph.groups.get(node, ""), drawn)
        if parents:
            raw[node] = raw[node] + mean_vector([raw[parent] for parent in parents])
        if node in graph.groups and node not in graph.kinds:
            raw[node] = unit_length(raw[node])
    return raw


def name_words(
    wordnet: WordNet, table: SenseTable, graph: Graph, raw: Mapping[str, Float[np.ndarray, " d"]]
) -> Nouns:
    """Give every word the direction of its senses, and class names that of their class."""
    directions = {node: unit_length(vector) for node, vector in raw.items()}
    classes = {}
    for name, nodes in graph.class_nodes.items():
        total = np.sum([directions[node] for node in nodes], axis=0)
        classes[name.lower()] = unit_length(total)
    vectors, weights = sense_vectors(wordnet, graph, directions)
    for name in classes:  # no other word is spelled as the plural of a class name
        vectors.pop(plural_of(name, wordnet.plurals), None)
    for name, class_sense in table.classes.items():  # a glove is one of "gloves"
        if class_sense.senses:
            for word in wordnet.sense(class_sense.senses[0]).words:
                if plural_of(word.lower(), wordnet.plurals) == name.lower():
                    vectors[word.lower()] = classes[name.lower()]
    for name, words in table.words.items():
        vectors |= dict.fromkeys(words, classes[name.lower()])
        weights |= dict.fromkeys(words, CLASS_WEIGHT / 2)
    vectors |= classes
    weights |= dict.fromkeys(classes, CLASS_WEIGHT)
    matrix = torch.from_numpy(np.stack(list(vectors.values()))).float()
    return Nouns(
        tuple(vectors),
        matrix,
        np.array([weights[word] for word in vectors]),
        tuple(classes),
        wordnet.plurals,
    )


def sense_vectors(
    wordnet: WordNet, graph: Graph, directions: Mapping[str, Float[np.ndarray, " d"]]
) -> tuple[dict[str, Float[np.ndarray, " d"]], dict[str, float]]:
    """Return direction and weight of every word that means more than an individual: its senses, by squared scores."""
    under = nodes_under(graph, frozenset(graph.groups))
    taxa = nodes_under(
        graph, frozenset(sense.synset.wnid for sense in wordnet.senses.get(TAXA, ()))
    )
    everyday = set(EVERYDAY_NOUNS.split())
    vectors: dict[str, np.ndarray] = {}
    weights: dict[str, float] = {}
    for word, senses in wordnet.senses.items():
        scores = sense_scores(senses, under)
        if not scores.any():
            continue
        rows = np.stack([directions[sense.synset.wnid] for sense in senses])
        vectors[word] = unit_length(scores**2 @ rows)
        best = senses[int(scores.argmax())].synset
        weights[word] = word_weight(word, senses, best, wordnet.gloss_counts.get(word, 0))
        if best.wnid in taxa:
            weights[word] *= TAXON
        elif word in everyday:
            weights[word] += EVERYDAY
    return vectors, weights


def nodes_under(graph: Graph, nodes: frozenset[str]) -> frozenset[str]:
    """Return some nodes and all that is a kind of them."""
    below = set(nodes)
    for node, parents in graph.parents.items():
        if not below.isdisjoint(parents):
            below.add(node)
    return frozenset(below)


def word_weight(word: str, senses: Sequence[Sense], synset: Synset, in_glosses: int) -> float:
    """Return how much a word that means a synset matters: visible and common ones more, scientific names less.

    How common a word is shows in how often WordNet tags it and uses it in its glosses.
    """
    common = 1 + math.log1p(sum(sense.count for sense in senses)) + 0.7 * math.log1p(in_glosses)
    weight = visibility(synset) * common
    return weight * RARE if is_scientific_name(word, synset) else weight


def is_scientific_name(word: str, synset: Synset) -> bool:
    """Tell whether a word (lower case) is a name of several parts with capital letters of an animal or a plant."""
    if synset.lexname not in ("animal", "plant") or " " not in word:
        return False
    for spelling in synset.words:
        if spelling.lower() == word:
            return spelling != word
    return False


def spread(count: int, dim: int, seed: int) -> Float[Tensor, "n d"]:
    """Draw vectors of length 1 and push them apart, as far as so many fit into the space."""
    generator = torch.Generator().manual_seed(seed)
    vectors = F.normalize(torch.randn(count, dim, generator=generator), dim=1)
    for _ in range(200):
        likeness = vectors @ vectors.T
        likeness.fill_diagonal_(0.0)
        vectors = F.normalize(vectors - 0.5 * likeness.pow(3) @ vectors, dim=1)
    return vectors


def mean_vector(vectors: Sequence[Float[np.ndarray, " d"]]) -> Float[np.ndarray, " d"]:
    """Return the mean of some vectors, lengthened to their mean length; unlike vectors do not shorten each other."""
    mean = np.mean(vectors, axis=0)
    length = np.mean([np.linalg.norm(vector) for vector in vectors])
    return np.asarray(mean * length / max(float(np.linalg.norm(mean)), 1e-9))


def unit_length(vector: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """Scale a vector to length 1; zero stays zero."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def plural_of(word: str, irregular: Mapping[str, Sequence[str]]) -> str:
    """Return the plural of a word, of its last part where it has several."""
    first, gap, last = word.rpartition(" ")
    if last in irregular:
        return first + gap + irregular[last][0]
    if last.endswith("s") and not last.endswith("ss"):
        return word
    if last.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if last.endswith("y") and len(last) > 1 and last[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"
