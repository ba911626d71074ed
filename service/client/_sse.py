"""Parse the bytes of a ``text/event-stream`` into messages, wherever the network splits them.

Source: WHATWG HTML, 9.2.6 "Interpreting an event stream" (fields `event`, `data`, `id`, `retry`;
comments; lines that end in LF, CR or CR LF). A message counts once its empty line has arrived, so
that a dropped connection never gives half a message.
"""

import codecs
import dataclasses
import re
from collections.abc import Mapping

from service.client._errors import UnexpectedAnswerError

MAX_MESSAGE_CHARACTERS = 1 << 24
"""Limit of one message: 16 Mi characters, four orders above a `completed` event with a hundred
tracks. A stream without line ends would otherwise fill the memory."""
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of an event stream."""

    kind: str
    """The field ``event``; ``message`` if it is missing."""
    data: str
    id: str | None
    """The message's own id, if it has one."""


def is_event_stream(headers: Mapping[str, str]) -> bool:
    """Return whether a response's content type is ``text/event-stream``."""
    media_type = headers.get("content-type", "").partition(";")[0]
    return media_type.strip().lower() == "text/event-stream"


class EventStreamParser:
    """Parser of one connection's event stream."""

    def __init__(self) -> None:
        self.retry_seconds: float | None = None
        """Seconds to wait before reconnecting, if the server has said so."""
        # The decoder drops a leading byte order mark and keeps incomplete characters.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._parts: list[str] = []
        """Text after the last line end."""
        self._ends_in_return = False
        self._kind = ""
        self._data: list[str] = []
        self._id: str | None = None
        self._size = 0
        """Characters since the last message."""

    def feed(self, data: bytes) -> list[Message]:
        """Parse the next bytes, and return the messages that they complete.

        Raises:
            UnexpectedAnswerError: a message is longer than the limit.
        """
        text = self._decoder.decode(data)
        self._parts.append(text)
        self._size += len(text)
        messages: list[Message] = []
        # The parts are joined only at a line end, so that a long line is searched once.
        if self._ends_in_return or _LINE_END.search(text):
            messages = self._take_lines("".join(self._parts))
        if self._size > MAX_MESSAGE_CHARACTERS:
            raise UnexpectedAnswerError(
                f"a message of the stream is over {MAX_MESSAGE_CHARACTERS:,} characters"
            )
        return messages

    def _take_lines(self, text: str) -> list[Message]:
        messages: list[Message] = []
        position = 0
        self._ends_in_return = False
        while end := _LINE_END.search(text, position):
            # A CR at the very end may be the first half of CR LF.
            if end.group() == "\r" and end.end() == len(text):
                self._ends_in_return = True
                break
            line = text[position : end.start()]
            position = end.end()
            if line:
                self._take_field(line)
            elif (message := self._end_message()) is not None:
                messages.append(message)
            if not line:
                self._size = len(text) - position
        self._parts = [text[position:]]
        return messages

    def _take_field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_seconds = float(value) / 1_000
            case _:
                pass  # a comment, or a field of a later standard

    def _end_message(self) -> Message | None:
        kind, data, identifier = self._kind or "message", self._data, self._id
        self._kind, self._data, self._id = "", [], None
        if not data:
            return None
        return Message(kind=kind, data="\n".join(data), id=identifier)
