"""The import hook of conftest.py really checks shapes: else the annotations would be comments."""

import inspect
from importlib import import_module

import pytest

from tests.conftest import SHAPE_CHECKED


@pytest.mark.parametrize("name", SHAPE_CHECKED)
def test_functions_of_a_formula_file_are_checked_at_run_time(name: str) -> None:
    module = import_module(name)
    functions = [
        function
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == name
    ]
    assert functions
    assert all(hasattr(function, "__wrapped__") for function in functions)
