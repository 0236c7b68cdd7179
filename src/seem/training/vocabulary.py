"""Make nano's byte-pair vocabulary from the texts that may go into shipped weights.

    python -m seem.training.vocabulary --data ../shared/data --out src/seem/assets/nano_bpe.txt.gz

Texts: captions, phrases and category names of the train photos of the sets below, the 133 COCO panoptic names, a list
of everyday words and the prompt templates. One core needs a few seconds, and the same texts give the same bytes.
"""

import argparse
import gzip
import io
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from seem.models.text.templates import TEMPLATES, clean_name
from seem.models.text.tokenizer import BEGIN, BYTE_CHARACTERS, BYTE_ORDER, END, WORD_END, find_words

NANO_SIZE = 4096
HEADER = "#version: seem nano, one merge a line"

# The data README marks these as free for shipped weights; of open_mix only two groups of photos are.
SHIPPABLE_SETS = (
    "coco_full",
    "coco_person",
    "davis2016",
    "ccp",
    "voc_animals",
    "voc_general",
    "open_mix",
)
SHIPPABLE_GROUPS = {"open_mix": ("A", "B")}

# A name or an everyday word is worth this many captions that mention it: such words should be one token, or two.
NAME_WEIGHT = 40
WORD_WEIGHT = 8

EVERYDAY_NOUNS = """
wall building sky floor tree ceiling road bed windowpane grass cabinet sidewalk person earth door table mountain plant
curtain chair car water painting sofa shelf house sea mirror rug field armchair seat fence desk rock wardrobe lamp
bathtub railing cushion base box column signboard sign chest drawers counter sand sink skyscraper fireplace
refrigerator grandstand path stairs runway case pool pillow screen stairway river bridge bookcase blind coffee toilet
flower book hill bench countertop stove palm kitchen island computer swivel boat bar arcade hovel bus towel light truck
tower chandelier awning streetlight booth television airplane dirt track apparel pole land bannister escalator ottoman
bottle buffet poster stage van ship fountain conveyor belt canopy washer plaything swimming stool barrel basket
waterfall tent bag motorbike cradle oven ball food step tank trade brand microwave pot animal bicycle lake dishwasher
blanket sculpture hood sconce vase traffic ashtray fan pier crt plate monitor bulletin board shower radiator glass
clock flag man woman child boy girl baby people crowd player rider driver worker face head hair eye ear nose mouth hand
arm finger leg foot shoulder back neck shirt trousers pants jeans shorts skirt dress coat jacket sweater hoodie suit
vest tie scarf glove hat cap helmet shoe boot sandal sneaker sock glasses sunglasses watch ring necklace earrings
bracelet purse wallet backpack suitcase umbrella dog cat horse cow sheep goat pig bear zebra giraffe elephant lion
tiger leopard monkey deer rabbit squirrel mouse fox wolf camel kangaroo panda koala bird duck goose swan chicken owl
eagle parrot penguin pigeon seagull flamingo peacock fish shark whale dolphin turtle frog snake lizard crocodile
butterfly bee spider ant crab insect puppy kitten apple banana orange lemon pear grape strawberry pineapple melon
watermelon peach cherry berry mango tomato potato carrot broccoli onion pepper cucumber lettuce cabbage pumpkin
mushroom corn bean rice pasta noodle bread cake cookie pie pizza sandwich hamburger burger hotdog donut cheese egg meat
steak sausage soup salad chocolate candy cream milk juice beer wine tea cup mug bowl dish fork knife spoon chopsticks
pan kettle tray jar can lid napkin tablecloth candle phone cellphone laptop keyboard remote camera printer speaker
headphones microphone cable toaster blender fridge tv radio toothbrush hairdryer soap scissors pen pencil paper
notebook newspaper envelope letter card ruler hammer saw screwdriver wrench drill axe ladder rope chain nail screw
bucket shovel broom brush sponge hose motorcycle scooter taxi train tram wagon tractor trailer ambulance helicopter
balloon rocket kayak canoe sailboat wheel tire handlebar windshield window roof chimney balcony gate arch porch garage
barn church castle temple statue tomb street lane crosswalk intersection parking hydrant meter mailbox bin trash
garbage cone barrier wire antenna crane skateboard surfboard snowboard ski kite frisbee bat racket net goal golf tennis
baseball football basketball soccer guitar piano violin drum trumpet toy doll teddy robot puzzle dice game bush hedge
leaf branch trunk root log stump moss ivy vine cactus fern rose tulip sunflower lily daisy garden lawn forest wood
beach coast shore ocean wave pond stream cliff cave desert valley snow ice cloud sun moon star rainbow smoke fire
shadow reflection background foreground object thing stuff part piece pair group row pile bunch hamster
rat hedgehog otter beaver seal walrus hippo rhino
rhinoceros hippopotamus gorilla chimpanzee moose donkey mule pony calf lamb foal buffalo bison ox llama alpaca antelope
gazelle cheetah jaguar puma lynx raccoon skunk badger weasel sloth mole crow raven sparrow robin hawk falcon vulture
pelican stork heron ostrich turkey rooster hen woodpecker hummingbird kingfisher toad salamander gecko iguana chameleon
dinosaur dragon salmon tuna goldfish jellyfish octopus squid lobster shrimp starfish seahorse coral snail slug worm
beetle ladybug dragonfly mosquito fly wasp moth caterpillar cricket grasshopper scorpion shell feather fur tail wing
beak horn hoof paw claw tusk mane whisker collar leash saddle nest cage aquarium kennel wheelchair stroller crib
highchair stretcher scale ladle spatula grater peeler whisk corkscrew opener tongs skillet wok saucer pitcher jug flask
thermos straw coaster tablet ipad mousepad charger battery plug socket switch lightbulb lantern flashlight torch
projector satellite router drone joystick console calculator typewriter stapler tape glue eraser marker crayon
paintbrush palette easel canvas frame picture photo photograph portrait map globe calendar stamp coin money banknote
ticket passport key lock handle knob hinge shutter tile floorboard plank beam pillar pipe faucet tap drain bathroom
bedroom livingroom office classroom shop store market restaurant cafe hotel hospital school library museum stadium
airport station platform rail railway tunnel highway motorway roundabout pavement curb gutter manhole billboard
graffiti mural scaffold bulldozer excavator forklift digger pickup jeep limousine minivan convertible sedan hatchback
racecar cart rickshaw carriage segway moped bike tandem ferry yacht raft submarine anchor sail mast oar paddle
propeller cockpit jet glider parachute airship spaceship engine bumper headlight taillight mudguard pedal seatbelt
dashboard exhaust plates licence tyre jersey uniform apron robe gown kimono sari turban bonnet beanie beret veil mask
goggles earphone earring brooch badge button zipper pocket sleeve cuff hem heel lace boots slippers flipflop stockings
leggings tights underwear bra bikini swimsuit swimwear wetsuit pajamas cardigan blazer tuxedo blouse polo tshirt
overalls armor tattoo beard moustache mustache ponytail braid bun wig lipstick makeup eyebrow eyelash cheek chin
forehead lip tooth teeth tongue thumb wrist elbow knee ankle toe hip waist belly torso body skin bone skull skeleton
chef cook waiter waitress doctor nurse police policeman officer soldier firefighter teacher student farmer fisherman
cyclist motorcyclist biker surfer skier snowboarder skater swimmer runner jogger dancer singer musician guitarist
drummer batter catcher umpire referee goalkeeper coach spectator audience tourist pedestrian passenger pilot astronaut
cowboy clown bride groom couple family mother father mom dad son daughter brother sister grandmother grandfather
toddler infant teenager adult elderly lady guy gentleman kid friend neighbor human avocado kiwi plum apricot fig date
coconut papaya pomegranate raspberry blueberry blackberry cranberry grapefruit lime mandarin tangerine clementine
garlic ginger celery asparagus spinach kale beet radish turnip zucchini eggplant cauliflower artichoke leek pea
chickpea lentil olive pickle herb basil parsley mint rosemary cinnamon nut almond walnut peanut cashew chestnut seed
grain wheat oat barley cereal oatmeal pancake waffle croissant bagel muffin cupcake brownie pretzel cracker chip crisp
fries popcorn burrito taco nacho quesadilla sushi dumpling ramen curry kebab omelette bacon ham salami pepperoni rib
pork beef meatball mozzarella butter yogurt honey jam ketchup mustard mayonnaise sauce vinegar oil salt sugar syrup
pudding jelly icecream lollipop marshmallow gum cocktail lemonade smoothie soda cola champagne whisky espresso
cappuccino latte goblet tumbler wineglass bottlecap crate carton package parcel container tub sack pouch wrapper foil
ribbon bow gift present wreath garland ornament confetti firework sparkler tinsel stocking snowman igloo sled sleigh
toboggan hockey puck stick pads cleats trampoline treadmill dumbbell barbell kettlebell yoga mat hoop dartboard
billiard snooker chess pawn checkers domino poker slide swing seesaw sandbox playground carousel rollercoaster ferris
boomerang yoyo slingshot arrow sword shield spear dagger gun rifle pistol cannon bullet grenade flute clarinet
saxophone trombone tuba harp cello banjo ukulele accordion harmonica xylophone tambourine cymbal gong bell whistle
amplifier record cassette microscope telescope binoculars magnifier thermometer stethoscope syringe pill bandage crutch
hourglass compass candlestick firewood matchbox lighter cigarette vacuum mop dustpan detergent laundry iron ironing
hanger clothesline sewing needle thread yarn knitting cotton wool silk velvet denim fleece foam cardboard ceramic
porcelain marble granite gravel mud clay ash rust copper bronze steel aluminum chrome wicker bamboo hay turf weed
clover blossom petal bud stem thorn bark twig acorn pinecone pine oak maple birch willow fir cedar orchard vineyard
meadow prairie swamp marsh creek brook rapids harbor harbour dock jetty lighthouse buoy dam canal reef iceberg glacier
volcano canyon dune ridge peak slope trail footpath alley driveway courtyard patio terrace deck veranda attic basement
cellar hallway corridor lobby elevator ramp turnstile kiosk vending cashier register trolley shopping aisle display
mannequin
"""
OTHER_WORDS = """
red green blue yellow purple pink brown black white grey gray gold silver beige dark bright colorful striped spotted
plaid round square long short tall small tiny little big large huge wide narrow thin thick old new young wooden metal
plastic leather brick stone concrete rubber fabric furry fluffy wet dry empty full open closed broken left right top
bottom middle center centre front behind beside between under above below near next far upper lower inside outside
corner edge side leftmost rightmost nearest closest farthest biggest smallest largest first second third last other both
all every each one two three four five six holding wearing sitting standing walking running riding lying looking eating
drinking playing jumping flying sleeping leaning hanging parked crossing carrying smiling the a an of on in at to with
from by and or that which who is are his her their its this these not no cyan magenta turquoise teal violet lavender
maroon crimson scarlet navy ivory tan khaki blonde blond brunette transparent translucent shiny glossy matte rusty dusty
muddy cracked torn folded rolled stacked floating sliced peeled cooked raw fried grilled baked roasted frozen fresh ripe
rotten curly straight bald bearded barefoot kneeling crouching squatting bending reaching climbing diving surfing skiing
skating cycling driving sailing rowing fishing hunting cooking reading writing drawing typing talking listening singing
dancing clapping waving pointing throwing catching kicking hitting pulling pushing lifting hugging kissing petting
feeding grazing chasing barking sniffing yawning laughing crying pouring cutting washing cleaning sweeping repairing
opening closing partially occluded visible hidden blurry cropped distant foremost rear backmost topmost lowest highest
tallest shortest longest oldest youngest darkest brightest upright sideways upside diagonal horizontal vertical circular
rectangular triangular oval curved pointed sharp blunt flat hollow solid heavy soft hard rough smooth bumpy everything
anything something nothing someone nobody except without against along across around through towards away during while
where when there here only just same different another others many several few some any most main central single double
triple half whole entire remaining
"""


def train_bpe(texts: Iterable[str], size: int = NANO_SIZE) -> list[str]:
    """Learn the merges of a vocabulary of `size` tokens: 512 byte characters, the merges, begin and end.

    The same texts give the same merges in any order. Fewer come back when the texts hold too few different words.

    Returns:
        Lines "left right", best first, as `BytePairTokenizer` takes them.

    Raises:
        ValueError: `size` leaves no room for a merge.
    """
    num_merges = size - 2 * len(BYTE_ORDER) - 2
    if num_merges < 1:
        raise ValueError(
            f"A vocabulary holds 512 byte characters, begin and end before any merge, got size {size}."
        )
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    # The trainer breaks ties by token number and numbers its alphabet by code point, but would number suffixed
    # characters in the order of a hash table. So the last byte of a word is one private character, spelled out below.
    inner = {byte: chr(0xE000 + rank) for rank, byte in enumerate(BYTE_ORDER)}
    final = {byte: chr(0xE100 + rank) for rank, byte in enumerate(BYTE_ORDER)}
    spelling = dict(zip(inner.values(), BYTE_CHARACTERS, strict=True))
    spelling |= {character: spelling[inner[byte]] + WORD_END for byte, character in final.items()}

    def spell(word: str) -> str:
        *first, last = word.encode("utf-8")
        return "".join(map(inner.__getitem__, first)) + final[last]

    def lines() -> Iterator[str]:
        for text in texts:
            words = [word for word in find_words(text) if word not in (BEGIN, END)]
            yield " ".join(map(spell, words))

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=size - 2, initial_alphabet=list(spelling), show_progress=False
    )
    learner.train_from_iterator(lines(), trainer)
    merges = []
    for left, right in json.loads(learner.to_str())["model"]["merges"]:
        left_spelling = "".join(map(spelling.__getitem__, left))
        right_spelling = "".join(map(spelling.__getitem__, right))
        merges.append(f"{left_spelling} {right_spelling}")
    return merges


def load_texts(data: Path) -> list[str]:
    """Gather the texts of all shippable sets under `data`; names come as often as they weigh.

    Only train photos count, and of open_mix only its groups A and B.

    Raises:
        FileNotFoundError: a set is missing.
    """
    texts = [template.replace("{}", "") for template in TEMPLATES] * WORD_WEIGHT
    names: set[str] = set()
    for name in SHIPPABLE_SETS:
        captions, set_names = _texts_of_set(
            data / name / "annotations.json", SHIPPABLE_GROUPS.get(name)
        )
        texts += captions
        names |= set_names
    panoptic = json.loads((data / "coco_full" / "panoptic.json").read_text(encoding="utf-8"))
    names |= {clean_name(category["name"]) for category in panoptic["categories"]}
    return (
        texts + sorted(names) * NAME_WEIGHT + (EVERYDAY_NOUNS + OTHER_WORDS).split() * WORD_WEIGHT
    )


def _texts_of_set(annotations: Path, groups: tuple[str, ...] | None) -> tuple[list[str], set[str]]:
    """Captions and phrases of one set's train photos (of some licence groups), and the names that occur on them."""
    content: dict[str, Any] = json.loads(annotations.read_text(encoding="utf-8"))
    photos = train_images(content, groups)
    category_names = {row["id"]: clean_name(row["name"]) for row in content["categories"]}
    texts: list[str] = []
    for image in photos.values():
        texts += image.get("captions", ())
    names: set[str] = set()
    for annotation in content["annotations"]:
        if annotation["image_id"] in photos:
            texts += annotation.get("phrases", ())
            names.update(annotation.get("nouns", ()), [category_names[annotation["category_id"]]])
    return texts, names


def train_images(
    content: Mapping[str, Any], groups: Collection[str] | None
) -> dict[int, dict[str, Any]]:
    """Return the train images of an annotation file by id; `groups` are the licence groups that count, None = all."""
    images = {}
    for image in content["images"]:
        has_licence = groups is None or image["license_group"] in groups
        if image["split"] == "train" and has_licence:
            images[image["id"]] = image
    return images


def write_merges(path: Path, merges: Iterable[str]) -> None:
    """Write a merge file as `seem.models.text.tokenizer.read_merges` reads it: without time or name, so reproducible.

    The file appears whole or not at all.
    """
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream:
        stream.write("\n".join((HEADER, *merges, "")).encode("utf-8"))
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(packed.getvalue())
    aside.replace(path)


def main() -> None:
    """Train the vocabulary from the command line."""
    parser = argparse.ArgumentParser(description="Make nano's byte-pair vocabulary.")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the photo sets (../shared/data)"
    )
    parser.add_argument("--out", type=Path, required=True, help="merge file to write (.txt.gz)")
    parser.add_argument(
        "--size", type=int, default=NANO_SIZE, help="number of tokens, begin and end included"
    )
    options = parser.parse_args()
    merges = train_bpe(load_texts(options.data), options.size)
    write_merges(options.out, merges)
    sys.stdout.write(f"{options.out}: {len(merges)} merges\n")


if __name__ == "__main__":
    main()
