"""A TCP connection that sends arbitrary bytes and collects the responses.

No HTTP library is used, because they refuse to send invalid requests.
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
        """Connect.

        Args:
            host: the host of the server.
            port: the port of the server.
            receive_bytes: size of the kernel's receive buffer; small for clients that do not read.
        """
        connection = socket.socket()
        if receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
        limit = receive_bytes or 2**16
        return cls(*await asyncio.open_connection(sock=connection, limit=limit))

    async def send(self, data: bytes) -> None:
        """Send as much as the server accepts."""
        with contextlib.suppress(OSError):  # the server closed the connection, which is allowed
            if not self._writer.is_closing():
                self._writer.write(data)
                await self._writer.drain()

    def push(self, data: bytes) -> None:
        """Send without waiting for room in the buffer."""
        self._writer.write(data)

    async def receive(self, seconds: float, *, whole_answers: int | None = None) -> bytes:
        """Read until the server closes, time is up, or ``whole_answers`` responses are complete."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self._reader.read(2**16):
                    self.received += data
                    if whole_answers is not None and self._answered() >= whole_answers:
                        break
        return self.received

    def _answered(self) -> int:
        """Return the number of complete responses, by their Content-Length."""
        count, at = 0, 0
        while (head_end := self.received.find(b"\r\n\r\n", at)) >= 0:
            match = re.search(rb"(?i)\r\ncontent-length: (\d+)", self.received[at : head_end + 2])
            at = head_end + 4 + (int(match[1]) if match else 0)
            if at > len(self.received):
                break
            count += 1
        return count

    def count_answers(self, report: PartReport) -> None:
        """Count the responses, `silence` if there are none."""
        found = list(_STATUS.finditer(self.received))
        if not found:
            report.answers["silence"] += 1
            return
        ends = [match.start() for match in found[1:]] + [len(self.received)]
        for match, end in zip(found, ends, strict=True):
            code = _CODE.search(self.received, match.start(), end)
            report.count(int(match[1]), code[1].decode() if code else None)

    async def close(self) -> None:
        """Close the connection (FIN)."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def reset(self) -> None:
        """Reset the connection (RST), like a client that crashes."""
        connection = self._writer.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()
        await asyncio.sleep(0)
