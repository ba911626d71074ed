"""A watchdog, on the event loop, for the device's thread.

A call that hangs cannot be ended without ending the process. The watchdog only makes sure that
nothing waits for it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable

from service.engine.loop import DeviceLoop
from service.engine.watched_backend import DeviceCall
from service.observability.logging import log_event

_CHECKS_PER_HANG = 8
"""A hang is noticed at most an eighth of ``hang_seconds`` late."""
_logger = logging.getLogger(__name__)


class Watchdog:
    """Checks one device loop at intervals."""

    def __init__(
        self,
        loop: DeviceLoop,
        *,
        hang_seconds: float,
        on_hang: Callable[[], None],
        on_death: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """Prepare; `watch` begins.

        Args:
            loop: the device loop.
            hang_seconds: a call that lasts longer counts as hung.
            on_hang: called once for each such call.
            on_death: called once when the loop's thread has ended.
            clock: the loop's clock.
        """
        self._loop = loop
        self._hang_seconds = hang_seconds
        self._on_hang = on_hang
        self._on_death = on_death
        self._clock = clock
        self._hung_call: DeviceCall | None = None

    @property
    def sees_hang(self) -> bool:
        """Whether the call in progress is known to hang."""
        call = self._loop.device_call
        return call is not None and call is self._hung_call

    async def watch(self, thread: threading.Thread) -> None:
        """Check until canceled, or until the thread has ended."""
        while thread.is_alive():
            self._check()
            await asyncio.sleep(self._hang_seconds / _CHECKS_PER_HANG)
        log_event(_logger, "engine_thread_ended", level=logging.CRITICAL)
        self._on_death()

    def _check(self) -> None:
        call = self._loop.device_call
        if call is None or call is self._hung_call:
            return
        seconds = self._clock() - call.began
        if seconds > self._hang_seconds:
            self._hung_call = call
            log_event(_logger, "engine_hangs", level=logging.ERROR, seconds=seconds)
            self._on_hang()
