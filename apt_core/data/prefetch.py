"""Batches that a thread makes while the one before them is computed."""

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
DEPTH = 2


@dataclass(frozen=True)
class _Made(Generic[T]):
    item: T


def prefetched(items: Iterator[T], depth: int = DEPTH) -> Generator[T, None, None]:
    """The same items in the same order; some are made before they are asked for.

    Args:
        items: Asked by one thread of its own, from the first request on; must draw no random
            numbers from the process's generators, which the training uses.
        depth: How many are made ahead at most.

    Yields:
        T: The items. Whoever asks for no more closes this iterator, or lets go of it; the thread
        then ends.

    Raises:
        BaseException: What making an item raised, when its turn comes.
    """
    made: SimpleQueue[_Made[T] | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(depth)
    is_left = threading.Event()

    def make() -> None:
        try:
            while room.acquire() and not is_left.is_set():
                made.put(_Made(next(items)))
        except StopIteration:
            made.put(None)
        except BaseException as error:
            made.put(error)

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        while (found := made.get()) is not None:
            if isinstance(found, BaseException):
                raise found
            room.release()
            yield found.item
    finally:
        is_left.set()
        room.release()
        if threading.current_thread() is not thread:  # whoever collects garbage may be the thread
            thread.join()
