"""`find` on recorded answers of the official networks: what a phrase competes with decides what it collects."""

import pytest
import torch

from parity.recording import Folder
from seem.tasks.find import FIND_THRESHOLD, add_rival_logits, rival_names
from seem.vocabulary import Vocabulary

pytestmark = pytest.mark.requires_shared

CASES = [
    *(
        "seem_v1_focalt/panoptic_decoder",
        "seem_v1_davitd3/panoptic_decoder",
        "xdecoder_focall/panoptic_decoder",
    ),
    "seem_demo_focalt/panoptic",
]
NAMES = Vocabulary.coco_panoptic().phrases


@pytest.mark.parametrize("case", CASES)
def test_without_rivals_a_phrase_collects_most_of_a_network_that_knows_nothing(shared, case):
    """Their weights say nothing about cars: to be told from the background alone is no sign of one."""
    folder = Folder(shared / "parity")
    recording = folder.open(case)
    (name,) = recording.names(r"pred_logits(_q\d+)?")
    logits = recording.tensor(name)[0].double()
    table = folder.open("seem_v1_focalt/panoptic_decoder").tensor("text_embeddings")
    car = NAMES.index("car")
    rivals = rival_names(["car"], table[[car]], NAMES, table[:-1])
    assert [name for name, speaks in zip(NAMES, rivals.tolist(), strict=True) if not speaks] == [
        "car"
    ]

    alone = logits[:, [car, -1]]
    among = add_rival_logits(alone, logits[:, :-1][:, rivals])
    torch.testing.assert_close(among.softmax(dim=-1)[:, 0], logits.softmax(dim=-1)[:, car])
    assert (alone.softmax(dim=-1)[:, 0] >= FIND_THRESHOLD).double().mean() > 0.6
    assert not (among.softmax(dim=-1)[:, 0] >= FIND_THRESHOLD).any()
