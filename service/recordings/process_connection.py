"""Messages between the server and its recording processes, over a Unix stream socket.

A message is any value that can be pickled. Its arrays follow the pickle in their memory layout and
are received directly into their final memory: samples are copied only by the system, without
holding the interpreter lock. Both ends run this code for the same user, so that unpickling is safe.

    8 bytes     length of the pickle, number N of arrays
    8 N bytes   length of each array
    the pickle
    the arrays
"""

import pickle
import socket
import struct
from typing import Any

import numpy as np

_HEAD = struct.Struct("<II")


def send_message(connection: socket.socket, message: object) -> None:
    """Send a value.

    Raises:
        OSError: the other end is gone.
    """
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    lengths = struct.pack(f"<{len(views)}Q", *map(len, views))
    connection.sendall(_HEAD.pack(len(content), len(views)) + lengths + content)
    for view in views:
        connection.sendall(view)


def receive_message(connection: socket.socket) -> Any:
    """Wait for a value and return it.

    Raises:
        EOFError: the other end is gone.
        OSError: the other end is gone.
    """
    content_length, count = _HEAD.unpack(_receive(connection, _HEAD.size))
    lengths = struct.unpack(f"<{count}Q", _receive(connection, 8 * count))
    content = _receive(connection, content_length)
    arrays = _receive(connection, sum(lengths))
    buffers: list[memoryview] = []
    for length in lengths:
        buffers.append(arrays[:length])
        arrays = arrays[length:]
    return pickle.loads(content, buffers=buffers)  # noqa: S301 (from our own code)


def _receive(connection: socket.socket, count: int) -> memoryview:
    # Not a bytearray, which would be filled with zeros first.
    received = rest = np.empty(count, np.uint8).data
    while rest:
        length = connection.recv_into(rest, len(rest), socket.MSG_WAITALL)
        if not length:
            raise EOFError
        rest = rest[length:]
    return received
