"""The length of the recording in work: from where it is opened to where it is noted.

The queue begins an item and would note the length at once, so that a job's progress says of how
much it is; the engine's side learns it when the recording is open. Between them lie fetching and
storing, which have no use for it: it goes by the context of the item's own task.
"""

import contextlib
import contextvars
from collections.abc import Awaitable, Callable, Generator

Note = Callable[[float], Awaitable[None]]
"""Is given a length in seconds."""
_note: contextvars.ContextVar[Note | None] = contextvars.ContextVar("length_note", default=None)


@contextlib.contextmanager
def noting_length(note: Note) -> Generator[None]:
    """Lets `note_length` reach ``note`` in what this task does meanwhile."""
    token = _note.set(note)
    try:
        yield
    finally:
        _note.reset(token)


async def note_length(audio_seconds: float | None) -> None:
    """Tells the length of the recording that this task works on; nothing where nobody asked.

    Args:
        audio_seconds: By the recording's own account; absent: it gives none.
    """
    note = _note.get()
    if note is not None and audio_seconds is not None:
        await note(audio_seconds)
