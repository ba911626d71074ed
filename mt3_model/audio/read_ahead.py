"""Compute the next items of an iterator in a thread, while the caller works on the last one.

libsndfile, FFmpeg, NumPy and soxr release the interpreter lock, so decoding and mixing the next
blocks takes no time from resampling and sending the last one.
"""

import collections
import contextlib
import threading
from collections.abc import Generator, Iterator
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class _Ahead(Generic[_Item]):
    """The items that the thread has ready, and what the two threads tell each other."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.items: collections.deque[_Item] = collections.deque()
        self.changed = threading.Condition()
        self.has_ended = False
        self.is_unwanted = False
        self.error: BaseException | None = None

    def fill(self, items: Generator[_Item]) -> None:
        """Compute all items; the thread runs this."""
        try:
            with contextlib.closing(items):
                for item in items:
                    with self.changed:
                        self.items.append(item)
                        self.changed.notify_all()
                        self.changed.wait_for(
                            lambda: self.is_unwanted or len(self.items) < self.most
                        )
                    if self.is_unwanted:
                        return
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            self.error = error
        finally:
            with self.changed:
                self.has_ended = True
                self.changed.notify_all()

    def take(self) -> Iterator[_Item]:
        """Yield the items, and then raise the error of the iterator, if there is one."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.items or self.has_ended)
                if not self.items:
                    break
                item = self.items.popleft()
                self.changed.notify_all()
            yield item
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Let the thread end after its current item."""
        with self.changed:
            self.is_unwanted = True
            self.changed.notify_all()


def read_ahead(items: Generator[_Item], *, most: int) -> Generator[_Item]:
    """Yield the items of a generator, which runs in a thread.

    The thread has ended when this ends, also if the caller closes it early. Then the generator was
    closed in the thread, having computed up to ``most`` + 1 items that nobody took. Errors of the
    generator are raised here, after the items before them.

    Args:
        items: the generator; nothing else may use it.
        most: most items that wait for the caller, at least 1.
    """
    ahead: _Ahead[_Item] = _Ahead(most)
    thread = threading.Thread(target=ahead.fill, args=(items,), name="read-ahead", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system starts no more threads
        yield from items
        return
    try:
        yield from ahead.take()
    finally:
        ahead.stop()
        thread.join()
