"""Tests that share a fixture or own a cluster stay on one xdist worker."""

import os

import pytest


@pytest.mark.xdist_group("grouping")
@pytest.mark.parametrize("number", [1, 2])
def test_groups_reach_the_scheduler(request: pytest.FixtureRequest, number: int) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("xdist is not at work: there is one worker for everything")
    # The scheduler reads groups from the end of the ids; a pytest that hides them spreads clusters.
    assert request.node.nodeid.endswith("@grouping"), f"test {number} has no group"
