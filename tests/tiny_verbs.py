"""Verbs that train, convert and demonstrate, with tiny networks, so that a call takes a second."""

import json
import time
from dataclasses import replace

import torch

from colours import make_pack
from seem import zoo
from seem.checkpoints.mapping import to_official
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import write_tensors
from seem.cli import demo, gallery
from seem.cli import main as program
from seem.models.backbones.efficientnet_lite import SameConvUnit
from seem.recipes import nano
from seem.recipes.nano_task import Leg, Stage
from tiny import picture, tiny_nano2, tiny_network

V1 = "seem-focal-t-v1"
GRAPH_SECONDS, GRAPH_BYTES = 0.2, 1 << 20


def run_verb(words):
    """Run a verb of `seem`, or the module that makes the demonstration or the gallery; returns the exit code."""
    modules = {"demo": demo, "gallery": gallery}
    if words[0] in modules:
        return modules[words[0]].main(words[1:])
    return program.main(words)


EXAMPLE = """
from PIL import Image
import seem
seem.load("nano").encode("{photo}", size=64).panoptic().overlay().save("drawn.png")
"""
GALLERY = [gallery.GalleryImage("draw", "drawn.png", caption) for caption in ("one", "two")]


def add_inputs(inputs, patch):
    """Add what the recipes, the conversion and the demonstrations read, with tiny networks in place of theirs."""
    pack = make_pack(inputs / "pack", photos=4)
    document = json.loads((pack.path / "annotations.json").read_text())
    for row in document["images"][:3]:
        row["split"] = "train"
    (pack.path / "annotations.json").write_text(json.dumps(document))
    patch.setattr(nano, "nano2", tiny_nano2)
    patch.setattr(nano, "load_published", lambda backbone, config, head: None)
    patch.setattr(nano.ImageNetHead, "__init__", small_head)
    patch.setattr(nano, "make_text_tower", lambda data, out: write_text_tower(inputs))
    patch.setattr(nano, "LEGS", (Leg("only", nano.SETTINGS, (Stage(1.0, 64, 2, 32),)),))
    network = tiny_network(V1)
    patch.setitem(zoo.MODEL_CARDS, V1, replace(zoo.MODEL_CARDS[V1], config=lambda: network.config))
    write_tensors(inputs / "v1.safetensors", network.state_dict(), {MODEL_KEY: V1})
    torch.save({"model": to_official(network.state_dict())}, inputs / "v1.pt")
    picture(512, 512).save(inputs / "photo.png")
    (inputs / "examples").mkdir()
    (inputs / "examples" / "draw.py").write_text(EXAMPLE.format(photo=inputs / "photo.png"))
    patch.setattr(gallery, "GALLERY_IMAGES", GALLERY)
    patch.setattr("seem.exporting.export.to_onnx", lambda *_: ConvertedGraph())
    patch.setattr("seem.exporting.export.store_weights", lambda *_: time.sleep(GRAPH_SECONDS))


def small_head(self, in_dim):
    """Make the head of a classifier that widens maps as the tiny network does."""
    torch.nn.Module.__init__(self)
    widened = tiny_nano2().text_map.widened
    self.widen = SameConvUnit(in_dim, widened, kernel=1)
    self.classify = torch.nn.Linear(widened, 10)


def write_text_tower(folder):
    """Write a tiny text tower of random weights; return its file."""
    file = folder / "tower.safetensors"
    write_tensors(file, tiny_network("nano2").text.state_dict())
    return file


class ConvertedGraph:
    """A graph whose conversion, which type checks of the tests would break, is left out."""

    def SerializeToString(self):
        return bytes(GRAPH_BYTES)
