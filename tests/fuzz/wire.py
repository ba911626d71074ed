"""One TCP connection that does as it is told, right or wrong, and what came back on it.

No HTTP library stands in between: they refuse to send what these tests are about.
"""

import asyncio
import contextlib
import re
import socket
import struct

from tests.fuzz.report import PartReport

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_CODE = re.compile(rb'"code": ?"(\w+)"')
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: closing sends RST


class Wire:
    """An open connection; `async with Wire.open(...)`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.received = b""

    @classmethod
    async def open(cls, host: str, port: int, *, receive_bytes: int | None = None) -> "Wire":
        """Connects.

        Args:
            host: Of the server.
            port: Of the server.
            receive_bytes: Size of the kernel's buffer for what arrives; small for deaf clients.
        """
        connection = socket.socket()
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
        limit = receive_bytes or 2**16
        return cls(*await asyncio.open_connection(sock=connection, limit=limit))

    async def send(self, data: bytes) -> None:
        """Sends, as far as the server lets it."""
        with contextlib.suppress(OSError):  # it has hung up: that is an answer too
            if not self._writer.is_closing():
                self._writer.write(data)
                await self._writer.drain()

    def push(self, data: bytes) -> None:
        """Sends without waiting for room."""
        self._writer.write(data)

    async def hear(self, seconds: float, *, whole_answers: int | None = None) -> bytes:
        """Reads until the server closes, the time is up, or so many answers are here whole."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self._reader.read(2**16):
                    self.received += data
                    if whole_answers is not None and self._answered() >= whole_answers:
                        break
        return self.received

    def _answered(self) -> int:
        """How many answers are here whole, by their Content-Length."""
        count, at = 0, 0
        while (head_end := self.received.find(b"\r\n\r\n", at)) >= 0:
            match = re.search(rb"(?i)\r\ncontent-length: (\d+)", self.received[at : head_end + 2])
            at = head_end + 4 + (int(match[1]) if match else 0)
            if at > len(self.received):
                break
            count += 1
        return count

    def count_answers(self, report: PartReport) -> None:
        """Counts what has come back; `silence` where nothing has."""
        found = list(_STATUS.finditer(self.received))
        if not found:
            report.answers["silence"] += 1
            return
        ends = [match.start() for match in found[1:]] + [len(self.received)]
        for match, end in zip(found, ends, strict=True):
            code = _CODE.search(self.received, match.start(), end)
            report.count(int(match[1]), code[1].decode() if code else None)

    async def close(self) -> None:
        """Ends it as a well-behaved client would (FIN)."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def reset(self) -> None:
        """Tears it down (RST), as a client that crashes or a router that forgets."""
        connection = self._writer.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()
        await asyncio.sleep(0)
