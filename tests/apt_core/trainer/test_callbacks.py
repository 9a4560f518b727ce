"""Callbacks: everybody hears everything, in order; the base class does nothing."""

import inspect

import pytest

from apt_core.trainer.callbacks import Callback, Callbacks

EVENTS = [name for name, _ in inspect.getmembers(Callback, inspect.isfunction)]


class Recorder(Callback):
    """Writes down what it hears, with its own name, into a list that several may share."""

    def __init__(self, name, heard):
        for event in EVENTS:
            setattr(self, event, lambda *args, event=event: heard.append((name, event, args)))


def arguments(event):
    """As many different objects as the event has parameters."""
    return tuple(object() for _ in list(inspect.signature(getattr(Callback, event)).parameters)[1:])


def test_there_is_an_event_for_every_moment():
    assert set(EVENTS) == {
        "on_train_start",
        "on_step_end",
        "on_surgery",
        "on_checkpoint",
        "on_train_end",
        "on_error",
    }


@pytest.mark.parametrize("event", EVENTS)
def test_all_callbacks_hear_an_event_in_order_with_its_arguments(event):
    heard: list[tuple] = []
    given = arguments(event)
    getattr(Callbacks([Recorder("a", heard), Recorder("b", heard)]), event)(*given)
    assert heard == [("a", event, given), ("b", event, given)]


@pytest.mark.parametrize("event", EVENTS)
def test_a_callback_that_overrides_nothing_does_nothing(event):
    assert getattr(Callback(), event)(*arguments(event)) is None
    assert getattr(Callbacks([]), event)(*arguments(event)) is None


@pytest.mark.parametrize("event", EVENTS)
def test_the_group_forwards_every_event_itself(event):
    assert event in vars(Callbacks)
