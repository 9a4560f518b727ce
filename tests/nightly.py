"""Checks that take too long for every change: they run where ``APTUNE_NIGHTLY`` is set."""

import os

import pytest

VARIABLE = "APTUNE_NIGHTLY"


def nightly(why: str) -> pytest.MarkDecorator:
    """Skip a test by day, and say what it would take."""
    return pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{why}: {VARIABLE}=1")
