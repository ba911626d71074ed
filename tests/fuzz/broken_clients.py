"""Clients that stall, disconnect, send wrong bytes, send slowly, or do not read the response.

Each behavior is a coroutine that counts its results in a report. The server must not return a 5xx
of its own, must answer `/health` throughout, must not leak, and must afterwards transcribe a good
recording to the same notes as before.
"""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Awaitable, Callable, Iterable

from tests.fuzz import broken_messages
from tests.fuzz.report import PartReport
from tests.fuzz.running_server import RunningServer
from tests.fuzz.wire import Wire

_AT_ONCE = 32
_ANSWER_SECONDS = 4.0
"""Wait for a response; the server closes an idle upload after two seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """The number of requests of each kind."""

    halves: int
    """Requests cut at a random position."""
    mutations: int
    """Requests with random bytes changed."""
    tiny_requests: int
    """Half of them on persistent connections, half on a connection each."""
    idle_connections: int
    idle_seconds: float
    slow_connections: int
    slow_seconds: float
    deaf_connections: int
    deaf_seconds: float


LONG = Extent(
    halves=200, mutations=1_500, tiny_requests=10_000, idle_connections=500, idle_seconds=10.0,
    slow_connections=50, slow_seconds=10.0, deaf_connections=20, deaf_seconds=8.0,
)  # fmt: skip
SHORT = Extent(
    halves=24, mutations=60, tiny_requests=300, idle_connections=100, idle_seconds=1.0,
    slow_connections=20, slow_seconds=1.5, deaf_connections=4, deaf_seconds=1.5,
)  # fmt: skip


class BrokenClients:
    """All behaviors, run against one server."""

    def __init__(self, server: RunningServer, *, seed: int, extent: Extent) -> None:
        self._server = server
        self._rng = random.Random(seed)
        self._extent = extent
        self.behaviors: dict[str, Callable[[PartReport], Awaitable[None]]] = {
            "broken heads": self._send_all(broken_messages.broken_heads()),
            "wrong lengths": self._send_all(broken_messages.wrong_lengths()),
            "broken chunks": self._send_all(broken_messages.broken_chunks()),
            "half requests": self.half_requests,
            "mutations": self.mutations,
            "pipelined garbage": self.pipelined_garbage,
            "tiny, kept": self.tiny_requests_on_kept_connections,
            "tiny, own": self.tiny_requests_on_their_own,
            "idle": self.idle_connections,
            "slow heads": self.slow_heads,
            "deaf": self.deaf_clients,
        }
        """The behaviors by name, in the order of a run."""

    @contextlib.asynccontextmanager
    async def _wire(self, *, receive_bytes: int | None = None, resets: bool = False):
        wire = await Wire.open(self._server.host, self._server.port, receive_bytes=receive_bytes)
        try:
            yield wire
        finally:
            await (wire.reset() if resets else wire.close())

    def _send_all(
        self, messages: Iterable[tuple[str, bytes]]
    ) -> Callable[[PartReport], Awaitable[None]]:
        """Send each message on a connection of its own, and read the response."""

        messages = [data for _, data in messages]

        async def send(report: PartReport) -> None:
            async def one(data: bytes) -> None:
                async with self._wire() as wire:
                    await wire.send(data)
                    await wire.receive(_ANSWER_SECONDS, whole_answers=1)
                    wire.count_answers(report)

            report.tried += len(messages)
            await _few_at_once(map(one, messages))

        return send

    async def half_requests(self, report: PartReport) -> None:
        """Send good requests up to a random byte, then stall, close or reset."""

        async def one(data: bytes, ending: str) -> None:
            async with self._wire(resets=ending == "reset") as wire:
                await wire.send(data)
                if ending == "silence":
                    # A head that is not whole is waited for; a body is given two seconds.
                    await wire.receive(_ANSWER_SECONDS, whole_answers=1)
                    wire.count_answers(report)
                else:
                    await asyncio.sleep(self._rng.random() * 0.05)
                    report.answers[ending] += 1

        clients = []
        for _ in range(self._extent.halves):
            message = self._rng.choice(broken_messages.good_requests())
            cut = self._rng.randrange(1, len(message))
            if self._rng.random() < 0.3:  # within the head
                cut = self._rng.randrange(1, message.index(b"\r\n\r\n"))
            clients.append(one(message[:cut], self._rng.choice(["silence", "close", "reset"])))
        report.tried += len(clients)
        await _few_at_once(clients)

    async def mutations(self, report: PartReport) -> None:
        """Send good requests with random bytes changed."""

        async def one(data: bytes) -> None:
            async with self._wire(resets=len(data) % 3 == 0) as wire:
                await wire.send(data)
                await wire.receive(0.5, whole_answers=1)
                wire.count_answers(report)

        report.tried += self._extent.mutations
        await _few_at_once(
            one(broken_messages.mutated(self._rng)) for _ in range(self._extent.mutations)
        )

    async def pipelined_garbage(self, report: PartReport) -> None:
        """Send a good request directly followed by invalid bytes."""

        async def one(garbage: bytes) -> None:
            async with self._wire() as wire:
                await wire.send(broken_messages.good_requests()[0] + garbage)
                await wire.receive(_ANSWER_SECONDS, whole_answers=2)
                wire.count_answers(report)

        good = broken_messages.head(method="GET", target="/health")
        garbage = [self._rng.randbytes(self._rng.randint(1, 2_000)) for _ in range(20)]
        garbage += [good * 5, good[:-3], b"\r\n\r\n" * 10, b"0\r\n\r\n", good * 3 + b"\0" * 100]
        report.tried += len(garbage)
        await _few_at_once(map(one, garbage))

    def _tiny(self) -> bytes:
        head = broken_messages.head
        return self._rng.choice(
            [
                head(method="GET", target="/health"),
                head(method="GET", target="/v1/models"),
                head(method="GET", target="/nowhere"),
                head(method="DELETE", target="/health"),
                head("Content-Length: 1") + b"x",
                head("Content-Length: 0"),
                head("Content-Length: 1", target="/v1/transcriptions?start=-1") + b"x",
                head("Content-Type: text/html", "Content-Length: 1") + b"x",
            ]
        )

    async def tiny_requests_on_kept_connections(self, report: PartReport) -> None:
        """Send requests one after the other on a few connections, reopened when closed."""

        async def one(count: int) -> None:
            while count > 0:
                async with self._wire() as wire:
                    while count > 0:
                        count -= 1
                        report.tried += 1
                        wire.received = b""
                        await wire.send(self._tiny())
                        heard = await wire.receive(30, whole_answers=1)
                        wire.count_answers(report)
                        if not heard or b"connection: close" in heard.lower():
                            break

        each = self._extent.tiny_requests // 2 // _AT_ONCE
        await asyncio.gather(*(one(each) for _ in range(_AT_ONCE)))

    async def tiny_requests_on_their_own(self, report: PartReport) -> None:
        """Send each request on a new connection; reset a third of them before the response."""

        async def one(*, reads: bool) -> None:
            async with self._wire(resets=not reads) as wire:
                await wire.send(self._tiny())
                if reads:
                    await wire.receive(30, whole_answers=1)
                    wire.count_answers(report)
                else:
                    report.answers["reset"] += 1

        report.tried += self._extent.tiny_requests // 2
        await _few_at_once(one(reads=n % 3 > 0) for n in range(self._extent.tiny_requests // 2))

    async def idle_connections(self, report: PartReport) -> None:
        """Open connections that never send a byte."""
        async with contextlib.AsyncExitStack() as stack:
            wires = [
                await stack.enter_async_context(self._wire(resets=number % 2 == 0))
                for number in range(self._extent.idle_connections)
            ]
            await asyncio.sleep(self._extent.idle_seconds)
            report.tried += len(wires)
            report.answers["held"] += len(wires)

    async def slow_heads(self, report: PartReport) -> None:
        """Send heads and bodies one byte at a time (slow loris)."""

        async def one(message: bytes) -> None:
            async with self._wire() as wire:
                for at in range(int(self._extent.slow_seconds / 0.05)):
                    await wire.send(message[at : at + 1])
                    await asyncio.sleep(0.05)
                await wire.receive(0.1)
                wire.count_answers(report)

        endless_head = broken_messages.head()[:-2] + b"X: y\r\n" * 1_000
        large = broken_messages.head("Content-Length: 1000000")
        report.tried += self._extent.slow_connections
        await asyncio.gather(
            *(
                one(endless_head if number % 2 else large[number % len(large) :] or large)
                for number in range(self._extent.slow_connections)
            )
        )

    async def deaf_clients(self, report: PartReport) -> None:
        """Request large responses, an event stream among them, and never read them."""
        document = broken_messages.head(method="GET", target="/openapi.json")
        recording = broken_messages.good_recording(60.0)
        recording_head = (f"Content-Length: {len(recording)}", "Content-Type: audio/wav")
        stream = broken_messages.head(*recording_head, target="/v1/transcriptions?stream=true")
        plain = broken_messages.head(*recording_head)

        async def one(number: int) -> None:
            async with self._wire(receive_bytes=4_096, resets=number % 2 == 0) as wire:
                wire.push([document * 200, stream + recording, plain + recording][number % 3])
                await asyncio.sleep(self._extent.deaf_seconds)
                report.answers["unread"] += 1

        report.tried += self._extent.deaf_connections
        await asyncio.gather(*map(one, range(self._extent.deaf_connections)))


async def _few_at_once(clients: Iterable[Awaitable[None]]) -> None:
    """Run all of them, some at a time."""
    waiting = iter(clients)

    async def work() -> None:
        for client in waiting:
            await client

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
