"""The decoder of a published model as graphs: marks to masks, and phrases (beside marks, if there are any) to masks.

They are two because a version's phrase rows cost more than its visual rows: a click does not pay for them. Which query
answers is chosen outside.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seem.exporting.image_graph import LEVEL_STRIDES, encoding_tensors, fixed_sizes, read_encoding
from seem.exporting.points import POINTS, by_name, point_tensors, point_tokens
from seem.exporting.tensors import Axis, GraphSpec, TensorSpec, map_at
from seem.models.decoder.draws import FairDraws
from seem.models.decoder.policy import RowKind
from seem.models.ops.masks import dot
from seem.models.ops.points import sample_at
from seem.models.segmenter import Segmenter
from seem.models.structures import (
    DecoderQuery,
    PhraseTokens,
    QueryOutputs,
    VisualTokens,
)
from seem.tasks.interactive import prompt_agreement
from seem.tasks.reference import replace_visual_tokens

OBJECTS, WORDS, REFERENCES = Axis("objects"), Axis("words"), Axis("references")


class QueryGraph(nn.Module):
    """Prompts in, the masks of all queries that answer them out.

    `takes_marks` and `takes_phrases` say which inputs it has. With both, the visual queries also attend to the phrase.
    """

    def __init__(
        self, network: Segmenter, name: str, *, takes_marks: bool, takes_phrases: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.policy = network.decoder.policy
        self.takes_marks = takes_marks
        self.takes_phrases = takes_phrases
        self.has_memory = takes_marks and self.policy.group(RowKind.MEMORY) is not None
        self.takes_reference = takes_marks and self.policy.reference is not None
        self.answers_phrases = takes_phrases and self.policy.phrase is RowKind.PHRASE

    # --- Description -------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> GraphSpec:
        """What the graph takes and returns."""
        inputs = [*encoding_tensors(self.network)]
        if self.takes_marks:
            inputs += point_tensors(self.network)
        if self.has_memory:
            inputs += memory_tensors()
        if self.takes_phrases:
            what = "tokens of all phrases, from the text graph"
            inputs.append(TensorSpec("phrase_tokens", (WORDS, self._dim), what))
            what = "0 = a token, -1 = padding"
            inputs.append(TensorSpec("phrase_owners", (WORDS,), what, "int64"))
        if self.takes_reference:
            inputs += reference_tensors(self._dim, self._mask_dim, self._objects)
        outputs = []
        if self.takes_marks:
            outputs += self._visual_tensors()
        if self.answers_phrases:
            outputs += self._phrase_tensors()
        what = " and ".join(
            word
            for word, given in (("marks", self.takes_marks), ("phrases", self.takes_phrases))
            if given
        )
        text = f"Answers {what}. The masks are those of all queries; a program chooses among them."
        spec = GraphSpec(self.name, text, tuple(inputs), tuple(outputs))
        return spec.with_sizes(fixed_sizes(self.network.config))

    @property
    def _dim(self) -> int:
        return self.network.config.decoder.dim

    @property
    def _mask_dim(self) -> int:
        return self.network.config.pixel_decoder.mask_dim

    @property
    def _objects(self) -> Axis | int:
        """The axis of objects; one where the prompts of an object steer all queries."""
        return OBJECTS if self.policy.takes_many else 1

    @property
    def _num_phrase_queries(self) -> int:
        return self.network.config.decoder.num_queries - (
            self.policy.group(RowKind.IMAGE) is not None
        )

    def _visual_tensors(self) -> list[TensorSpec]:
        objects = self._objects
        queries = self.policy.visual_queries or self._num_phrase_queries
        _, _, height4, width4 = map_at(1, 4)
        return [
            TensorSpec(
                "masks", (objects, queries, height4, width4), "mask logits at stride 4, inside > 0"
            ),
            TensorSpec(
                "agreement",
                (objects, queries),
                "how well each query fits the positive points (or the reference): the largest answers",
            ),
            TensorSpec(
                "class_vectors",
                (objects, queries, self._dim),
                "each query in the text space, any length",
            ),
            TensorSpec(
                "point_tokens",
                (len(LEVEL_STRIDES), POINTS, self._dim),
                "features of the points; reference_tokens of another image's question",
            ),
            TensorSpec(
                "point_vectors",
                (objects, self._mask_dim),
                "mean mask features under the positive points; reference_vectors of another image's question",
            ),
        ]

    def _phrase_tensors(self) -> list[TensorSpec]:
        queries = self._num_phrase_queries
        _, _, height4, width4 = map_at(1, 4)
        return [
            TensorSpec(
                "phrase_masks", (1, queries, height4, width4), "mask logits at stride 4, inside > 0"
            ),
            TensorSpec(
                "phrase_class_vectors",
                (1, queries, self._dim),
                "the query whose cosine with the phrase's vector is largest answers",
            ),
        ]

    # --- Computation -------------------------------------------------------------------------------------------------

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Answer prompts; inputs in the order of the specification."""
        given = by_name(self.spec, tensors)
        encoding = read_encoding(self.network, given)
        phrases = None
        if self.takes_phrases:
            phrases = PhraseTokens(given["phrase_tokens"][None], given["phrase_owners"][None])
        query = DecoderQuery(phrases=phrases, composed=self.takes_phrases)
        wanted = set()
        tokens = reference = None
        if self.takes_marks:
            num_objects = given["has_previous"].shape[0] if self.has_memory else 1
            tokens = self._points(given, encoding.pixels.mask_features.maps, num_objects)
            if self.takes_reference:
                reference = self._reference(given)
            query = self._query(given, phrases, tokens, reference, num_objects)
            assert self.policy.visual is not None
            wanted.add(self.policy.visual)
        if self.answers_phrases:
            wanted.add(RowKind.PHRASE)
        output = self.network.decode(encoding, query, frozenset(wanted), FairDraws())
        results: list[Tensor] = []
        mask_features = encoding.pixels.mask_features.maps
        if tokens is not None:
            queries = output.visual if self.policy.visual is RowKind.VISUAL else output.object
            assert queries is not None
            vectors = tokens.positive_vectors
            if reference is not None:
                has_points = (given["point_owners"] >= 0).any()
                vectors = torch.where(has_points, vectors, reference.positive_vectors)
            results += answers_by_object(queries, mask_features, vectors)
            results += (torch.cat(tokens.levels), tokens.positive_vectors[0])
        if output.phrase is not None and self.answers_phrases:
            masks = dot(output.phrase.mask_embeddings, mask_features)
            results += (masks, output.phrase.class_vectors)
        return tuple(results)

    def _points(
        self, given: dict[str, Tensor], mask_features: Tensor, num_objects: int
    ) -> VisualTokens:
        """Turn points into the visual tokens of all objects, with the mean mask features under each sign."""
        encoder = self.network.prompt_encoder
        assert encoder is not None
        encoding = read_encoding(self.network, given)
        owner, is_positive = given["point_owners"], given["point_labels"] > 0
        features = sample_at(mask_features, given["points"][None], align_corners=True).mT
        objects = torch.arange(num_objects, device=owner.device)[:, None]
        vectors = []
        for chosen in (is_positive, ~is_positive):
            is_owned = ((owner == objects) & chosen)[None]
            counts = is_owned.sum(dim=-1, keepdim=True)
            means = (is_owned.to(features.dtype) @ features) / counts.clamp(min=1)
            vectors.append(torch.where(counts > 0, means, self.policy.no_points))
        return VisualTokens(point_tokens(encoder, given, encoding), owner[None], *vectors)

    def _reference(self, given: dict[str, Tensor]) -> VisualTokens:
        vectors = given["reference_vectors"][None]
        levels = given["reference_tokens"][:, None].unbind(0)
        return VisualTokens(
            levels, given["reference_owners"][None], vectors, torch.zeros_like(vectors)
        )

    def _query(
        self,
        given: dict[str, Tensor],
        phrases: PhraseTokens | None,
        tokens: VisualTokens,
        reference: VisualTokens | None,
        num_objects: int,
    ) -> DecoderQuery:
        """Put all prompts together as the policy reads them."""
        if reference is not None and self.policy.reference is RowKind.VISUAL_TOKENS:
            tokens, reference = replace_visual_tokens(tokens, reference), None
        previous = has_previous = None
        if self.has_memory:
            previous, has_previous = given["previous"][None], given["has_previous"][None] > 0
        return DecoderQuery(
            visual=tokens,
            phrases=phrases,
            reference=reference,
            previous=previous,
            has_previous=has_previous,
            num_objects=num_objects,
            composed=phrases is not None,
        )


def memory_tensors() -> tuple[TensorSpec, ...]:
    """Describe the mask of the previous round."""
    _, _, height4, width4 = map_at(1, 4)
    return (
        TensorSpec(
            "previous",
            (OBJECTS, height4, width4),
            "mask logits of the previous round; any where there was none",
        ),
        TensorSpec(
            "has_previous", (OBJECTS,), "1 where an object has a previous mask, else 0", "int64"
        ),
    )


def reference_tensors(dim: int, mask_dim: int, objects: Axis | int) -> tuple[TensorSpec, ...]:
    """Describe regions of other images."""
    return (
        TensorSpec(
            "reference_tokens",
            (len(LEVEL_STRIDES), REFERENCES, dim),
            "point_tokens of a region of another image (its pixels as positive points)",
        ),
        TensorSpec(
            "reference_owners", (REFERENCES,), "index of the object of each, -1 = padding", "int64"
        ),
        TensorSpec(
            "reference_vectors",
            (objects, mask_dim),
            "point_vectors of that region; 0 = no reference",
        ),
    )


def answers_by_object(
    queries: QueryOutputs, mask_features: Tensor, vectors: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return masks, agreement with the objects' vectors, and class vectors of all queries, object by object."""
    num_objects = vectors.shape[1]
    masks = dot(queries.mask_embeddings, mask_features)[0]
    return (
        torch.unflatten(masks, 0, (num_objects, -1)),
        prompt_agreement(queries, vectors)[0],
        torch.unflatten(queries.class_vectors[0], 0, (num_objects, -1)),
    )
