"""What the class names that nano is trained on mean in WordNet 3.0: tables made by hand.

A sense is written `word` (the commonest one) or `word#3` (the third). Class names that are not listed in `CLASSES` mean
the sense that a photo most likely shows; those of ImageNet come with their synsets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from seem.data.classes import class_list
from seem.vocabulary import Vocabulary, imagenet_synsets

CLASSES = """
accessories = accessory#1
angelfish = angelfish#1
apple = apple#1, apple#2
arcade machine < machine, game equipment
back bumper < bumper#2
back glass < rear window
back left door < car door
back left light < taillight
back right door < car door
back right light < taillight
background <
bag = bag#1
balcony railing < railing, balcony#2
banana = banana#1, banana#2
bannister = bannister#2
bar = bar#2, bar#1
barrel = barrel#2
base = base#8
battered tempeh < tempeh
belt = belt#2
bench = bench#1
blind = blind#3
boat = boat#1, vessel#2
bodysuit = body suit
book = book#2, book#1
bookcase = bookcase < shelf#1
booth = booth#1, booth#2, booth#4
boots = boot#1
bowl = bowl#1, bowl#3
box = box#1
bracelet = bracelet#2
braised tempeh < tempeh
braised tofu < tofu
brick wall < wall#1
broccoli = broccoli#1, broccoli#2
building facade = facade#1
bulletin board = bulletin board#2
bus = bus#1 < motor vehicle
cabinet = cabinet#1
cake = cake#3
canopy = canopy#3, canopy#1, canopy#2
cape = cape#2
carrot = carrot#1, carrot#2, carrot#3
case = case#20, case#5, case#18
cell phone = cellular telephone
chest of drawers = chest of drawers
chilli chicken < chicken#1, dish#2
cigarette butt = cigarette butt
clogs = clog#1
clothes = clothing#1
cod fish = cod#3, cod#2
column = column#7, column#6
conveyer belt = conveyer belt
counter = counter#1
cow = cow#1, cattle
crt screen = screen#3
cushion = cushion#3
dirt = soil#2
door = door#1, door#2, door#4
duck = duck#1
earrings = earring
earth = earth#2
escalator = escalator#2
falls = falls#2
field = field#1
fish = fish#1, fish#2
flats = flats#1
floor = floor#1, floor#2
food = food#1, food#2
footwear = footwear#2, footwear#1 < clothing#1
fork = fork#1
fountain = fountain#1, fountain#4
fried catfish = catfish#1
fried tempeh < tempeh
fried tofu < tofu
front bumper < bumper#2
front glass = windshield
front left door < car door
front left light < headlight
front right door < car door
front right light < headlight
fruit = edible fruit, fruit#1
glass = glass#2
gloves = glove#2
gulab jamun < sweet#3, dessert
hair = hair#1, hair#4
handbag = handbag < bag#1
heels < shoe#1
hood = hood#6, hood#4
hoodie < sweatshirt
horse rider < rider#1
hot dog = hot dog#2, hot dog#3
integrated circuit chip = microchip
intimate < underwear
jeans = jean#1
jumper < sweater#1, jumper#4
keyboard = computer keyboard, keyboard#1
kite = kite#3
kite surfer < athlete
knife = knife#1, knife#2
kudzu bug < bug#4
land = land#4
LED = light-emitting diode
left mirror < car mirror
leggings = legging
light = light#2
lion = lion#1
loafers = loafer#2
mackerel = mackerel#2, mackerel#1
mandarin orange = mandarin orange#2, mandarin orange#1
microwave = microwave#2
minibike = minibike
monitor = monitor#4, monitor#5 < television receiver
mouse = mouse#4
mushroom = mushroom#1, mushroom#2, mushroom#3, mushroom#5
net = net#2, net#5, net#4
non-building infrastructure < structure#1
orange = orange#1, orange#3
otter = otter#2
ottoman = ottoman#3, ottoman#4
palm = palm#3
panties = pantie
pants = trouser#1
paper = paper#1, paper#4
paraglider < parachutist
path = path#2
pavement = pavement#1, sidewalk#1
person on swing < person#1
person with stroller < person#1
plant = plant#2
playingfield = playing field#2
pole = pole#1
pool = pool#1 < body of water
poster = poster#1
pot = pot#1, pot#4
potted plant < houseplant, pot plant
pumps = pump#3
purse = purse#3
push button = push button
radiator = radiator#2, radiator#3
rail = rail#1
railroad = railroad#1, railroad#2
remote = remote control
rice = rice#1, rice#2
right mirror < car mirror
ring = ring#8
river = river#1, stream#1
rock = rock#1, rock#2
romper = romper#2
runway = runway#3, runway#4
sandals = sandal
sconce = sconce#3
screen = screen#3, screen#1
seat = seat#3
ship = ship < boat#1
shoes = shoe#1
shop front = shopfront
sink = sink#1
skirt = skirt#2
skis = ski
slice of bread < bread#1
sneakers = gym shoe
snow = snow#2, snow#1
soapbox cart < cart#1
socks = sock#1
sports ball = ball#1
stage = stage#3
steamed tempeh < tempeh
steamed tofu < tofu
step = step#4, step#10
stockings = stocking#1
stone wall = stone wall < wall#1
stop sign < street sign
stove = stove#1 < oven
strawberry = strawberry#1, strawberry#2
street lamp = street lamp
swimwear = swimsuit
swivel chair = swivel chair
table = table#2
tailgate = tailgate
tandoori chicken < chicken#1, dish#2
tank = tank#2
teddy bear = teddy bear
tempeh < dish#2
tiger = tiger#2
tiled wall < wall#1
toaster = toaster#2
toilet = toilet#2
top = top#10
tower = tower#1
toy train < train#1, toy#1
traffic infrastructure < structure#1, signal#1
traffic sign = street sign
train = train#1 < vehicle#1
trash can = ashcan
trunk = luggage compartment
turtle = turtle#2
tv = television receiver, television#2
van = van#5, van#3
vegetation = vegetation#1
wall = wall#1, wall#6
wardrobe = wardrobe#1 < cabinet#1
washer = washer#3
water = water#1, body of water
wedges < shoe#1
wheel = car wheel, wheel#1
window = window#1, window#2, window#3
windsurfer < surfer
wine glass = wineglass
wooden floor < floor#1
wooden wall < wall#1
"""
"""`name = sense, ...` means these synsets; `name < sense, ...` is no word of WordNet and a kind of these.

`name = sense < sense` adds a kind that WordNet does not know of.
"""

FURTHER = """
blazer, blouse, bra, capacitor, cardigan, coat, crowd, cyclist, deer, dress, fire truck, flamingo, glasses, goat, hat,
ice cream, jacket, motorcyclist, necklace, orchid, pig, rabbit, resistor, rhesus monkey, rhino, scarf, shirt, shorts,
skin, soccer ball, street, suit, sunglasses, swan, sweater, sweatshirt, t-shirt, tights, tofu, tree branch, tree trunk,
vest, wallet, watch, window blind
"""
"""Class names of the photo sets that mean their most visible sense, beside those of COCO and ADE20K."""

KINDS = """
animal: 0.3 ; insect: 0.2 ; reptile: 0.1 ; plant#2: 0.3 ; fungus: 0.25
food#2: 0.3 ; food#1: 0.15 ; vegetable#1: 0.2 ; dish#2: 0.15 ; baked goods: 0.15 ; beverage: 0.2
clothing#1: 0.3 ; footwear#1: 0.2 ; headdress: 0.15 ; jewelry: 0.25 ; fabric#1: 0.3
vehicle#1: 0.3 ; vessel#2: 0.15 ; aircraft: 0.15
furniture: 0.3 ; seat#3: 0.2 ; container#1: 0.15 ; tableware: 0.2 ; cooking utensil: 0.15 ; kitchen utensil: 0.15
musical instrument: 0.3 ; tool#1: 0.2 ; weapon#1: 0.3
home appliance: 0.25 ; electronic equipment: 0.25 ; electronic device: 0.25 ; computer#1: 0.15
structure#1: 0.1 ; room#1: 0.3 ; barrier#1: 0.1 ; geological formation: 0.25
sports equipment: 0.25 ; game equipment: 0.1 ; plaything: 0.2
body part: 0.3 ; substance#1: 0.1 ; abstraction#6: 0.1
"""
"""Broad synsets and the squared length of their own part, `sense: part`: what all that is below them shares.

A class that is one of them, such as "animal", has this part instead of a class's own.
"""

ALSO = """
alley < street ; asphalt#1 < road ; beach < sand ; bedspread < blanket ; bouquet#1 < flower#1
calf < cow#1 ; castle#2 < building ; cliff < rock#1 ; cloud#2 < sky ; countertop < counter#1
cupboard < cabinet#1 ; drawer < cabinet#1 ; foal < horse ; handbasin < sink#1
kitten < cat ; lamb#1 < sheep#1 ; lane#1 < street ; lawn < grass ; ladle < spoon ; lily < flower#1
locomotive < train#1 ; log#1 < tree trunk ; mat#1 < rug ; mattress < bed ; meadow < grass ; mug#4 < cup#1
netting#1 < net#2 ; newspaper#3 < paper#1 ; ocean < sea ; parasol < umbrella ; pebble < gravel ; pendant#1 < necklace
piglet < pig ; puddle < water#1 ; quilt < blanket ; rooftop < roof ; rose#1 < flower#1
satchel < bag#1 ; settee < couch ; snowfield < snow#2 ; streetcar < train#1 ; toilet bowl < toilet#2
tulip < flower#1 ; twig < tree branch ; windowpane < window#1 ; wristband < bracelet#2
"""
"""Hypernyms that a photo suggests and WordNet lacks, `sense < sense`."""

WORDS: Mapping[str, str] = {
    "cyclist": "bicyclist",
    "airplane": "aeroplane, jetliner, passenger jet",
    "background": "nothing, something else",
    "backpack": "school bag, daypack",
    "bicycle": "bike, cycle, e-bike, pushbike, road bike",
    "bus": "double decker",
    "car": "suv, sport utility vehicle, hatchback, minicab",
    "cat": "kitty cat, pussycat",
    "cell phone": "smartphone, mobile, cellphone, iphone, mobile phone",
    "couch": "loveseat, sofa bed",
    "cup": "mug, tea mug",
    "curtain": "drapes",
    "donut": "doughnut",
    "hair drier": "hairdryer, hair dryer, blow dryer, blowdryer",
    "handbag": "hand bag, tote bag",
    "heels": "high heels, stilettos, heeled shoes",
    "hoodie": "hooded sweatshirt, hooded top",
    "fire hydrant": "hydrant",
    "hot dog": "hotdog",
    "keyboard": "pc keyboard",
    "laptop": "laptop computer, notebook computer, macbook",
    "leggings": "jeggings",
    "motorcycle": "motorbike",
    "mouse": "computer mouse, pc mouse",
    "person": "people, human, human being, adult, skateboarder, snowboarder, tennis player, jogger, tourist",
    "playingfield": "playing field, sports field, football pitch, soccer field",
    "potted plant": "houseplant, pot plant, house plant",
    "refrigerator": "fridge freezer",
    "remote": "tv remote, remote controller",
    "shelf": "shelves, bookshelves",
    "skis": "pair of skis",
    "sneakers": "trainers, running shoes",
    "stop sign": "red octagonal sign",
    "street lamp": "street light, lamp post, lamppost",
    "suitcase": "trolley case, roller bag",
    "teddy bear": "stuffed bear, plush bear, teddy, stuffed animal, plush toy, soft toy, stuffed toy",
    "toothbrush": "electric toothbrush",
    "traffic light": "stop light",
    "traffic sign": "road sign, sign, sign symbol",
    "tv": "tv monitor, television, television set, tv set, telly, flat screen tv",
    "brick wall": "wall-brick",
    "stone wall": "wall-stone",
    "tiled wall": "wall-tile, tile wall",
    "wooden wall": "wall-wood, wood wall",
    "wooden floor": "floor-wood, hardwood floor, parquet floor",
    "window blind": "window-blind",
    "t-shirt": "tshirt",
    "wine glass": "stemmed glass",
}
"""Further words for class names: those that WordNet 3.0 does not know, or knows by another sense first."""


@dataclass(frozen=True, slots=True)
class ClassSense:
    """The synsets that a class name means, and what else it is a kind of: senses as `word#rank`.

    Without any synset it is no word of WordNet. `is_open`: nothing is known, its most visible sense is meant.
    """

    senses: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class SenseTable:
    """All that is known about words beside WordNet.

    `classes` are the names of our photo sets, `fine` those of ImageNet with their synsets (n01440764), `kinds` broad
    senses with their parts, `also` further hypernyms, `words` further words for classes.
    """

    classes: Mapping[str, ClassSense]
    fine: Mapping[str, str]
    kinds: Mapping[str, float]
    also: tuple[tuple[str, str], ...]
    words: Mapping[str, tuple[str, ...]]


@cache
def shipped_table() -> SenseTable:
    """Return the tables of this module with the class names of COCO, ADE20K, ImageNet and the photo sets."""
    words = {name: split(others) for name, others in WORDS.items()}
    others = {word for group in words.values() for word in group}
    names = [
        *Vocabulary.coco_panoptic().phrases,
        *(category.text for category in class_list("ade20k")),
    ]
    names += split(FURTHER.replace("\n", " "))
    classes = {
        name: ClassSense(is_open=True) for name in names if name not in others
    } | parse_classes(CLASSES)
    fine = dict(zip(Vocabulary.imagenet().names, imagenet_synsets(), strict=True))
    return SenseTable(classes, fine, parse_kinds(KINDS), parse_pairs(ALSO), words)


def parse_classes(text: str) -> dict[str, ClassSense]:
    """Read lines of `CLASSES`."""
    classes = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        left, is_new, parents = line.partition("<")
        name, _, senses = left.partition("=")
        classes[name.strip()] = ClassSense(split(senses), split(parents) if is_new else ())
    return classes


def parse_kinds(text: str) -> dict[str, float]:
    """Read entries of `KINDS`."""
    pairs = (entry.split(":") for entry in entries(text))
    return {sense.strip(): float(share) for sense, share in pairs}


def parse_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Read entries of `ALSO`."""
    pairs = (entry.split("<") for entry in entries(text))
    return tuple((sense.strip(), parent.strip()) for sense, parent in pairs)


def entries(text: str) -> list[str]:
    """Return what stands between semicolons or line ends, without empty entries."""
    return [entry.strip() for entry in text.replace("\n", ";").split(";") if entry.strip()]


def split(text: str) -> tuple[str, ...]:
    """Return the entries of a list with commas, without empty ones."""
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())
