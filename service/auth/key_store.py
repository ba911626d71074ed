"""The current API keys: read at the start, and again when the key file changes.

Whether requests need a key is decided once, by whether keys are configured, and never by the file's
content: an empty, damaged or missing file can lock callers out but never admit everyone. A file
that cannot be used leaves the keys as they were; this is logged (``keys_reload_failed``) and
counted (``mt3_key_reloads_total{outcome="failed"}``).

The file is checked every two seconds, in a thread, and read when its time, size or inode has
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
    """The attributes of a file that change when it is written or replaced."""

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
        """Read the keys for the first time.

        Args:
            path: the key file (`MT3_API_KEYS_FILE`).
            key_list: value of `MT3_API_KEYS`.
            metrics: the server's metrics registry.
            now: clock for the expiry of keys.
            poll_seconds: time between two checks of the file.

        Raises:
            OptionError: one of them cannot be used; a server does not start with only some of its
                keys.
        """
        self.are_required = path is not None or key_list is not None
        """Whether requests need a key; constant."""
        self.are_in_file = path is not None
        """Whether there is a file to reload."""
        self._path = path
        self._now = now
        self._poll_seconds = poll_seconds
        self._metrics = metrics or Metrics()
        self._listed = () if key_list is None else parse_key_list(key_list)
        self._state = self._file_state()
        self._ring = self._read()
        self._metrics.api_keys.set(len(self._ring))
        self._watching: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def authenticate(self, presented: str | None) -> Caller:
        """Return the caller of a request.

        Args:
            presented: the key in the request; None unless there is exactly one.

        Raises:
            AuthenticationError: keys are required and this one is not valid. Message and work are
                the same for unknown, revoked and expired keys, so that they cannot be
                distinguished.
        """
        if not self.are_required:
            return ANONYMOUS
        caller = self._ring.find_caller(presented or "", self._now())
        if caller is None or presented is None:
            raise AuthenticationError(
                "the key in the request is unknown to this server; check that it is complete, and"
                " not revoked or expired"
            )
        return caller

    def limits_of(self, name: str) -> CallerLimits:
        """Return the limits of a caller by name, for work that is done after its request."""
        return self._ring.limits_of(name)

    async def start(self) -> None:
        """Start watching the file, if there is one."""
        if self._path is not None:
            self._loop = asyncio.get_running_loop()
            self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching the file."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    def ask_to_reload(self) -> None:
        """Request a reload, changed or not; callable from a signal handler or any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._asked.set)

    def refresh(self, *, always: bool = False) -> None:
        """Read the file if it has changed, or ``always``; blocks."""
        # Checked before it is read: a change in between is seen at the next check.
        state = self._file_state()
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

    def _file_state(self) -> _FileState | None:
        """Return the file's attributes; None if they cannot be read."""
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
            # A name or key in both places would have two sets of limits.
            require_distinct(entries, place=f"{self._path} and MT3_API_KEYS")
            self._warn_if_exposed(self._path)
        return KeyRing(key for entry in entries for key in entry.to_keys())

    def _warn_if_exposed(self, path: Path) -> None:
        """Log a warning if other users can read the file: names and limits are private too."""
        with contextlib.suppress(OSError):
            mode = path.stat().st_mode
            if mode & _READABLE_BY_OTHERS:
                log_event(
                    _logger, "keys_file_readable_by_others", level=logging.WARNING,
                    file=str(path), mode=f"{stat.S_IMODE(mode):o}", expected="600",
                )  # fmt: skip
