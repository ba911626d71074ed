"""Notices, on the event loop, that the device's thread gives no sign of life.

It cannot end a call that hangs: nothing can, short of ending the process. It makes sure that nobody
waits for it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

from service.engine.loop import DeviceLoop
from service.engine.watched_backend import DeviceCall
from service.observability.logging import log_event

_LOOKS_PER_HANG = 8
"""A hang is noticed at most an eighth of ``hang_seconds`` late."""
_logger = logging.getLogger(__name__)


class Watchdog:
    """Looks at one device loop now and then."""

    def __init__(
        self,
        loop: DeviceLoop,
        *,
        hang_seconds: float,
        on_hang: Callable[[], None],
        on_death: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """Does not look yet.

        Args:
            loop: The device's.
            hang_seconds: A call that lasts longer has hung.
            on_hang: Told once of each such call.
            on_death: Told once that the loop's thread has ended; nothing comes from it any more.
            clock: The loop's.
        """
        self._loop = loop
        self._hang_seconds = hang_seconds
        self._on_hang = on_hang
        self._on_death = on_death
        self._clock = clock
        self._hung_call: DeviceCall | None = None

    @property
    def sees_hang(self) -> bool:
        """Whether the call under way is known to hang."""
        call = self._loop.device_call
        return call is not None and call is self._hung_call

    async def watch(self, thread: threading.Thread) -> None:
        """Looks until it is cancelled, or the thread has ended."""
        while thread.is_alive():
            self._look()
            await asyncio.sleep(self._hang_seconds / _LOOKS_PER_HANG)
        log_event(_logger, "engine_thread_ended", level=logging.CRITICAL)
        self._on_death()

    def _look(self) -> None:
        call = self._loop.device_call
        if call is None or call is self._hung_call:
            return
        seconds = self._clock() - call.began
        if seconds > self._hang_seconds:
            self._hung_call = call
            log_event(_logger, "engine_hangs", level=logging.ERROR, seconds=seconds)
            self._on_hang()
