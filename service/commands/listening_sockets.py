"""Open the server's port before anything else, so that a port in use is reported at once."""

import contextlib
import errno
import os
import socket
from collections.abc import Generator

from mt3_model.errors import OptionError

BACKLOG = 2_048
"""Connections that the kernel queues until they are accepted; its own limit may be lower."""
_REASONS = {
    errno.EADDRINUSE: "it is in use by another program; stop that one, or choose another port with"
    " --port or MT3_PORT",
    errno.EACCES: "this user may not open it; choose a port above 1023 with --port or MT3_PORT",
    errno.EADDRNOTAVAIL: "this machine has no such address; correct --host or MT3_HOST",
}


@contextlib.contextmanager
def listening(host: str, port: int) -> Generator[list[socket.socket]]:
    """Listen on every address of a host while the context lasts.

    Args:
        host: an address or a host name; empty for every address of this machine.
        port: TCP port; 0 for a free one, the same on every address.

    Yields:
        The listening sockets. Connections wait in them until the server accepts them.

    Raises:
        OptionError: a socket cannot be opened.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:  # UnicodeError: an empty label, or a long one
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise OptionError(
            "host", f"the host {host!r} is unknown ({reason}); correct --host or MT3_HOST"
        ) from error
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        for family, _, _, _, address in dict.fromkeys(found):
            own_port = sockets[0].getsockname()[1] if sockets else port
            one = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            sockets.append(one)
            try:
                _listen(one, (address[0], own_port, *address[2:]))
            except OSError as error:
                reason = _REASONS.get(error.errno or 0, os.strerror(error.errno or 0))
                raise OptionError(
                    "port", f"cannot listen on {host} port {port}: {reason}"
                ) from error
        yield sockets


def _listen(one: socket.socket, address: tuple[object, ...]) -> None:
    # As asyncio does: reuse a port whose last connections are still closing, and give IPv6 a socket
    # of its own.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if one.family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(address)
    one.listen(BACKLOG)
