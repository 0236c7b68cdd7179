"""Which graphs a model is exported as."""

from __future__ import annotations

from seem.exporting.caption_graph import CaptionGraph
from seem.exporting.conversion import SpecifiedGraph
from seem.exporting.dense_graph import DensePromptGraph
from seem.exporting.image_graph import ImageGraph
from seem.exporting.query_graphs import QueryGraph
from seem.exporting.text_graph import TextGraph
from seem.models.segmenter import Segmenter

GRAPH_NAMES = ("image", "text", "prompts", "phrases", "captions")


def graphs_of(network: Segmenter) -> tuple[SpecifiedGraph, ...]:
    """Return the graphs of a network: image and text, then those that answer.

    Dense models answer marks and phrases alike in `prompts`; of the published models the demo does too, SEEM v0 and v1
    answer marks there and phrases in `phrases`, X-Decoder has phrases and `captions`.
    """
    common = (ImageGraph(network), TextGraph(network))
    if network.kind.name == "dense":
        return (*common, DensePromptGraph(network))
    policy = network.decoder.policy
    takes_marks = policy.visual is not None
    if policy.phrase is policy.visual:
        return (*common, QueryGraph(network, "prompts", takes_marks=True, takes_phrases=True))
    phrases = QueryGraph(network, "phrases", takes_marks=takes_marks, takes_phrases=True)
    if not takes_marks:
        return (*common, phrases, CaptionGraph(network))
    return (*common, QueryGraph(network, "prompts", takes_marks=True, takes_phrases=False), phrases)
