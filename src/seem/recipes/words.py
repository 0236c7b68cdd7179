"""What words mean before any photo is seen: the text tower of nano is made here, in a few minutes, and then kept.

A small tower that learns its words together with the images gathers all names in one direction while the features
cannot tell classes apart yet, and stays there. So every class name gets a direction of its own beforehand, in part
shared with its kind (all animals have something in common, as do all vehicles), and the tower learns to say these
directions for names, their synonyms and plurals, and for phrases about them. The image network then learns to match.

Directions are drawn from a seed; `KINDS` is all that is known about words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from seem.models.segmenter import unit_vectors
from seem.models.text.encoder import TextEncoder
from seem.recipes.directions import spread as directions
from seem.recipes.phrases import JOINS, QUALITIES
from seem.training.phrases import PhraseTokenizer

KINDS: Mapping[str, str] = {
    "person": """
        person = man, woman, boy, girl, child, kid, lady, guy, baby, human, someone, player, skier, surfer,
        tennis player, skateboarder, snowboarder, baseball player, worker, dancer, pedestrian, people, adult,
        player in white
        motorcyclist = biker, motorbike rider
        cyclist = bicyclist, bike rider
        horse rider = rider, jockey
        kite surfer = kitesurfer
        windsurfer = wind surfer
        paraglider = person with a parachute
        person on swing = child on a swing
        person with stroller = woman with a stroller, person pushing a pram
        crowd = group of people, audience
    """,
    "animal": """
        dog = puppy, hound, terrier
        cat = kitten, kitty, tabby
        horse = pony, foal, mare
        cow = cattle, bull, calf, ox
        sheep = lamb, ram, goat
        bird = parrot, sparrow, gull, pigeon, eagle
        duck = goose, swan
        flamingo = pink bird
        bear = grizzly, polar bear
        elephant = baby elephant
        giraffe = young giraffe
        zebra = striped animal
        rhino = rhinoceros
        deer = stag, reindeer
        tiger = big cat
        lion = lioness
        otter = sea otter
        turtle = tortoise
        rhesus monkey = monkey, ape
        pig = hog, piglet
        rabbit = bunny, hare
        fish = goldfish
        mackerel = raw fish
        teddy bear = stuffed animal, plush toy, stuffed bear
    """,
    "vehicle": """
        car = automobile, sedan, taxi, cab, suv, jeep
        truck = lorry, pickup, pickup truck, van
        fire truck = fire engine
        bus = coach, minibus, double decker
        train = locomotive, tram, subway train, railcar
        toy train = model train
        motorcycle = motorbike, scooter, moped
        bicycle = bike, cycle, mountain bike
        airplane = plane, aeroplane, jet, aircraft, airliner
        boat = ship, canoe, sailboat, ferry, yacht, kayak
    """,
    "street": """
        traffic light = traffic signal, stoplight
        stop sign = red octagonal sign
        traffic sign = sign, sign symbol, road sign
        fire hydrant = hydrant
        parking meter = meter
        bench = park bench
        pole = lamp post, street lamp, column pole, lamp
        traffic infrastructure = street furniture
        non-building infrastructure = infrastructure
        shop front = shop window, storefront
        banner = poster, billboard
    """,
    "furniture": """
        chair = armchair, stool, seat, office chair
        couch = sofa, settee, loveseat
        bed = mattress, bunk bed
        dining table = kitchen table
        table = desk, coffee table, side table
        cabinet = cupboard, dresser, wardrobe, drawer
        shelf = bookshelf, bookcase
        counter = countertop, worktop
        toilet = toilet bowl, lavatory
        sink = basin, washbasin
        mirror = looking glass
        light = ceiling light, chandelier, lampshade
        curtain = drape, drapes
        window blind = blind, shutter, window-blind
        rug = carpet, mat
        blanket = bedspread, quilt
        pillow = cushion
        towel = cloth
    """,
    "plant": """
        potted plant = houseplant, plant, pot plant, plant pot
        flower = flowers, rose, bouquet
        tree = trees, palm tree, bush, shrub
        tree branch = branch, twig
        tree trunk = trunk, log
        vegetation = foliage, leaves, plants
        grass = lawn, meadow, field
    """,
    "electronics": """
        tv = television, tv monitor, monitor, screen, television set, computer screen
        laptop = notebook computer, laptop computer
        keyboard = computer keyboard
        mouse = computer mouse
        remote = remote control
        cell phone = phone, mobile phone, smartphone, cellphone
        clock = wall clock, alarm clock
        LED = light emitting diode
        integrated circuit chip = chip, microchip
        resistor = electrical resistor
        capacitor = condenser
        push button = button
    """,
    "appliance": """
        oven = stove, cooker
        microwave = microwave oven
        refrigerator = fridge, freezer
        toaster = bread toaster
        hair drier = hairdryer, hair dryer, blow dryer
    """,
    "tableware": """
        cup = mug, coffee cup, teacup
        bottle = wine bottle, water bottle, beer bottle
        wine glass = glass, goblet, drinking glass
        bowl = soup bowl, dish
        plate = saucer, dinner plate
        fork = forks
        knife = knives, blade
        spoon = teaspoon, spoons
        vase = flower vase, jar, pot
    """,
    "food": """
        food = meal, snack
        banana = bananas
        apple = apples
        orange = oranges
        mandarin orange = mandarin, tangerine
        strawberry = strawberries, berry
        fruit = fruits
        broccoli = vegetable, vegetables
        carrot = carrots
        mushroom = mushrooms, fungus
        pizza = slice of pizza
        sandwich = burger, hamburger
        hot dog = sausage, hotdog
        donut = doughnut, donuts
        cake = birthday cake, cupcake, pastry
        slice of bread = bread, toast, loaf
        rice = cooked rice
        tofu = bean curd
        fried tofu = crispy tofu
        braised tofu = stewed tofu
        steamed tofu = soft tofu
        tempeh = soybean cake
        fried tempeh = crispy tempeh
        braised tempeh = stewed tempeh
        steamed tempeh = soft tempeh
        battered tempeh = tempeh in batter
        fried catfish = catfish, fried fish
    """,
    "sports": """
        sports ball = ball, tennis ball, baseball, basketball
        soccer ball = football
        frisbee = flying disc
        skis = ski
        snowboard = snow board
        skateboard = skate board
        surfboard = surf board
        kite = kites
        baseball bat = bat
        baseball glove = catcher's mitt, mitt
        tennis racket = racket, racquet
    """,
    "belongings": """
        backpack = rucksack
        handbag = hand bag
        purse = clutch, pocketbook
        bag = tote bag, shopping bag
        suitcase = luggage, suitcases
        wallet = billfold
        umbrella = parasol
        book = books, magazine, notebook
        scissors = pair of scissors
        toothbrush = tooth brush
        cigarette butt = cigarette, cigarette end
        paper = sheet of paper, newspaper
        cardboard = cardboard box, box, carton
        net = netting
        tent = camping tent
    """,
    "clothing": """
        shirt = button shirt
        t-shirt = tee shirt, tee
        top = tank top
        blouse = tunic
        sweater = pullover, knitwear
        jumper = knitted jumper
        sweatshirt = sweat shirt
        hoodie = hooded sweatshirt
        cardigan = knit jacket
        vest = waistcoat
        jacket = leather jacket, anorak
        blazer = sport coat
        coat = overcoat, trench coat, winter coat
        cape = poncho, cloak
        suit = business suit
        dress = gown, frock
        romper = playsuit, jumpsuit
        bodysuit = leotard
        skirt = miniskirt
        pants = trousers, slacks
        jeans = denim, denim pants
        shorts = short pants
        leggings = jeggings
        tights = pantyhose
        stockings = nylons
        socks = sock
        bra = bikini top
        shoes = shoe, footwear
        sneakers = sneaker, trainers
        boots = boot
        heels = high heels, stilettos
        pumps = court shoes
        sandals = sandal, flip flops
        flats = ballet flats
        loafers = slip-on shoes
        wedges = platform shoes
        hat = cap, beanie, straw hat
        scarf = shawl
        gloves = glove, mittens
        belt = waist belt
        tie = necktie, bow tie
        accessories = accessory, jewelry
    """,
    "worn": """
        sunglasses = shades
        glasses = eyeglasses, spectacles
        watch = wristwatch
        bracelet = bangle, wristband
        necklace = pendant
        ring = finger ring
        earrings = earring
    """,
    "body": """
        skin = face, arm, hand, leg
        hair = ponytail, blond hair
    """,
    "building": """
        building = skyscraper, tower, apartment block
        building facade = facade
        house = cottage, hut, barn, home
        roof = rooftop
        bridge = footbridge, overpass
        stairs = staircase, steps
        window = window pane
        door = doorway, gate
        balcony railing = balcony, railing
        wall = walls, plaster wall
        brick wall = wall of bricks, wall-brick
        stone wall = wall of stones, wall-stone
        tiled wall = wall of tiles, wall-tile
        wooden wall = wall of planks, wall-wood
        fence = hedge fence, picket fence
        ceiling = ceilings
        floor = tiled floor
        wooden floor = parquet, floorboards, floor-wood
    """,
    "ground": """
        road = roads, asphalt
        street = lane, alley
        pavement = sidewalk, footpath
        platform = train platform
        railroad = railway, rail track, tracks
        playingfield = playing field, pitch, court, sports field
        dirt = soil, earth, ground, mud
        gravel = pebbles
        sand = beach, shore
        snow = snowfield, ski slope
        rock = rocks, boulder, stone, cliff
    """,
    "far": """
        sky = clouds, blue sky, cloud
        mountain = hill, mountains, hills
        sea = ocean, waves, wave
        water = pool, puddle
        river = stream, creek
    """,
    "nothing": """
        background = nothing, something else
    """,
}
"""Names by their kind, one a line, each followed by other words for it."""

KIND_WORDS: Mapping[str, Sequence[str]] = {
    "animal": ("animal", "animals", "creature", "pet"),
    "vehicle": ("vehicle", "vehicles"),
    "furniture": ("furniture", "piece of furniture"),
    "plant": ("greenery", "vegetal"),
    "electronics": ("electronics", "device", "gadget"),
    "appliance": ("appliance", "kitchen appliance"),
    "tableware": ("tableware", "dishes", "cutlery"),
    "food": ("something to eat", "dish of food"),
    "sports": ("sports equipment", "sports gear"),
    "clothing": ("clothes", "clothing", "garment", "outfit"),
    "building": ("architecture", "structure"),
}
"""What means a whole kind."""

TEMPLATES = (
    "{q}{n}", "{q}{n}", "a {q}{n}", "the {q}{n}", "the {q}{n}", "a photo of a {q}{n}.", "the {n} on the {q}",
    "all {q}{n}", "this {q}{n}", "some {q}{n}",
)  # fmt: skip
"""How names are said; `{q}` is a quality or nothing, `{n}` the name."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of a name's direction is its own, its kind's, and everybody's: squares of the parts, 1 in all."""

    own: float = 0.65
    kind: float = 0.3
    quality: float = 0.15
    """Square of the part that a quality adds."""
    beside: float = 0.1
    """Square of the part that a second noun adds."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Directions of all that can be said: of names and kinds by every word for them, of qualities."""

    nouns: Mapping[str, Float[Tensor, " d"]]
    qualities: Mapping[str, Float[Tensor, " d"]]
    names: tuple[str, ...]
    shares: Shares = field(default_factory=Shares)

    @classmethod
    def draw(cls, dim: int, seed: int = 0, shares: Shares = Shares()) -> Lexicon:
        """Give every name, kind and quality a direction in `dim` dimensions."""
        kinds = {kind: parse(lines) for kind, lines in KINDS.items()}
        count = 1 + len(kinds) + sum(len(names) for names in kinds.values()) + len(QUALITIES)
        rows = iter(directions(count, dim, seed))
        common = next(rows)
        remaining = math.sqrt(max(0.0, 1 - shares.own - shares.kind))
        nouns: dict[str, Tensor] = {}
        for kind, names in kinds.items():
            shared = next(rows)
            for name, others in names.items():
                vector = (
                    math.sqrt(shares.own) * next(rows)
                    + math.sqrt(shares.kind) * shared
                    + remaining * common
                )
                nouns |= dict.fromkeys((name, *others), F.normalize(vector, dim=0))
            for word in KIND_WORDS.get(kind, ()):
                nouns[word] = F.normalize(
                    math.sqrt(shares.kind) * shared + remaining * common, dim=0
                )
        names_of_all = tuple(name for names in kinds.values() for name in names)
        return cls(nouns, dict(zip(QUALITIES, rows, strict=True)), names_of_all, shares)

    def phrase(self, rng: np.random.Generator) -> tuple[str, Float[Tensor, " d"]]:
        """Say something, with the direction of what is meant."""
        words = list(self.nouns)
        noun = words[int(rng.integers(len(words)))]
        vector = self.nouns[noun]
        quality = ""
        if rng.random() < 0.4:
            quality = QUALITIES[int(rng.integers(len(QUALITIES)))]
            vector = vector + math.sqrt(self.shares.quality) * self.qualities[quality]
        template = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
        if template.endswith("{q}") and not quality:
            template = "the {n}"
        form = f"{noun}s" if rng.random() < 0.15 and not noun.endswith("s") else noun
        gap = "" if template.endswith("{q}") or not quality else " "
        text = template.format(q=quality + gap, n=form)
        if rng.random() < 0.25:
            other = words[int(rng.integers(len(words)))]
            text = text.rstrip(".") + JOINS[int(rng.integers(len(JOINS)))] + other
            vector = vector + math.sqrt(self.shares.beside) * self.nouns[other]
        return text, F.normalize(vector, dim=0)


def parse(lines: str) -> dict[str, tuple[str, ...]]:
    """Read `name = word, word` lines; a line that ends in a comma goes on in the next."""
    entries = {}
    for row in re.sub(r",\s*\n", ", ", lines).splitlines():
        if row.strip():
            name, others = row.split("=", 1)
            entries[name.strip()] = tuple(word.strip() for word in others.split(","))
    return entries


def teach_words(
    tower: TextEncoder,
    book: PhraseTokenizer,
    lexicon: Lexicon,
    steps: int = 450,
    batch: int = 80,
    seed: int = 0,
) -> list[float]:
    """Train a text tower, in place, to say the lexicon's directions; every other name comes in every step.

    Returns the loss of every step.
    """
    rng = np.random.default_rng(seed)
    anchors = torch.stack([lexicon.nouns[name] for name in lexicon.names])
    trained = [p for name, p in tower.named_parameters() if name != "logit_scale"]
    losses = []
    optimizer = torch.optim.AdamW(trained, lr=2e-3, weight_decay=0.01, betas=(0.9, 0.98))
    for step in range(steps):
        rate = min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = 2e-3 * max(rate, 0.01)
        pairs = [lexicon.phrase(rng) for _ in range(batch)]
        named = torch.from_numpy(rng.permutation(len(anchors))[: len(anchors) // 2])
        texts = [*(lexicon.names[i] for i in named.tolist()), *(text for text, _ in pairs)]
        targets = torch.cat((anchors[named], torch.stack([vector for _, vector in pairs])))
        vectors = unit_vectors(tower(*book(texts)).phrases)
        loss = (1 - (vectors * targets).sum(dim=1)).mean()
        # the words of one name are nearer to it than to any other
        loss = loss + 0.1 * F.cross_entropy(vectors[: len(named)] @ anchors.T * 20, named)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
