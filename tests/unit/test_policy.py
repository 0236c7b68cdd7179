"""The attention tables: what they promise the decoder, and which rows a question needs."""

import pytest

from seem.models.decoder.policy import NANO, POLICIES, SEEM_V1, RowKind

OBJECT, PHRASE, VISUAL, MEMORY = RowKind.OBJECT, RowKind.PHRASE, RowKind.VISUAL, RowKind.MEMORY
PHRASE_TOKENS, VISUAL_TOKENS, REFERENCE_TOKENS = (
    RowKind.PHRASE_TOKENS,
    RowKind.VISUAL_TOKENS,
    RowKind.REFERENCE_TOKENS,
)


def kinds(groups):
    return [group.kind for group in groups]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
class TestEveryTable:
    def test_a_kind_has_one_row(self, policy):
        assert len(set(kinds(policy.groups))) == len(policy.groups)
        assert policy.group(OBJECT).kind is OBJECT

    def test_rows_that_read_the_picture_come_first(self, policy):
        reads = [group.reads_image for group in policy.groups]
        assert reads == sorted(reads, reverse=True)

    def test_tokens_that_change_from_level_to_level_come_last(self, policy):
        changing = [kind in (REFERENCE_TOKENS, VISUAL_TOKENS) for kind in kinds(policy.groups)]
        assert changing == sorted(changing)

    def test_what_is_seen_has_a_row(self, policy):
        assert {kind for group in policy.groups for kind in group.attends_to} <= set(
            kinds(policy.groups)
        )

    def test_every_row_sees_its_own_kind(self, policy):
        assert all(group.kind in group.attends_to for group in policy.groups)

    def test_composing_twice_is_composing_once(self, policy):
        assert policy.composed().composed() == policy.composed()


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        (OBJECT, {OBJECT}),
        (PHRASE, {PHRASE, PHRASE_TOKENS}),
        (VISUAL, {VISUAL, VISUAL_TOKENS, MEMORY}),
        (MEMORY, {MEMORY}),
        (PHRASE_TOKENS, {PHRASE, PHRASE_TOKENS}),
        (VISUAL_TOKENS, {VISUAL_TOKENS}),
    ],
)
def test_v1_sees_what_the_official_table_says(kind, seen):
    assert SEEM_V1.group(kind).attends_to == seen


EVERYTHING = frozenset(RowKind)


@pytest.mark.parametrize(
    ("policy", "asked", "present", "needed"),
    [
        (SEEM_V1, {OBJECT}, EVERYTHING, [OBJECT]),
        (SEEM_V1, {PHRASE}, EVERYTHING, [PHRASE, PHRASE_TOKENS]),
        (SEEM_V1, {VISUAL}, EVERYTHING, [VISUAL, MEMORY, VISUAL_TOKENS]),
        (SEEM_V1, {VISUAL}, EVERYTHING - {MEMORY}, [VISUAL, VISUAL_TOKENS]),
        (SEEM_V1, {VISUAL}, {OBJECT}, []),
        (SEEM_V1, {OBJECT, PHRASE}, {OBJECT, PHRASE}, [OBJECT, PHRASE]),
        (
            SEEM_V1.composed(),
            {VISUAL},
            EVERYTHING,
            [PHRASE, VISUAL, MEMORY, PHRASE_TOKENS, VISUAL_TOKENS],
        ),
        (NANO, {VISUAL}, EVERYTHING, [VISUAL, PHRASE_TOKENS, REFERENCE_TOKENS, VISUAL_TOKENS]),
    ],
)
def test_only_rows_that_matter_are_needed(policy, asked, present, needed):
    assert kinds(policy.needed(frozenset(asked), frozenset(present))) == needed


def test_composition_lets_visual_queries_hear_the_phrase_and_changes_nothing_else():
    plain, composed = SEEM_V1, SEEM_V1.composed()
    changed = [
        before.kind
        for before, after in zip(plain.groups, composed.groups, strict=True)
        if before != after
    ]
    assert changed == [VISUAL]
    assert composed.group(VISUAL).attends_to == plain.group(VISUAL).attends_to | {PHRASE_TOKENS}


def test_nano_composes_already():
    assert NANO.composed() is NANO
    assert NANO.group(PHRASE) is None
