"""What an exported folder says about itself: `preprocess.json` for programs, `README.md` for people."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from seem.exporting.conversion import Format, WeightPrecision
from seem.exporting.tensors import GraphSpec, TensorSpec
from seem.inference.runtime import BACKGROUND, Runtime
from seem.tasks.caption import MAX_WORDS
from seem.version import __version__
from seem.vocabulary import Vocabulary

FOLDER_VERSION = 1  # of the layout of `preprocess.json` and of the graphs' inputs


def preprocessing(
    runtime: Runtime,
    specs: Sequence[GraphSpec],
    format: Format,
    precision: WeightPrecision,
    opset: int,
    contents: Mapping[str, bytes],
) -> dict[str, Any]:
    """Return the content of `preprocess.json`: all that a program needs beside the graphs."""
    config = runtime.network.config
    image = config.image
    files = {}
    for name, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        files[name] = {"bytes": len(content), "sha256": digest}
    return {
        "version": FOLDER_VERSION,
        "seem": __version__,
        "model": runtime.name,
        "weights_sha256": runtime.sha256,
        "kind": runtime.network.kind.name,
        "format": format,
        "precision": precision,
        "opset": opset,
        "graphs": [spec.name for spec in specs],
        "files": files,
        "image": {
            "short_side": image.short_side,
            "long_side": image.long_side,
            "largest_short_side": image.largest,
            "multiple_of": image.divisor,
            "mask_resampling": runtime.network.decoder.policy.resampling,
            "caption_short_side": config.full_image_side or image.short_side,
            "mean": list(image.mean),
            "std": list(image.std),
        },
        "text": {
            "begin": runtime.tokenizer.begin,
            "end": runtime.tokenizer.end,
            "context": config.text.context,
        },
        "max_points": runtime.network.decoder.policy.max_points,
        "temperature": float(runtime.network.text.logit_scale.detach().exp()),
        "thresholds": {
            "panoptic": config.panoptic_threshold,
            "instance": config.instance_threshold,
            "text": config.text_threshold,
            "presence_midpoint": config.presence_midpoint,
            "reference_peak_ratio": config.reference_peak_ratio,
            "likeness_midpoint": config.likeness_midpoint,
        },
        "classes": class_lists(runtime),
    }


def class_lists(runtime: Runtime) -> dict[str, Any]:
    """Return the class lists of a model with their embeddings: its own, or else COCO's, and nano's ADE20K's."""
    if runtime.classes is not None:
        vocabularies = {"own": runtime.classes}
    else:
        vocabularies = {"coco": Vocabulary.coco_panoptic()}
        if (
            runtime.network.config.text.templates == "bare"
        ):  # with 81 templates a list takes minutes
            vocabularies["ade20k"] = Vocabulary.ade20k()
    lists: dict[str, Any] = {}
    for name, vocabulary in vocabularies.items():
        *embeddings, background = rounded_rows(runtime.classifier(vocabulary))
        classes = []
        for category, embedding in zip(vocabulary, embeddings, strict=True):
            classes.append(
                {
                    "id": category.id,
                    "name": category.name,
                    "phrase": category.phrase,
                    "is_thing": category.is_thing,
                    "embedding": embedding,
                }
            )
        lists[name] = {
            "classes": classes,
            "background": {"phrase": BACKGROUND, "embedding": background},
        }
    return lists


def rounded_rows(vectors: Tensor) -> list[list[float]]:
    """Return vectors as lists of the shortest decimals that are the same in float32."""
    rows = []
    for vector in vectors.float().cpu().numpy():
        rows.append([float(np.format_float_positional(value, unique=True)) for value in vector])
    return rows


# --- README -----------------------------------------------------------------------------------------------------------


def folder_readme(specs: Sequence[GraphSpec], record: Mapping[str, Any]) -> str:
    """Return the README of a folder: what to run in which order, and every tensor."""
    image, text = record["image"], record["text"]
    sizes = []
    for name, file in record["files"].items():
        sizes.append(f"- `{name}`: {file['bytes'] / 1e6:.1f} MB, sha256 {file['sha256']}")
    parts = [
        f"# {record['model']} without PyTorch",
        f"Written by Seem {record['seem']}: {record['format']}, weights {record['precision']}, opset "
        f"{record['opset']}. Standard operators only; nothing in the graphs chooses, merges or suppresses masks.",
        "\n".join(sizes),
        "## Frames",
        f"""1. Resize the upright RGB photo (bicubic, antialiased: Pillow's `BICUBIC`): short side {image["short_side"]}
   pixels, unless the long side would pass {image["long_side"]}.
2. Subtract `mean`, divide by `std` (`preprocess.json`; both are in 0-255), and pad with 0 at the right and bottom to
   multiples of {image["multiple_of"]}. This is the network frame: *network pixels*, 32 `rows` high and 32 `columns`
   wide. A map at stride 4 has one cell for each 4 x 4 network pixels.
3. A pixel (x, y) of the photo, x to the right, has its centre at (x + 0.5, y + 0.5); multiply by the resized size over
   the photo's size. A mask comes back in the same way: enlarge its logits to the network frame
   ({image["mask_resampling"]}), cut off the padding, resize to the photo (bicubic, antialiased), inside where > 0.""",
        "## Phrases",
        f"""`tokenizer.json` (Hugging Face tokenizers, transformers.js) lower-cases a phrase and puts begin
({text["begin"]}) and end ({text["end"]}) around it. Cut it to {text["context"]} tokens with the end, and
pad with the end token, to at least 3. The rows of `tokens` from begin to the first end become `phrase_tokens`;
`vectors` divided by their length are what `text_vectors` sums. The embeddings of the class lists in `preprocess.json`
have length 1.""",
    ]
    for spec in specs:
        parts += [
            f"## {spec.name}",
            spec.text,
            tensor_table("input", spec.inputs),
            tensor_table("output", spec.outputs),
        ]
    parts.append(DENSE_RULES if record["kind"] == "dense" else QUERY_RULES)
    if "captions" in record["graphs"]:
        parts.append(full_image_rules(record))
    return "\n\n".join(parts)


DENSE_RULES = """## From marks to the inputs of `prompts`

Draw in network pixels: a point is 3 x 3 pixels around its own, a stroke a round line, a box or polygon its area. Boxes
and polygons go into the third map of `marks`; a polygon also into the first, and as `previous` logits (3 inside, -3
outside, averaged over 4 x 4). `points` are marked pixels of the first and third map together (label 1) and of the
second (label 0): of n pixels in reading order take those with index i * n // k, k = min(n, `max_points`). Where
nothing is given, pass one row with owner -1 (`points`, `phrase_tokens`, `reference_tokens`) or zeros (`previous`,
`text_vectors`).

With several masks an object: the first answers all prompts together. Where an object has positive marks and nothing
else (no bounds, text, reference or previous mask), the best of the others by `scores` answers."""

QUERY_RULES = """## From marks to points

Draw in network pixels: a point is 3 x 3 pixels around its own, a stroke a round line, a box its area, a polygon its
closed outline. `points` are positive pixels (label 1) and negative ones (label 0): of n pixels in reading order take
those with index i * n // k, k = min(n, `max_points`); objects of one call share `max_points` where the table above does
not say "and object". Where nothing is given, pass one row with owner -1 (`points`, `phrase_tokens`,
`reference_tokens`), 0 in `has_previous`, and zeros in the others.

## Choosing

A panoptic map: softmax of the class logits of `region_class_vectors` over the classes and the background, regions that
are no background and score above `thresholds.panoptic` compete for pixels by score times mask probability."""


def full_image_rules(record: Mapping[str, Any]) -> str:
    """Return how captions are written and how full photos are compared with phrases."""
    image, text = record["image"], record["text"]
    return f"""## Captions and retrieval

Both see the full photo at a short side of {image["caption_short_side"]} pixels: run `image` again at this size.

A caption begins with the id begin ({text["begin"]}). In a loop, run `text` on the ids so far (`tokens` of the only
row become `caption_tokens`; `text` wants at least 3 ids: append end tokens, and leave their rows out), then `captions`:
the largest of `word_scores` is the next id, until it is end ({text["end"]}) or there are {MAX_WORDS}. `hidden` marks
the pixels that a caption of a region leaves out, the padding too.

A phrase fits a photo by the mean of two cosines: of its vector with the last of `region_class_vectors`, and with
`summary`."""


def tensor_table(heading: str, tensors: Sequence[TensorSpec]) -> str:
    """Return a table of tensors in Markdown."""
    lines = [f"| {heading} | type and shape | what it is |", "|---|---|---|"]
    for tensor in tensors:
        shape = ", ".join(map(str, tensor.shape))
        lines.append(f"| `{tensor.name}` | {tensor.dtype} [{shape}] | {tensor.text} |")
    return "\n".join(lines)
