"""Items made ahead are the same items, errors come in their turn, and no thread stays."""

import gc
import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from apt_core.data.prefetch import prefetched


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    gc.collect()
    assert threads() == []


def wait_for(made: list[int], count: int) -> None:
    deadline = time.monotonic() + 10
    while len(made) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def noting(made: list[int], count: int | None = None) -> Iterator[int]:
    for i in itertools.count() if count is None else range(count):
        made.append(i)
        yield i


@pytest.mark.parametrize("depth", [1, 2, 7])
def test_items_come_in_their_order_and_end(depth: int) -> None:
    assert list(prefetched(iter(range(100)), depth)) == list(range(100))
    assert list(prefetched(iter([]), depth)) == []


def test_items_are_made_ahead_but_not_more_than_allowed() -> None:
    made: list[int] = []
    items = prefetched(noting(made), depth=3)
    assert made == []  # nobody has asked yet
    assert next(items) == 0
    wait_for(made, 4)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]
    assert next(items) == 1
    wait_for(made, 5)
    items.close()


def test_they_are_made_in_one_thread_that_is_not_ours() -> None:
    def who() -> Iterator[int]:
        for _ in range(10):
            yield threading.get_ident()

    found = set(prefetched(who()))
    assert len(found) == 1
    assert threading.get_ident() not in found


def test_an_error_comes_when_its_turn_does() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the file is gone")

    items = prefetched(broken(), depth=5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="the file is gone"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)


def test_whoever_leaves_takes_the_thread_along() -> None:
    made: list[int] = []
    items = prefetched(noting(made))
    next(items)
    assert threads() == ["prefetch"]
    del items
    gc.collect()
    assert threads() == []
    count = len(made)
    time.sleep(0.05)
    assert len(made) == count


def test_the_threads_own_garbage_collection_may_end_it() -> None:
    """The iterator hangs in a cycle, and it is the thread that finds it."""
    started = threading.Event()

    def collecting() -> Iterator[int]:
        yield 0
        started.wait(10)
        gc.collect()
        yield 1

    gc.disable()
    try:
        cycle: list[object] = [prefetched(collecting(), depth=5)]
        assert next(cycle[0]) == 0  # type: ignore[call-overload]
        cycle.append(cycle)
        del cycle
        started.set()
        deadline = time.monotonic() + 10
        while threads():
            assert time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        gc.enable()
