"""Checks that take too long for every change: `make nightly` runs them, `make test` says so."""

import pytest


def nightly(why: str) -> pytest.MarkDecorator:
    """Skip a test, or one of its parameters, by day, and say why (see `tests/conftest.py`)."""
    return pytest.mark.nightly(why)


BETWEEN = tuple(pytest.param(stage, marks=nightly("stages 0 and 3 by day")) for stage in (1, 2))
"""ZeRO stages between the extremes."""
TORCH = pytest.param("torch", marks=nightly("DeepSpeed by day"))
"""The engine without DeepSpeed, where two workers run both."""
