"""One system of the speed benchmark, in a process of its own: times the steps that `speed.py` asks for.

Requests come as JSON lines on standard input, {"step": "objects", "size": 512, "value": 20}, and answers go to standard
output: seconds of CPU and of wall clock, and peak memory by the operating system's account; {} for a step that the
system does not have, {"error": ...} for one that fails. `seem` is whatever checkout PYTHONPATH names, so only its
public interface is used; `transformers` is needed by the other systems alone, whose weights are random.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples" / "photos" / "coffee.jpg"
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PEAK_RESET = Path("/proc/self/clear_refs")
SURVIVING_MASKS = 20  # of Mask2Former's queries: so many masks go to the size of the photo

Work: TypeAlias = Callable[[], object]


@cache
def photo(size: int) -> Image.Image:
    """Return a photo of size x 3/4 size pixels."""
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize((size, size * 3 // 4), Image.Resampling.BICUBIC)


def spread_points(count: int, size: int) -> list[tuple[int, int]]:
    """Return points that lie apart from each other (a plastic-number sequence), the first near the centre."""
    points = []
    for index in range(count):
        x, y = (0.5 + 0.7549 * index) % 1, (0.5 + 0.5698 * index) % 1
        points.append((int(x * size), int(y * size * 3 // 4)))
    return points


class SeemSystem:
    """A model of this project. A method for each step: it prepares, and returns the work that is timed."""

    def __init__(self, name: str, precision: str) -> None:
        import seem

        self.seem = seem
        self.model = seem.load(name, device="cpu", precision=precision)
        self.has_own_size = self.model.network.mask_refiner is not None  # nano, whatever the photo
        self.encoded = cache(self.encode_image)

    def encode_image(self, size: int) -> Any:
        """Encode a photo: at the size of the photo, but for nano, which has its own."""
        short_side = None if self.has_own_size else size * 3 // 4
        return self.model.encode(photo(size), size=short_side)

    def clicks(self, count: int, size: int) -> list[Any]:
        return [self.seem.Point(x, y) for x, y in spread_points(count, size)]

    def encode(self, size: int, _: int) -> Work:
        return lambda: self.encode_image(size)

    def first_click(self, size: int, _: int) -> Work:
        return lambda: self.encode_image(size).segment(*self.clicks(1, size))

    def further_click(self, size: int, value: int) -> Work:
        """Click once more in a session that has had `value` clicks."""
        session = self.encoded(size).session()
        *earlier, last = self.clicks(value + 1, size)
        for click in earlier:
            session.add(click)
        return lambda: session.add(last)

    def several_clicks(self, size: int, value: int) -> Work:
        return lambda: self.encoded(size).segment(*self.clicks(value, size))

    def phrase(self, size: int, _: int) -> Work:
        return lambda: self.encoded(size).segment(self.seem.Text("a cup"), text_threshold=0.0)

    def panoptic(self, size: int, _: int) -> Work:
        return lambda: self.encode_image(size).panoptic()

    def instances(self, size: int, _: int) -> Work:
        return lambda: self.encoded(size).instances()

    def semantic(self, size: int, _: int) -> Work:
        return lambda: self.encoded(size).semantic()

    def classes(self, size: int, value: int) -> Work:
        """Name every pixel by one of `value` names, whose embeddings are there."""
        vocabulary = self.seem.Vocabulary
        phrases = {*vocabulary.coco_panoptic().phrases, *vocabulary.coerce("ade20k").phrases}
        chosen = vocabulary.of(sorted(phrases)[:value])
        self.model.classifier(chosen)
        return lambda: self.encoded(size).semantic(chosen)

    def three_tasks(self, size: int, _: int) -> Work:
        def work() -> None:
            image = self.encode_image(size)
            image.panoptic(), image.instances(), image.semantic()

        return work

    def objects(self, size: int, value: int) -> Work:
        """Segment `value` objects in one call, a box each."""
        boxes = []
        for x, y in spread_points(value, size * 3 // 4):
            boxes.append((x, y, x + size // 5, y + size // 6))
        return lambda: self.encoded(size).segment_boxes(boxes)

    def everything(self, size: int, _: int) -> Work:
        return lambda: self.encode_image(size).everything()

    def batch(self, size: int, value: int) -> Work:
        photos = [photo(size)] * value
        encode_many = getattr(self.model, "encode_many", None)
        if encode_many is not None:
            short_side = None if self.has_own_size else size * 3 // 4
            return lambda: list(encode_many(photos, short_side))
        return lambda: [self.encode_image(size) for _ in range(value)]

    def video_frame(self, size: int, _: int) -> Work:
        """Follow one object into the third frame of a video."""
        frames = [np.roll(np.asarray(photo(size)), 4 * number, axis=1) for number in range(4)]
        box = self.seem.Box(size // 4, size // 4, size // 2, size // 2)
        results = self.model.track(frames, box)
        next(results), next(results)
        return lambda: next(results)

    def parts(self, size: int) -> list[dict[str, Any]]:
        """Time the parts of the image network and of an answer, and count their operations."""
        from torch.utils.flop_counter import FlopCounterMode

        network, image = self.model.network, self.encoded(size)
        pixels = image.batch.pixels
        with torch.no_grad():
            pyramid = network.backbone(pixels)
            features = network.pixel_decoder(pyramid)
        parts: dict[str, Work] = {
            "backbone": lambda: network.backbone(pixels),
            "pixel decoder": lambda: network.pixel_decoder(pyramid),
            "keys and values": lambda: network.decoder.read(features),
            "click": lambda: image.segment(*self.clicks(1, size)),
            "20 boxes": self.objects(size, 20),
            "panoptic": image.panoptic,
            "semantic": image.semantic,
        }
        if network.text_embedding_head is not None:
            parts["text map"] = lambda: network.text_embedding_head(pyramid.maps)
        rows = []
        for name, work in parts.items():
            with torch.no_grad():
                work()
                with FlopCounterMode(display=False) as counter:
                    work()
                seconds = [timed(work)["cpu"] for _ in range(5)]
            rows.append({"part": name, "gflop": counter.get_total_flops() / 1e9, "cpu": seconds})
        return rows


class RivalSystem:
    """A network of `transformers` with random weights, built for one size of photo.

    Timed from the decoded photo to masks at its size, as with Seem.
    """

    def __init__(self) -> None:
        self.network = cache(self.build)
        self.encoded = cache(self.encode_image)

    def build(self, size: int) -> Any:
        raise NotImplementedError

    def pixels(self, size: int) -> torch.Tensor:
        """Return the photo as the network takes it: normalised, padded to a square."""
        rgb = torch.from_numpy(np.array(photo(size))).permute(2, 0, 1)[None].float()
        normal = (rgb - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        return F.pad(normal, (0, 0, 0, size - normal.shape[2]))

    def encode_image(self, size: int) -> Any:
        raise NotImplementedError

    def encode(self, size: int, _: int) -> Work:
        return lambda: self.encode_image(size)


def to_photo(logits: torch.Tensor, size: int) -> torch.Tensor:
    """Bring mask logits (N, H, W) of a padded square to the photo."""
    full = F.interpolate(logits[None], size=(size, size), mode="bilinear", align_corners=False)[0]
    return full[:, : size * 3 // 4] > 0


class Sam(RivalSystem):
    """Segment Anything, ViT-B."""

    def build(self, size: int) -> Any:
        from transformers import SamConfig, SamModel

        vision = {"image_size": size}
        prompts = {"image_size": size, "image_embedding_size": size // 16}
        config = SamConfig(vision_config=vision, prompt_encoder_config=prompts)
        return SamModel(config).eval()

    def encode_image(self, size: int) -> Any:
        return self.network(size).get_image_embeddings(self.pixels(size))

    def answer(self, size: int, embeddings: Any, count: int) -> torch.Tensor:
        points = torch.tensor(spread_points(count, size)).float()[None, None]
        output = self.network(size)(image_embeddings=embeddings, input_points=points)
        return to_photo(output.pred_masks[0, 0].float(), size)

    def first_click(self, size: int, _: int) -> Work:
        return lambda: self.answer(size, self.encode_image(size), 1)

    def further_click(self, size: int, value: int) -> Work:
        encoded = self.encoded(size)
        return lambda: self.answer(size, encoded, value + 1)


class Sam2(Sam):
    """Segment Anything 2, Hiera tiny."""

    def build(self, size: int) -> Any:
        from transformers import Sam2Config, Sam2Model

        sides = [[size // stride, size // stride] for stride in (4, 8, 16)]
        vision = {
            "backbone_config": {"model_type": "sam2_hiera_det_model", "image_size": [size, size]},
            "backbone_feature_sizes": sides,
        }
        config = Sam2Config(vision_config=vision, prompt_encoder_config={"image_size": size})
        return Sam2Model(config).eval()


class Mask2Former(RivalSystem):
    """Mask2Former, Swin-T, panoptic."""

    def build(self, size: int) -> Any:
        from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

        stages = ["stage1", "stage2", "stage3", "stage4"]
        swin = SwinConfig(image_size=size, out_features=stages)
        config = Mask2FormerConfig(backbone_config=swin, num_labels=133)
        return Mask2FormerForUniversalSegmentation(config).eval()

    def encode_image(self, size: int) -> Any:
        return self.network(size).model.pixel_level_module(self.pixels(size))

    def panoptic(self, size: int, _: int) -> Work:
        def work() -> torch.Tensor:
            output = self.network(size)(pixel_values=self.pixels(size))
            scores = output.class_queries_logits[0].softmax(dim=-1).amax(dim=-1)
            rows = scores.topk(SURVIVING_MASKS).indices
            logits = output.masks_queries_logits[0, rows][None].float()
            full = F.interpolate(logits, size=(size, size), mode="bilinear", align_corners=False)[0]
            claims = full[:, : size * 3 // 4].sigmoid() * scores[rows, None, None]
            return claims.argmax(dim=0)

        return work


RIVALS = {"sam-vit-b": Sam, "sam2-tiny": Sam2, "mask2former-swin-t": Mask2Former}


def timed(work: Work) -> dict[str, Any]:
    """Do the work: seconds of this process (all threads), seconds of wall clock, peak memory in MB."""
    clear_peak_memory()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {**seconds, "peak_mb": peak_memory_mb()}


def clear_peak_memory() -> None:
    """Let Linux count the peak from here on."""
    if PEAK_RESET.exists():
        PEAK_RESET.write_text("5")


def peak_memory_mb() -> float | None:
    """Return the peak since it was cleared; None on a system that cannot clear it."""
    if not PEAK_RESET.exists():
        return None
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def matrix_gflops(side: int = 1024, runs: int = 9) -> float:
    """Return the best rate of a float32 matrix product, in billions of operations a second of CPU."""
    one, other = torch.rand(side, side), torch.rand(side, side)
    seconds = min(timed(lambda: one @ other)["cpu"] for _ in range(runs))
    return 2 * side**3 / seconds / 1e9


def answer(system: Any, request: dict[str, Any]) -> dict[str, Any]:
    step = request["step"]
    if step == "matrix":
        return {"gflops": matrix_gflops()}
    if step == "parts":
        return {"parts": system.parts(request["size"])}
    prepare = getattr(system, step, None)
    if prepare is None:
        return {}
    try:
        with torch.no_grad():
            return timed(prepare(request["size"], request["value"]))
    except Exception as error:  # the other steps go on
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("system")
    reader.add_argument("--precision", default="exact")
    reader.add_argument("--threads", type=int, default=1)
    options = reader.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.system in RIVALS:
        system: Any = RIVALS[options.system]()
    else:
        system = SeemSystem(options.system, options.precision)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(system, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
