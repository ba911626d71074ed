"""The keys that count now: read at the start, read again when the key file changes.

Whether keys are asked for is settled once, by whether any were configured, and by nothing that is
in the file: a file that is emptied, damaged or gone can shut people out, and can never let
everybody in. A file that cannot be used leaves the keys as they were, an event in the log
(``keys_reload_failed``) and a count (``mt3_key_reloads_total{outcome="failed"}``).

The file is looked at every two seconds, in a thread, and read when its time, size or inode has
changed, or when `ask_to_reload` is called (SIGHUP).
"""

import asyncio
import contextlib
import dataclasses
import datetime
import logging
import stat
from collections.abc import Callable
from pathlib import Path

from mt3_model.errors import OptionError
from service.auth.api_keys import KeyRing
from service.auth.caller import ANONYMOUS, Caller, CallerLimits
from service.auth.key_file import KeyEntry, parse_key_list, read_key_file, require_distinct
from service.errors import AuthenticationError
from service.observability.logging import log_event
from service.observability.metrics import Metrics

POLL_SECONDS = 2.0
_READABLE_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _FileState:
    """What changes when a file is written or replaced."""

    modified_nanoseconds: int
    size_bytes: int
    inode: int


class KeyStore:
    """The server's keys."""

    def __init__(
        self,
        path: Path | None = None,
        key_list: str | None = None,
        *,
        metrics: Metrics | None = None,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Reads the keys for the first time.

        Args:
            path: The key file (`MT3_API_KEYS_FILE`).
            key_list: `MT3_API_KEYS`.
            metrics: Where keys and reloads are counted.
            now: The clock that keys expire by.
            poll_seconds: How often the file is looked at.

        Raises:
            OptionError: One of them cannot be used: a server does not start on half its keys.
        """
        self.are_required = path is not None or key_list is not None
        """Whether requests need a key; never changes."""
        self.are_in_file = path is not None
        """Whether there is something to reload."""
        self._path = path
        self._now = now
        self._poll_seconds = poll_seconds
        self._metrics = metrics or Metrics()
        self._listed = () if key_list is None else parse_key_list(key_list)
        self._state = self._look()
        self._ring = self._read()
        self._metrics.api_keys.set(len(self._ring))
        self._watching: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def authenticate(self, presented: str | None) -> Caller:
        """Tells who asks.

        Args:
            presented: The key in the request, if there is exactly one.

        Raises:
            AuthenticationError: Keys are required and this is none that counts. The same words
                and the same work for a key that is unknown, revoked or expired, so that nobody
                learns which.
        """
        if not self.are_required:
            return ANONYMOUS
        caller = self._ring.find_caller(presented or "", self._now())
        if caller is None or presented is None:
            raise AuthenticationError(
                "the key in the request is not one that this server knows; check that it is whole"
                " and not revoked or expired"
            )
        return caller

    def limits_of(self, name: str) -> CallerLimits:
        """Gives the limits of a caller by name, for work that is done after its request."""
        return self._ring.limits_of(name)

    async def start(self) -> None:
        """Begins to watch the file; does nothing where there is none."""
        if self._path is not None:
            self._loop = asyncio.get_running_loop()
            self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Ends watching."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    def ask_to_reload(self) -> None:
        """Makes the file be read soon, changed or not; from a signal handler or any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._asked.set)

    def refresh(self, *, always: bool = False) -> None:
        """Reads the file if it has changed, or ``always``; blocks."""
        # Looked at before it is read: a change in between is seen the next time.
        state = self._look()
        if state == self._state and not always:
            return
        self._state = state
        try:
            ring = self._read()
        except OptionError as error:
            self._metrics.key_reloads.labels("failed").inc()
            log_event(
                _logger, "keys_reload_failed", level=logging.ERROR, reason=str(error),
                keys=len(self._ring),
            )  # fmt: skip
            return
        self._ring = ring
        self._metrics.api_keys.set(len(ring))
        self._metrics.key_reloads.labels("loaded").inc()
        log_event(_logger, "keys_loaded", keys=len(ring))

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._asked.wait()
            always = self._asked.is_set()
            self._asked.clear()
            try:
                await asyncio.to_thread(self.refresh, always=always)
            except Exception as error:  # noqa: BLE001 (the task's outer edge: it must go on)
                log_event(_logger, "keys_reload_failed", level=logging.ERROR, error=error)

    def _look(self) -> _FileState | None:
        """What the file looks like from outside; None where it cannot be seen."""
        try:
            found = None if self._path is None else self._path.stat()
        except OSError:
            return None
        if found is None:
            return None
        return _FileState(
            modified_nanoseconds=found.st_mtime_ns, size_bytes=found.st_size, inode=found.st_ino
        )

    def _read(self) -> KeyRing:
        entries: tuple[KeyEntry, ...] = self._listed
        if self._path is not None:
            entries += read_key_file(self._path)
            # A name or key in both places: which limits would count?
            require_distinct(entries, place=f"{self._path} and MT3_API_KEYS")
            self._warn_if_exposed(self._path)
        return KeyRing(key for entry in entries for key in entry.to_keys())

    def _warn_if_exposed(self, path: Path) -> None:
        """Hashes are no keys, but names and limits are nobody else's business either."""
        with contextlib.suppress(OSError):
            mode = path.stat().st_mode
            if mode & _READABLE_BY_OTHERS:
                log_event(
                    _logger, "keys_file_readable_by_others", level=logging.WARNING,
                    file=str(path), mode=f"{stat.S_IMODE(mode):o}", expected="600",
                )  # fmt: skip
