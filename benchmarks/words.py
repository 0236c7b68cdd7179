"""How well a phrase tower knows words: nearest class names, traps, phrases with attributes.

    python benchmarks/words.py runs/tower            # a folder of seem.recipes.tower
    python benchmarks/words.py shipped               # the text tower of the embedded model

A word's right classes are those that WordNet puts above its likeliest sense. "held out" are the words that
`seem.recipes.tower --hold-out` keeps from training: only for such a tower are they unseen. "everyday" are synonyms and
narrower words written down by hand, without a look at WordNet.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seem.checkpoints.safe import read_tensors
from seem.config import nano
from seem.models.text.encoder import TextEncoder
from seem.models.text.tokenizer import BytePairTokenizer, read_merges
from seem.recipes.directions import (
    Graph,
    Nouns,
    build_graph,
    build_nouns,
    nodes_under,
    sense_scores,
)
from seem.recipes.phrases import held_out
from seem.recipes.senses import SenseTable, shipped_table
from seem.recipes.tower import MERGES_FILE, WEIGHTS_FILE, TowerConfig, encode_texts_of_tower
from seem.recipes.wordnet import WordNet
from seem.vocabulary import Vocabulary, imagenet_synsets

EVERYDAY = """
dog: pooch, mutt, beagle, poodle, chihuahua, greyhound, spaniel, corgi
cat: moggy, tomcat, feline, siamese cat
horse: stallion, mare, colt
cow: heifer, steer, bullock
sheep: ewe, lamb
bird: sparrow, seagull, eagle, owl, mallard, robin, hen, penguin, crow
bear: grizzly, polar bear
car: saloon car, limousine, convertible, hatchback, cabriolet, minivan
truck: lorry, pickup, dump truck
boat: trawler, dinghy, tugboat, gondola, sloop, rowboat, catamaran
airplane: jumbo jet, biplane, seaplane, glider, airliner
train: steam train, express train, freight train
bicycle: tandem, mountain bike
motorcycle: moped
chair: armchair, recliner, rocking chair, deck chair, highchair
couch: settee, divan, futon, loveseat
bed: bunk bed, hammock, four-poster
refrigerator: fridge, freezer
oven: stove
tv: telly, television
cell phone: smartphone
clock: wristwatch, alarm clock, grandfather clock
cup: mug, teacup, tumbler
wine glass: goblet
bottle: carafe, flask, beer bottle
knife: dagger, cleaver, penknife
spoon: teaspoon, ladle
backpack: rucksack, knapsack, satchel
umbrella: parasol
suitcase: valise, luggage
tie: necktie, bow tie
person: toddler, policeman, surgeon, nurse, bride, fireman, woman, boy, grandmother, soldier, waiter, cyclist, skier
apple: granny smith, crab apple
orange: clementine, tangerine
sandwich: cheeseburger, hamburger, club sandwich
cake: cupcake, gateau
donut: cruller
hot dog: frankfurter
book: novel, paperback, textbook
tree: oak, pine, willow, birch, maple
flower: rose, tulip, daisy, sunflower
grass: lawn, meadow
building: skyscraper, church, castle, cathedral
house: cottage, bungalow, mansion, villa
road: avenue, highway, motorway
pavement: sidewalk, footpath
sea: ocean
river: creek, brook
mountain: hill, peak
rock: boulder
gravel: pebble
rug: carpet, doormat
blanket: quilt, duvet
curtain: drapes
pillow: cushion
towel: bath towel
shelf: shelves, bookcase
cabinet: cupboard, wardrobe
sink: washbasin
window: skylight
door: gate
fence: picket fence, hedge
bridge: footbridge, viaduct, suspension bridge
stairs: stairway, staircase
tent: marquee, tepee
broccoli: broccoli floret
carrot: baby carrot
sports ball: soccer ball, baseball, basketball, golf ball, volleyball
"""

TRAPS = """
hot dog: dog; teddy bear: bear; computer mouse: rodent; sea lion: lion; guinea pig: pig; fire engine: locomotive
catfish: cat; eggplant: plant; butterfly: fly; pineapple: apple; crane bird: construction crane; jellyfish: fish
kite bird: kite; bow tie: archery bow; swordfish: sword; dragonfly: dragon; baseball bat: fruit bat; starfish: star
horse chestnut: horse; shoe tree: tree; bird cage: bird; cat food: cat; dog house: dog; car seat: car
"""

PHRASES = """
red car: car; the dog on the left: dog; a man in a blue shirt: person; the big brown horse: horse
white cat on a sofa: cat; old wooden chair: chair; woman with an umbrella: person; the second bus from the right: bus
a small boat near the shore: boat; dog running on grass: dog; black and white cow: cow; cup of coffee: cup
glass of wine: wine glass; slice of pizza: pizza; pile of books: book; a person riding a bicycle: person
open laptop: laptop; two sheep: sheep; closest elephant: elephant; the player holding a bat: person
"""


@dataclass(frozen=True)
class Tower:
    """A phrase tower with its vocabulary."""

    network: TextEncoder
    tokenizer: BytePairTokenizer

    @classmethod
    def open(cls, name: str) -> Tower:
        """Read the shipped tower, or a folder of the recipe."""
        if name == "shipped":
            config, tensors = (
                nano(),
                read_tensors(Path(str(files("seem") / "assets/nano.safetensors"))).tensors,
            )
            network = TextEncoder(config.text, config.decoder.dim)
            network.load_state_dict(
                {key[5:]: t.float() for key, t in tensors.items() if key.startswith("text.")}
            )
            return cls(network.eval(), BytePairTokenizer.nano(config.text.vocabulary_size))
        content = read_tensors(Path(name) / WEIGHTS_FILE)
        settings = TowerConfig(**json.loads(content.metadata["config"]))
        network = TextEncoder(settings.text(), settings.dim)
        network.load_state_dict(content.tensors)
        merges = read_merges((Path(name) / MERGES_FILE).read_bytes(), source=MERGES_FILE)
        return cls(network.eval(), BytePairTokenizer(merges, settings.text().context))

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Encode phrases to vectors of length 1."""
        return encode_texts_of_tower(self.network, self.tokenizer, texts)


class Truth:
    """Which class names are right for a word, by WordNet."""

    def __init__(self, wordnet: WordNet, table: SenseTable, graph: Graph) -> None:
        self.wordnet = wordnet
        self.under = nodes_under(graph, frozenset(graph.groups))
        aliases = {word: name for name, words in table.words.items() for word in words}
        self.coco: dict[str, set[str]] = {}
        for name in Vocabulary.coco_panoptic().phrases:
            for node in graph.class_nodes[aliases.get(name, name)]:
                self.coco.setdefault(node, set()).add(name)
        self.imagenet: dict[str, set[str]] = {}
        for name, node in zip(Vocabulary.imagenet().names, imagenet_synsets(), strict=True):
            self.imagenet.setdefault(node, set()).add(name)

    def right(self, word: str, classes: Mapping[str, set[str]]) -> set[str]:
        """Return the classes above the likeliest sense of a word."""
        senses = self.wordnet.senses.get(word, ())
        scores = sense_scores(senses, self.under)
        if not scores.any():
            return set()
        above = self.wordnet.ancestors(senses[int(np.argmax(scores))].synset.number)
        return set().union(*(classes.get(f"n{number:08d}", set()) for number in above))


def pairs(text: str) -> list[tuple[str, str]]:
    """Read `one: other` entries."""
    entries = (entry for entry in text.replace("\n", ";").split(";") if entry.strip())
    split = (entry.split(":") for entry in entries)
    return [(one.strip(), other.strip()) for one, other in split]


def everyday() -> list[tuple[str, str]]:
    """Return the everyday words with their classes."""
    rows = (line.split(":") for line in EVERYDAY.strip().splitlines())
    return [(word.strip(), name) for name, words in rows for word in words.split(",")]


def nearest(tower: Tower, words: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the nearest class name of every word."""
    return [names[i] for i in (tower(words) @ tower(names).T).argmax(dim=1).tolist()]


def print_words(tower: Tower, truth: Truth, label: str, words: Sequence[str], nouns: Nouns) -> None:
    """Print cosines to the wanted directions and how often the nearest class name is right."""
    targets = torch.stack([nouns[word] for word in words])
    cosine = (tower(words) * targets).sum(dim=1)
    print(f"{label}: cosine to the target mean {cosine.mean():.3f}, median {cosine.median():.3f}")
    lists = (
        ("COCO", Vocabulary.coco_panoptic().phrases, truth.coco),
        ("ImageNet", Vocabulary.imagenet().names, truth.imagenet),
    )
    for name, names, classes in lists:
        judged = [(word, right) for word in words if (right := truth.right(word, classes))]
        nearest_names = nearest(tower, [word for word, _ in judged], list(dict.fromkeys(names)))
        hits = sum(best in right for best, (_, right) in zip(nearest_names, judged, strict=True))
        print(
            f"  nearest of {name}'s names right: {100 * hits / len(judged):.1f}% of {len(judged)}"
        )


def print_pairs(tower: Tower) -> None:
    """Print everyday words, traps and phrases."""
    coco = list(dict.fromkeys(Vocabulary.coco_panoptic().phrases))
    for label, rows in (("everyday", everyday()), ("phrases", pairs(PHRASES))):
        nearest_names = nearest(tower, [word for word, _ in rows], coco)
        own = (tower([word for word, _ in rows]) * tower([name for _, name in rows])).sum(dim=1)
        wrong = [
            f"{word} ({best})"
            for (word, name), best in zip(rows, nearest_names, strict=True)
            if best != name
        ]
        print(
            f"{label}: {len(rows) - len(wrong)} of {len(rows)} right, cosine to the class name {own.mean():.2f}"
        )
        print(f"  wrong: {', '.join(wrong)}")
    rows = pairs(TRAPS)
    likeness = (tower([one for one, _ in rows]) * tower([other for _, other in rows])).sum(dim=1)
    print(
        "traps: "
        + ", ".join(f"{a} / {b} {c:.2f}" for (a, b), c in zip(rows, likeness.tolist(), strict=True))
    )


def print_classes(tower: Tower, nouns: Nouns) -> None:
    """Print how far apart class names are."""
    cosine = (tower(nouns.classes) * nouns.class_vectors).sum(dim=1)
    print(f"class names: cosine to the target mean {cosine.mean():.3f}, lowest {cosine.min():.3f}")
    for label, names in (
        ("COCO", Vocabulary.coco_panoptic().phrases),
        ("ImageNet", Vocabulary.imagenet().names),
    ):
        vectors = tower(list(dict.fromkeys(names)))
        likeness = (vectors @ vectors.T).fill_diagonal_(-1.0)
        closest = likeness.max(dim=1).values
        print(
            f"  {label}: nearest other name mean {closest.mean():.2f}, highest {closest.max():.2f}"
        )


def main() -> None:
    """Print what a tower knows."""
    parser = argparse.ArgumentParser(description="Measure what a phrase tower knows of words.")
    parser.add_argument("towers", nargs="+", help="folders of seem.recipes.tower, or 'shipped'")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wordnet, table = WordNet.open(), shipped_table()
    nouns = build_nouns(wordnet, TowerConfig().dim)
    truth = Truth(wordnet, table, build_graph(wordnet, table))
    held_out_words = held_out(nouns)
    rng = np.random.default_rng(0)
    common = [
        word
        for word, weight in zip(nouns.words, nouns.weights, strict=True)
        if weight >= 2 and word not in held_out_words
    ]
    chosen = [common[i] for i in rng.permutation(len(common))[:2500].tolist()]
    for name in options.towers:
        tower = Tower.open(name)
        print(
            f"== {name}: {sum(p.numel() for p in tower.network.parameters()) / 1e6:.2f} M parameters"
        )
        print_words(tower, truth, "held out", sorted(held_out_words), nouns)
        print_words(tower, truth, "common words", chosen, nouns)
        print_pairs(tower)
        print_classes(tower, nouns)


if __name__ == "__main__":
    main()
