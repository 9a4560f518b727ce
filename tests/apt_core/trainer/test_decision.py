"""Decisions are values: what changes a shape, and digests that tell them apart."""

from typing import Any

import pytest
import torch

from apt_core.models.surgery_record import KeptBlocks
from apt_core.pruner.policy import PrunePlan
from apt_core.trainer.decision import Decision
from apt_core.tuner.policy import RankPlan
from tests.tiny import tiny_model


def prune(*heads: int, hidden: int = 8) -> PrunePlan:
    """A plan that keeps these heads and the first hidden dimensions."""
    kept = KeptBlocks({"a": torch.tensor(heads)}, torch.arange(hidden))
    return PrunePlan(kept, tiny_model()[1], 0.5)


def ranks(rank: int) -> RankPlan:
    """A plan for one adapter."""
    return RankPlan({"site": rank}, budget=99)


def test_digests_tell_decisions_apart() -> None:
    decisions = [
        Decision(),
        Decision(take_teacher=True),
        Decision(drop_teacher=True),
        Decision(one_shot=True),
        Decision(add_gates=True),
        Decision(prune=prune(0, 1)),
        Decision(prune=prune(0, 2)),
        Decision(prune=prune(0, 1, hidden=7)),
        Decision(tune=ranks(3)),
        Decision(tune=ranks(4)),
        Decision(prune=prune(0, 1), tune=ranks(4)),
    ]
    assert len({decision.digest() for decision in decisions}) == len(decisions)


def test_equal_decisions_have_equal_digests() -> None:
    one, other = (Decision(prune=prune(0, 1), tune=ranks(4)) for _ in range(2))
    assert one.digest() == other.digest()


CHANGES: list[tuple[dict[str, Any], bool]] = [
    ({}, False),
    ({"mask": prune(0)}, False),
    ({"prune": prune(0)}, True),
    ({"tune": ranks(3)}, True),
    ({"take_teacher": True}, True),
    ({"drop_teacher": True}, True),
    ({"one_shot": True}, True),
    ({"add_gates": True}, True),
]


@pytest.mark.parametrize(("parts", "changes"), CHANGES, ids=lambda v: str(v)[:20])
def test_everything_but_masks_changes_the_shape(parts: dict[str, Any], changes: bool) -> None:
    assert Decision(**parts).changes_shape == changes
