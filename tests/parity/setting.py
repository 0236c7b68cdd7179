"""What a case is asked with: a network, its recording, and where the findings go."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from parity.bench import ARCHITECTURES, Bench, GroupOutput, bench
from parity.comparison import Comparison
from parity.recording import Folder, Recording
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.policy import POLICIES, Policy
from seem.models.segmenter import unit_vectors
from seem.models.structures import TextFeatures
from seem.models.text.templates import class_phrases
from seem.tasks.postprocess import ImageFrame
from seem.vocabulary import Vocabulary

SLICED = r"(_(c|q|s|stride)\d+)*"


@dataclass(frozen=True)
class Setting:
    """What a case function works with: a network in one precision, the case, and the folder around it."""

    model: str
    dtype: torch.dtype
    folder: Folder
    recording: Recording
    compare: Comparison

    @property
    def bench(self) -> Bench:
        """The network, built when a case first needs it."""
        return bench(self.model, self.dtype)

    @property
    def policy(self) -> Policy:
        """Who sees whom in this network, known without building it."""
        return POLICIES[ARCHITECTURES[self.model]().decoder.policy]

    # --- Ours beside the recorded, if it is: what is recorded and never compared is found at the end ------------------

    def vectors(self, name: str, ours: Tensor) -> None:
        """Compare vectors with every recorded slicing of them."""
        for recorded in self.recording.names(name + SLICED):
            self.compare.vectors(recorded, ours)

    def masks(self, name: str, ours: Tensor) -> None:
        """Compare mask logits with every recorded slicing of them."""
        for recorded in self.recording.names(name + SLICED):
            self.compare.masks(recorded, ours)

    def exact(self, name: str, ours: Tensor) -> None:
        """Compare decisions."""
        if name in self.recording:
            self.compare.exact(name, ours)

    # --- What the network makes of the recorded inputs ----------------------------------------------------------------

    def encode_image(self) -> ImageEncoding:
        """Encode the photo of the case; its sizes must be the recorded ones."""
        photo = self.recording.photo()
        image = self.bench.encode(photo)
        padded = tuple(4 * side for side in image.pixels.mask_features.hw)
        for name, hw in (("input_hw", photo.shape[:2]), ("network_hw", padded)):
            assert name not in self.recording or self.recording.hw(name) == hw
        return image

    def read(self, texts: list[str]) -> TextFeatures:
        """Tokenise and encode phrases."""
        tokens = self.folder.tokenizer(texts)
        return self.bench.network.encode_text(tokens.ids, tokens.valid)

    def classifier(self) -> Tensor:
        """Return the class embeddings: by token ids, as the folder's recordings used them, or by name."""
        if "class_token_ids" in self.recording:
            return unit_vectors(self.bench.read(self.recording.tensor("class_token_ids")).phrases)
        if "seem_v1_focalt/panoptic_decoder" in self.folder.cases:
            recorded = self.folder.open("seem_v1_focalt/panoptic_decoder").tensor("text_embeddings")
            return recorded.to(self.dtype)
        return self.encode_class_names()

    def encode_class_names(self) -> Tensor:
        """Encode the 133 COCO names and 'background' ourselves."""
        names = [*Vocabulary.coco_panoptic().names, "background"]
        return unit_vectors(self.read(class_phrases(names)).phrases)

    def logits(self, output: GroupOutput) -> Tensor:
        """Compare class vectors with the class embeddings."""
        return self.bench.network.class_logits(output.answers.class_vectors, self.classifier())

    def frame(self) -> ImageFrame:
        """Read the three sizes of the photo."""
        hw = self.recording.hw
        return ImageFrame(hw("network_hw"), hw("input_hw"), hw("output_hw"), self.policy.resampling)
