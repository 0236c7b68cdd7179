"""A model as a folder in the manner of the Hugging Face hub: `save_pretrained` and `push_to_hub`.

`config.json` and `preprocessor_config.json` say to people and to other programs what the model is; `seem.load` builds
the network from the name and the notes in `model.safetensors` alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from seem import zoo
from seem.checkpoints.hub_repository import (
    CONFIG_FILE,
    LIBRARY,
    REPOSITORY,
    WEIGHTS_FILE,
    hub_endpoint,
)
from seem.checkpoints.network import (
    BACKGROUND_KEY,
    CLASSES_KEY,
    MODEL_KEY,
    PRESENCE_MIDPOINT_KEY,
    REGION_THRESHOLD_KEY,
    STUFF_KEY,
    FineTuningData,
)
from seem.checkpoints.safe import write_tensors
from seem.config import ImageConfig
from seem.errors import SeemError, short_reason
from seem.inference.runtime import Runtime
from seem.part_files import temporary_folder
from seem.version import __version__
from seem.writing import text_writer, write_together

NOTHING = re.compile(r"(?!)")  # no file of an earlier model is removed
COLOURS = 255
MAX_NAMED_CLASSES = 20  # in a model card


def save_model(
    model: Runtime, folder: Path, fine_tuned_on: tuple[FineTuningData, ...], overwrite: bool
) -> tuple[Path, ...]:
    """Write a model's weights, configuration, image settings and card into a folder; all files or none."""
    metadata = model_metadata(model, fine_tuned_on)
    tensors = {}
    for name, tensor in model.network.state_dict().items():
        tensors[name] = in_half_precision(tensor)

    def write_weights(path: Path) -> None:
        write_tensors(path, tensors, metadata)

    config, card = model_config(model), model_card(model)
    preprocessor = preprocessor_config(model.network.config.image)
    files: dict[str, Callable[[Path], None]] = {
        WEIGHTS_FILE: write_weights,
        CONFIG_FILE: json_writer(config),
        "preprocessor_config.json": json_writer(preprocessor),
        "README.md": text_writer(lambda: card),
    }
    return write_together(folder, files, overwrite, NOTHING)


def json_writer(content: Mapping[str, Any]) -> Callable[[Path], None]:
    """Return a writer of JSON for people."""
    return text_writer(lambda: json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def in_half_precision(tensor: Tensor) -> Tensor:
    """Return a tensor in half precision if that changes no number, as with weights that came in it."""
    if tensor.dtype is not torch.float32:
        return tensor
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


# --- Descriptions -----------------------------------------------------------------------------------------------------


def model_metadata(model: Runtime, fine_tuned_on: tuple[FineTuningData, ...]) -> dict[str, str]:
    """Return the notes in the file of weights from which `seem.load` makes the same model."""
    config, classes = model.network.config, model.classes
    metadata = {MODEL_KEY: config.name, "saved_from_sha256": model.sha256}
    if classes is not None:
        stuff = [category.name for category in classes if not category.is_thing]
        metadata[CLASSES_KEY] = json.dumps(classes.names)
        metadata[STUFF_KEY] = json.dumps(stuff)
        metadata[BACKGROUND_KEY] = str(classes.background).lower()
        if model.network.kind.scores_presence:
            metadata[PRESENCE_MIDPOINT_KEY] = str(config.presence_midpoint)
            metadata[REGION_THRESHOLD_KEY] = str(config.panoptic_threshold)
    if fine_tuned_on:
        sources = []
        for data in fine_tuned_on:
            held = "" if data.is_whole else None
            sources.append({"spec": data.spec, "train": data.part, "held": held})
        metadata["made_by"] = json.dumps({"sources": sources})
    return metadata


def model_config(model: Runtime) -> dict[str, Any]:
    """Return the content of `config.json`."""
    classes = model.classes
    return {
        "library_name": LIBRARY,
        "model_type": LIBRARY,
        "seem_model": model.network.config.name,
        "seem_version": __version__,
        "classes": None if classes is None else list(classes.names),
        "network": asdict(model.network.config),
    }


def preprocessor_config(image: ImageConfig) -> dict[str, Any]:
    """Return the content of `preprocessor_config.json`, in the words of transformers' image processors."""
    return {
        "do_resize": True,
        "size": {"shortest_edge": image.short_side, "longest_edge": image.long_side},
        "resample": int(Image.Resampling.BICUBIC),
        "do_rescale": True,
        "rescale_factor": 1 / COLOURS,
        "do_normalize": True,
        "image_mean": [value / COLOURS for value in image.mean],
        "image_std": [value / COLOURS for value in image.std],
        "do_pad": True,
        "size_divisor": image.divisor,
    }


def model_card(model: Runtime) -> str:
    """Return a model card: what the hub indexes, how to load the model, and gaps for what its owner knows."""
    name, classes = model.network.config.name, model.classes
    licence = zoo.find_model_card(name).licence
    trained_on = "See the model it is."
    if classes is not None:
        named = ", ".join(classes.names[:MAX_NAMED_CLASSES])
        more = ", ..." if len(classes) > MAX_NAMED_CLASSES else ""
        trained_on = f"Fine-tuned on {len(classes)} classes: {named}{more}. [Which photos, with which terms?]"
    return f"""---
library_name: {LIBRARY}
pipeline_tag: image-segmentation
tags:
- {LIBRARY}
- interactive-segmentation
- open-vocabulary
license: {hub_licence(licence)}
---

# {name}

A model of [Seem]({LIBRARY}), which segments what clicks, boxes, strokes and phrases mean.

```python
import seem

model = seem.load("USER/NAME")  # or the path of this folder
photo = model.encode("photo.jpg")
photo.segment(seem.Point(320, 200)).overlay()
photo.panoptic()
```

## Training data

{trained_on}

## Results

[How well does it do, on which photos?]

## Terms

{licence}. [Terms of your own weights and data.]
"""


def hub_licence(licence: str) -> str:
    """Return a licence as the hub spells it; "other" for what it may not know."""
    known = {"apache-2.0", "mit"}
    return licence.lower() if licence.lower() in known else "other"


# --- The hub ----------------------------------------------------------------------------------------------------------


def push_model(
    model: Runtime,
    fine_tuned_on: tuple[FineTuningData, ...],
    repo_id: str,
    *,
    private: bool,
    branch: str | None,
    commit_message: str,
) -> str:
    """Commit a model's files to a repository of the hub, which is made if need be; returns the commit's address."""
    match = REPOSITORY.fullmatch(repo_id)
    if match is None or match[2]:
        raise ValueError(f"repo_id is {repo_id!r}; a repository of the hub is called USER/NAME.")
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub_endpoint(), library_name=LIBRARY)
    with temporary_folder() as temporary:
        save_model(model, temporary, fine_tuned_on, overwrite=True)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if branch is not None:
                api.create_branch(repo_id, branch=branch, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=str(temporary),
                revision=branch,
                commit_message=commit_message,
            )
        except (
            Exception
        ) as error:  # the hub's client raises the errors of whichever HTTP library it uses
            raise SeemError(
                f"Cannot push to {repo_id} ({short_reason(error)}); log in with: hf auth login"
            ) from None
    return str(commit.commit_url)
