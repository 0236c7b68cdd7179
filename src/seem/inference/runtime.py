"""A network on its device with its tokenizer, and the text embeddings that all images share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from seem.checkpoints.class_embeddings import ClassEmbeddings
from seem.checkpoints.network import LoadedNetwork
from seem.inference.class_embeddings import ClassEmbeddingStore
from seem.inference.image_network import Engine, open_image_network
from seem.models.precision import Precision, arithmetic
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.structures import TextFeatures
from seem.models.text.batches import encode_class_phrases, encode_tokens
from seem.models.text.templates import BARE, TEMPLATES, class_phrases
from seem.models.text.tokenizer import BytePairTokenizer, Tokens
from seem.vocabulary import Classes, Vocabulary

BACKGROUND = "background"
"""The no-object class: encoded like any other name, last in every classifier (official behaviour)."""

MAX_CACHED_CLASSIFIERS = 32  # class lists whose embeddings stay on a model
MAX_CACHED_PHRASE_LISTS = (
    32  # phrase lists of a call whose features stay, for the next click beside the same phrase
)
MAX_PHRASES_OF_CACHED_LIST = 8  # longer lists are class lists, which are cached as classifiers
MAX_PHRASES_TOGETHER = 12_000  # of class lists, tokenized together

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class RecentCache(Generic[Key, Value]):
    """A dictionary of at most `capacity` entries; the one that was used longest ago goes first."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._entries: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Value | None:
        """Return an entry, or None."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: Key, value: Value) -> None:
        """Add an entry."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self.capacity:
            self._entries.popitem(last=False)


class Runtime:
    """A network on a device, as inference needs it: encodes phrases and class lists, and caches them by content.

    Safe to use from several threads: nothing else is stored on it by a call.
    """

    def __init__(
        self,
        loaded: LoadedNetwork,
        device: torch.device,
        precision: Precision,
        engine: Engine = "torch",
    ) -> None:
        self.name = loaded.name
        self.sha256 = loaded.sha256
        self.device = device
        self.precision: Precision = precision
        self.engine: Engine = engine
        self.network: Segmenter = loaded.network
        self.image_network = open_image_network(loaded.network, device, precision, engine)
        self.classes = loaded.classes
        self._load_tokenizer: Callable[[], BytePairTokenizer] = loaded.tokenizer
        self._tokenizer: BytePairTokenizer | None = None
        self._class_embeddings = ClassEmbeddingStore(loaded.network, loaded.class_embeddings)
        self._classifiers: RecentCache[str, Tensor] = RecentCache(MAX_CACHED_CLASSIFIERS)
        self._phrase_features: RecentCache[tuple[str, ...], TextFeatures] = RecentCache(
            MAX_CACHED_PHRASE_LISTS
        )
        self._lock = threading.RLock()

    @property
    def tokenizer(self) -> BytePairTokenizer:
        """The byte-pair tokenizer; that of the published models is downloaded at the first phrase."""
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = self._load_tokenizer()
            return self._tokenizer

    def encode_phrases(self, phrases: Sequence[str]) -> TextFeatures:
        """Encode phrases to vectors, not normalised; longer ones than the model's context lose their tail.

        The features of short lists are cached.
        """
        key = tuple(phrases)
        with self._lock:
            cached = self._phrase_features.get(key)
        if cached is not None:
            return cached
        tokens = self._tokenize(key)
        with arithmetic(self.device, self.precision):
            features = encode_tokens(self.network.text, tokens)
        if len(key) <= MAX_PHRASES_OF_CACHED_LIST:
            with self._lock:
                self._phrase_features.put(key, features)
        return features

    def _tokenize(self, phrases: Sequence[str]) -> Tokens:
        """Return the token ids of phrases on the device."""
        tokens = self.tokenizer(list(phrases))
        return Tokens(tokens.ids.to(self.device), tokens.valid.to(self.device))

    def vocabulary(self, classes: Classes = None) -> Vocabulary:
        """Read a `classes` argument: None are those that the model was fine-tuned on, or else COCO's 133."""
        return Vocabulary.coerce(self.classes if classes is None else classes)

    def classifier(self, vocabulary: Vocabulary) -> Float[Tensor, "k1 d"]:
        """Return the normalised embedding of every class, the background last; cached, also on disk.

        The templates are the vocabulary's own, or else the model's.
        """
        with self._lock:
            embeddings = self._classifiers.get(vocabulary.key)
            if embeddings is None:
                names = [*vocabulary.phrases, BACKGROUND]
                templates = vocabulary.templates or self._templates
                embeddings = self._class_embeddings.embed(names, templates, self.embed_class_names)
                self._classifiers.put(vocabulary.key, embeddings)
            return embeddings

    @property
    def _templates(self) -> tuple[str, ...]:
        """The templates of class names that the model was trained with."""
        if self.network.config.text.templates == "all":
            return TEMPLATES
        return (BARE.removesuffix("."),)

    def embed_class_names(
        self, names: Sequence[str], templates: Sequence[str] | None = None
    ) -> Float[Tensor, "k d"]:
        """Return the normalised embedding of every name; `templates` None = those that the model was trained with.

        The published rule: every name in every template, the mean of the normalised vectors, normalised.
        """
        if templates is None:
            templates = self._templates
        names_together = max(1, MAX_PHRASES_TOGETHER // len(templates))
        means = []
        for start in range(0, len(names), names_together):
            phrases = class_phrases(names[start : start + names_together], templates)
            vectors = unit_vectors(self.encode_class_phrases(phrases, len(templates)))
            means.append(torch.unflatten(vectors, 0, (-1, len(templates))).mean(dim=1))
        embeddings = torch.cat(means)
        length: Tensor = embeddings.norm(dim=-1, keepdim=True)
        return embeddings / length

    def encode_class_phrases(
        self, phrases: Sequence[str], num_templates: int
    ) -> Float[Tensor, "n d"]:
        """Encode the phrases of classes, templates of a name together, in float32 whatever the precision."""
        with arithmetic(self.device, "float32"):
            tokens = self._tokenize(phrases)
            return encode_class_phrases(self.network.text, tokens, num_templates)

    def class_embeddings(self, vocabularies: Sequence[Vocabulary]) -> ClassEmbeddings:
        """Return the embeddings of all names of some vocabularies, in the model's templates, as files hold them."""
        names = dict.fromkeys([BACKGROUND])
        for vocabulary in vocabularies:
            names.update(dict.fromkeys(vocabulary.phrases))
        key = self._class_embeddings.key(list(names), self._templates)
        embeddings = self.embed_class_names(list(names), self._templates)
        return ClassEmbeddings(key, tuple(names), embeddings)

    def class_logits(
        self, vectors: Float[Tensor, "n d"], classifier: Float[Tensor, "k d"]
    ) -> Float[Tensor, "n k"]:
        """Compare vectors of the text space with class embeddings, at the model's temperature."""
        with torch.no_grad():
            return self.network.class_logits(vectors[None], classifier)[0]
