"""From a name or a file to a model that answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from seem import zoo
from seem.argument_types import explained
from seem.checkpoints.class_embeddings import path_beside, read_class_embeddings
from seem.checkpoints.download import CLIP_VOCABULARY, fetch
from seem.checkpoints.hub_repository import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_config_file,
    fetch_repository,
    repository_named,
)
from seem.checkpoints.network import (
    BACKGROUND_KEY,
    CLASSES_KEY,
    PRESENCE_MIDPOINT_KEY,
    REGION_THRESHOLD_KEY,
    STUFF_KEY,
    FineTuningData,
    LoadedNetwork,
    fill_network,
    read_model_name,
    read_official,
)
from seem.checkpoints.safe import PICKLE_SUFFIXES, read_metadata, read_tensors, sha256_of
from seem.config import SegmenterConfig
from seem.errors import SeemError, short_reason
from seem.inference.image_network import Engine, check_engine
from seem.model import Model
from seem.models.build import assign_weights, build_without_weights
from seem.models.decoder.policy import POLICIES, Policy
from seem.models.kind import kind_of
from seem.models.precision import Precision, choose_precision
from seem.models.text.tokenizer import BytePairTokenizer
from seem.vocabulary import Vocabulary

SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
IN_FOLDERS = (
    "model.safetensors",
    "best.safetensors",
)  # what a folder may hold: a model, or the best of a run
EXPORT_RECORD = "preprocess.json"  # of a folder that `seem export` has written
DEFAULT_PRESENCE_MIDPOINT = 0.2  # among a few dozen classes; fine-tuning measures its own
DEFAULT_REGION_THRESHOLD = 0.4
EMBEDDED = "nano.safetensors"  # the weights that ship in the package's assets


@explained
def load(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device | None = None,
    precision: Literal["exact", "auto"] = "auto",
    engine: Engine = "torch",
) -> Model:
    """Load a model.

    Args:
        name_or_path: a name of `list_models()` ("nano" ships inside the package, published models are downloaded), or
            a converted `.safetensors` file, or a folder that holds `model.safetensors`, or the folder of a training
            run (its `best.safetensors`), or a model of the Hugging Face hub: "user/name", "user/name@revision".
        device: "cpu", "cuda", "mps", ...; None = the accelerator if there is one, else the CPU.
        precision: "exact" is float32 everywhere, as for published scores; "auto" measures on this device whether
            bfloat16 is faster and sees the same, and takes it if so. The result says which one ran.
        engine: "torch", or "openvino" for the image network on a CPU (`pip install "seem[openvino]"`), within rounding
            of the same: nano encodes a third faster, published models as fast where the CPU has no bfloat16. The
            network is converted once, with the weights of that moment, which takes seconds, and cached in `SEEM_CACHE`.

    Raises:
        ValueError: an unknown name (the nearest is suggested), device, precision or engine.
        SeemError: weights that cannot be fetched, read, or that are of another architecture; an engine that is not
            installed, or cannot compute the network.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise ValueError(
            f"A model is loaded by its name or the path of a file, got {name_or_path!r}; try 'nano'."
        )
    if precision not in ("exact", "auto"):
        raise ValueError(f"precision is {precision!r}; use 'exact' or 'auto'.")
    check_engine(engine)
    target = usable_device("cpu" if device is None and engine != "torch" else device)
    loaded = open_network(name_or_path)
    loaded.network.to(target)
    chosen: Precision = (
        "float32" if precision == "exact" else choose_precision(loaded.network, target)
    )
    return Model(loaded, target, chosen, engine)


def open_network(name_or_path: str | os.PathLike[str]) -> LoadedNetwork:
    """Find weights by name or path and build their network, on the CPU in float32."""
    repository = repository_named(name_or_path)
    if repository is not None:
        return open_file(file_in(fetch_repository(repository)))
    if names_weights(name_or_path):
        path = Path(name_or_path)
        return open_file(file_in(path) if path.is_dir() else path)
    card = zoo.find_model_card(str(name_or_path))
    if card.weights is zoo.WeightsAvailability.EMBEDDED:
        with embedded() as file:
            return open_file(file)
    if card.file is None:
        raise SeemError(
            f"The weights of {card.name} were never released; load your own checkpoint by its path "
            f"(seem convert YOURS.pt OUT.safetensors --model {card.name})."
        )
    checkpoint = fetch(
        card.file, CLIP_VOCABULARY
    )  # whoever goes offline now has all that the first phrase needs
    network = build_without_weights(card.config())
    assign_weights(network, read_official(checkpoint, network).tensors)
    return LoadedNetwork(card.name, network, sha256_of(checkpoint), tokenizer_of(network.config))


class KnownModel(NamedTuple):
    """The name of a model and how it is made."""

    name: str
    config: SegmenterConfig

    @property
    def policy(self) -> Policy:
        """Which rows its decoder has, and what they attend to."""
        return POLICIES[self.config.decoder.policy]


def find_config(name_or_path: str | os.PathLike[str]) -> KnownModel | None:
    """Tell how a model is made without reading its weights; None where nothing tells that, or `load` would fail."""
    if not names_weights(name_or_path):
        card = zoo.MODEL_CARDS.get(str(name_or_path))
    else:
        path = Path(name_or_path)
        try:
            file = file_in(path) if path.is_dir() else path
            card = zoo.find_model_card(read_model_name(file, read_metadata(file)))
        except (OSError, ValueError, TypeError, AttributeError):
            return None
    if card is None or card.config is None:
        return None
    return KnownModel(card.name, card.config())


def names_weights(name_or_path: str | os.PathLike[str]) -> bool:
    """Tell the path of a file of weights, or of a folder with one, from the name of a model; nothing need be there."""
    if not str(name_or_path) or name_or_path in zoo.MODEL_CARDS:
        return False  # a folder called "nano" does not hide the model
    path = Path(name_or_path)
    in_some_folder = os.path.dirname(name_or_path) != ""  # noqa: PTH120  (a Path forgets "./")
    return (
        isinstance(name_or_path, os.PathLike)
        or path.suffix in SUFFIXES
        or in_some_folder
        or path.exists()
    )


def file_in(folder: Path) -> Path:
    """Return the weights that a folder holds; `SeemError` where there are none."""
    for name in IN_FOLDERS:
        if (folder / name).is_file():
            if name == WEIGHTS_FILE and (folder / CONFIG_FILE).is_file():
                check_config_file(folder / CONFIG_FILE, str(folder))
            return folder / name
    if (folder / CONFIG_FILE).is_file():
        check_config_file(folder / CONFIG_FILE, str(folder))
    if (folder / EXPORT_RECORD).is_file():
        raise SeemError(
            f"{folder} holds exported graphs and no weights; they are run by seem segment --model and by seem_lite."
        )
    raise SeemError(
        f"{folder} holds neither {' nor '.join(IN_FOLDERS)}; name a file of weights, or the folder of a run that has "
        "written some."
    )


def embedded() -> AbstractContextManager[Path]:
    """Give the file of the weights that ship in the package."""
    return as_file(files("seem") / "assets" / EMBEDDED)


def open_file(path: Path) -> LoadedNetwork:
    """Read a converted file; it says itself which model it is."""
    if path.suffix in PICKLE_SUFFIXES and path.exists():
        raise ValueError(
            f"{path} may be of any version, its keys do not tell: convert it once with "
            f"seem convert {path.name} OUT.safetensors --model NAME, then load OUT.safetensors."
        )
    content = read_tensors(path)
    try:
        card = zoo.find_model_card(read_model_name(path, content.metadata))
    except ValueError as error:
        raise SeemError(f"{path} cannot be used: {error}") from None
    config = calibrated(card.config(), content.metadata)
    return LoadedNetwork(
        card.name,
        fill_network(config, content.tensors, path),
        sha256_of(path),
        tokenizer_of(config),
        classes_of(content.metadata),
        fine_tuning_data_of(content.metadata),
        read_class_embeddings(path_beside(path)),
    )


def calibrated(config: SegmenterConfig, metadata: Mapping[str, str]) -> SegmenterConfig:
    """Return the configuration with the thresholds that fine-tuning has measured for its classes."""
    if classes_of(metadata) is None or not kind_of(config).scores_presence:
        return config
    region_threshold = probability_in(metadata, REGION_THRESHOLD_KEY, DEFAULT_REGION_THRESHOLD)
    return replace(
        config,
        presence_midpoint=probability_in(
            metadata, PRESENCE_MIDPOINT_KEY, DEFAULT_PRESENCE_MIDPOINT
        ),
        panoptic_threshold=region_threshold,
        instance_threshold=region_threshold,
    )


def classes_of(metadata: Mapping[str, str]) -> Vocabulary | None:
    """Read which classes a model was fine-tuned on; None where that is not told, or cannot be told apart."""
    try:
        names, stuff = (json.loads(metadata.get(key, "[]")) for key in (CLASSES_KEY, STUFF_KEY))
        background = metadata.get(BACKGROUND_KEY) == "true"
        stuff = stuff if STUFF_KEY in metadata else None
        return Vocabulary.of(names, stuff, background=background) if names else None
    except (ValueError, TypeError, AttributeError):
        return None


def fine_tuning_data_of(metadata: Mapping[str, str]) -> tuple[FineTuningData, ...]:
    """Read which data a model was fine-tuned on; nothing where it does not say."""
    try:
        sources = json.loads(metadata.get("made_by", "{}")).get("sources", [])
        return tuple(
            FineTuningData(str(each["spec"]), str(each["train"]), each["held"] is not None)
            for each in sources
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def probability_in(metadata: Mapping[str, str], key: str, default: float) -> float:
    """Read a threshold between 0 and 1 that a run has measured; `default` where it does not say."""
    try:
        share = float(metadata[key])
    except (KeyError, ValueError):
        return default
    return share if 0 < share < 1 else default


def tokenizer_of(config: SegmenterConfig) -> Callable[[], BytePairTokenizer]:
    """Say how to get the vocabulary of word pieces; fetched only when a phrase is read."""
    if config.text.tokenizer == "nano":
        return partial(BytePairTokenizer.nano, config.text.vocabulary_size)
    return lambda: BytePairTokenizer.clip(fetch(CLIP_VOCABULARY))


def usable_device(device: str | torch.device | None) -> torch.device:
    """Return the device asked for if it works here, or the best one."""
    if device is None:
        best = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return best or torch.device("cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"There is no device {device!r}; use 'cpu', 'cuda', 'cuda:1', 'mps' or another of PyTorch's."
        ) from None
    try:
        torch.zeros(1, device=chosen).cpu()  # also refuses "meta", which holds no numbers
    except Exception as error:  # every backend has its own way to say that it is not there
        raise ValueError(
            f"The device {str(device)!r} cannot be used here ({short_reason(error)}); try 'cpu'."
        ) from None
    return chosen
