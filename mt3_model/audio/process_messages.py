"""What the decoding process says on its standard output, as bytes and back.

A stream of frames: one byte of kind, four bytes of length (little-endian), the payload. Blocks
are raw float32; the rest is JSON. The decoder handles a stranger's bytes and may be made to say
anything, so the reading side takes nothing for granted: lengths are bounded, fields are checked,
and whatever does not fit is an `AudioFormatError`.
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
from mt3_model.audio.recording import AudioWarning, RecordingInfo

HEADER = struct.Struct("<cI")
MAX_PAYLOAD_BYTES = 16 << 20
"""Far above a block of one second at any rate that the spec could have."""
_SAMPLE_BYTES = 4


class FrameKind(enum.Enum):
    """What a frame holds."""

    INFO = b"I"
    """A `RecordingInfo`: first, exactly once, where opening succeeds."""
    BLOCK = b"B"
    """Samples; none of them is a sign of life."""
    ERROR = b"E"
    """Class and message of an `AudioError`: the last frame."""
    END = b"W"
    """The warnings: the last frame."""


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
    """Returns the frame of a recording's description."""
    return _pack(FrameKind.INFO, json.dumps(dataclasses.asdict(info)).encode())


def pack_block(block: Float32[np.ndarray, " _"]) -> bytes:
    """Returns the frame of a block of samples."""
    return _pack(FrameKind.BLOCK, block.astype("<f4", copy=False).tobytes())


def pack_error(error: errors.AudioError) -> bytes:
    """Return the frame of an error, under the nearest class that may cross."""
    names = (kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS)
    message = {"class": next(names), "message": str(error)}
    return _pack(FrameKind.ERROR, json.dumps(message).encode())


def pack_end(warnings: tuple[AudioWarning, ...]) -> bytes:
    """Returns the frame of the warnings, which says that all blocks were sent."""
    return _pack(
        FrameKind.END, json.dumps([dataclasses.asdict(each) for each in warnings]).encode()
    )


def unpack_header(header: bytes) -> tuple[FrameKind, int]:
    """Returns a frame's kind and the length of its payload in bytes.

    Raises:
        AudioFormatError: it is no such header.
    """
    code, length = HEADER.unpack(header)
    try:
        kind = FrameKind(code)
    except ValueError as error:
        raise _nonsense() from error
    if length > MAX_PAYLOAD_BYTES:
        raise _nonsense()
    return kind, length


def unpack_info(payload: bytes) -> RecordingInfo:
    """Returns the recording's description.

    Raises:
        AudioFormatError: the payload is none.
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
        raise _nonsense() from error


def unpack_block(payload: bytes) -> Float32[np.ndarray, " _"]:
    """Returns a block of samples.

    Raises:
        AudioFormatError: the payload is none.
    """
    if len(payload) % _SAMPLE_BYTES:
        raise _nonsense()
    return np.frombuffer(payload, "<f4").astype(np.float32, copy=False)


def unpack_error(payload: bytes) -> errors.AudioError:
    """Return the error that the decoding process met.

    Raises:
        AudioFormatError: the payload is none.
    """
    fields = _object(payload)
    kind = _ERRORS.get(str(fields.get("class")), errors.AudioFormatError)
    return kind(str(fields.get("message")))


def unpack_end(payload: bytes) -> tuple[AudioWarning, ...]:
    """Returns the warnings.

    Raises:
        AudioFormatError: the payload holds none.
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
        raise _nonsense() from error


def _pack(kind: FrameKind, payload: bytes) -> bytes:
    return HEADER.pack(kind.value, len(payload)) + payload


def _object(payload: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(payload)
    except ValueError as error:
        raise _nonsense() from error
    if not isinstance(fields, dict):
        raise _nonsense()
    return fields


def _nonsense() -> errors.AudioFormatError:
    return errors.AudioFormatError(
        "the decoder answered nonsense on this recording, which is therefore taken as damaged"
    )
