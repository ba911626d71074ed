"""Messages between a service process and its decoding process: encode and decode them.

The options travel as one JSON text. The decoding process writes messages to its
standard output: one byte for the kind, four bytes for the length (little-endian), the payload.
Blocks are raw float32; all others are JSON. The decoder parses untrusted bytes and may be made to
write anything, so the receiver checks everything: lengths are bounded, fields are checked, and an
invalid message is an `AudioFormatError`.
"""

import dataclasses
import enum
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from mt3_model import errors
from mt3_model.audio.array_types import Float32
from mt3_model.audio.recording import AudioWarning, ReadingLimits, RecordingInfo, TimeRange

HEADER = struct.Struct("<cI")
NUMBER = struct.Struct("<i")
"""A number between this process and the fork server: a length, a process id, an exit code."""
MAX_COPIES = 4
"""Most further descriptors of a recording. With so many threads, decoding a FLAC is no longer the
slowest step of reading it."""
MAX_PAYLOAD_BYTES = 16 << 20
"""Far above a block of one second at any sample rate of a model."""
_SAMPLE_BYTES = 4


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReadingOptions:
    """The options of the decoding process."""

    sample_rate: int
    """Sample rate of the blocks in Hz."""
    time_range: TimeRange
    limits: ReadingLimits
    audio_track: int | None = None

    def to_argument(self) -> str:
        """Return the options as text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_argument(cls, argument: str) -> "ReadingOptions":
        """Parse the result of `to_argument`."""
        fields = json.loads(argument)
        return cls(
            sample_rate=fields["sample_rate"],
            time_range=TimeRange(**fields["time_range"]),
            limits=ReadingLimits(**fields["limits"]),
            audio_track=fields["audio_track"],
        )


class MessageKind(enum.Enum):
    """The kinds of messages."""

    INFO = b"I"
    """A `RecordingInfo`: the first message, exactly once, if the recording could be opened."""
    BLOCK = b"B"
    """Samples; an empty block shows progress."""
    ERROR = b"E"
    """Class and message of an `AudioError`: the last message."""
    END = b"W"
    """The warnings: the last message."""


_ERRORS: Mapping[str, type[errors.AudioError]] = {
    kind.__name__: kind
    for kind in (
        errors.AudioError,
        errors.AudioFormatError,
        errors.AudioEmptyError,
        errors.AudioLimitError,
        errors.AudioTrackError,
    )
}


def pack_info(info: RecordingInfo) -> bytes:
    """Encode the description of the recording."""
    return _pack(MessageKind.INFO, json.dumps(dataclasses.asdict(info)).encode())


def pack_block(block: Float32[np.ndarray, " _"]) -> bytes:
    """Encode a block of samples."""
    return _pack(MessageKind.BLOCK, block.astype("<f4", copy=False).tobytes())


def pack_error(error: errors.AudioError) -> bytes:
    """Encode an error, under the nearest class that the receiver accepts."""
    names = (kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS)
    message = {"class": next(names), "message": str(error)}
    return _pack(MessageKind.ERROR, json.dumps(message).encode())


def pack_end(warnings: tuple[AudioWarning, ...]) -> bytes:
    """Encode the warnings; the message means that all blocks were sent."""
    return _pack(
        MessageKind.END, json.dumps([dataclasses.asdict(each) for each in warnings]).encode()
    )


def unpack_header(header: bytes | bytearray) -> tuple[MessageKind, int]:
    """Return the kind of a message and the length of its payload in bytes.

    Raises:
        AudioFormatError: the header is invalid.
    """
    code, length = HEADER.unpack(header)
    try:
        kind = MessageKind(code)
    except ValueError as error:
        raise _invalid_message() from error
    if length > MAX_PAYLOAD_BYTES:
        raise _invalid_message()
    return kind, length


def unpack_info(payload: bytes | bytearray) -> RecordingInfo:
    """Decode the description of the recording.

    Raises:
        AudioFormatError: the payload is invalid.
    """
    fields = _object(payload)
    duration = fields.get("duration_seconds")
    try:
        return RecordingInfo(
            sample_rate=int(fields["sample_rate"]),
            channels=int(fields["channels"]),
            duration_seconds=None if duration is None else float(duration),
            container=str(fields["container"]),
            codec=str(fields["codec"]),
            audio_track=int(fields["audio_track"]),
            audio_tracks=int(fields["audio_tracks"]),
            other_tracks=tuple(str(each) for each in fields["other_tracks"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _invalid_message() from error


def unpack_block(payload: bytes | bytearray) -> Float32[np.ndarray, " _"]:
    """Decode a block of samples.

    Raises:
        AudioFormatError: the payload is invalid.
    """
    if len(payload) % _SAMPLE_BYTES:
        raise _invalid_message()
    return np.frombuffer(payload, "<f4").astype(np.float32, copy=False)


def unpack_error(payload: bytes | bytearray) -> errors.AudioError:
    """Decode an error of the decoding process.

    Raises:
        AudioFormatError: the payload is invalid.
    """
    fields = _object(payload)
    kind = _ERRORS.get(str(fields.get("class")), errors.AudioFormatError)
    return kind(str(fields.get("message")))


def unpack_end(payload: bytes | bytearray) -> tuple[AudioWarning, ...]:
    """Decode the warnings.

    Raises:
        AudioFormatError: the payload is invalid.
    """
    try:
        return tuple(
            AudioWarning(
                code=str(fields["code"]),
                message=str(fields["message"]),
                start=None if fields["start"] is None else float(fields["start"]),
                end=None if fields["end"] is None else float(fields["end"]),
            )
            for fields in json.loads(payload)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _invalid_message() from error


def _pack(kind: MessageKind, payload: bytes | bytearray) -> bytes:
    return HEADER.pack(kind.value, len(payload)) + payload


def _object(payload: bytes | bytearray) -> dict[str, Any]:
    try:
        fields = json.loads(payload)
    except ValueError as error:
        raise _invalid_message() from error
    if not isinstance(fields, dict):
        raise _invalid_message()
    return fields


def _invalid_message() -> errors.AudioFormatError:
    return errors.AudioFormatError(
        "the decoder sent an invalid message; the recording is treated as damaged"
    )
