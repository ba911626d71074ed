"""Bytes of a ``text/event-stream`` -> its messages, however the network cuts them.

Source: WHATWG HTML, 9.2.6 "Interpreting an event stream" (fields `event`, `data`, `id`, `retry`;
comments; lines ending in LF, CR or CR LF; a message counts once its empty line is there, so that
one cut short is never half a message).
"""

import codecs
import dataclasses
import re

from service.client.errors import UnexpectedAnswerError

MAX_MESSAGE_CHARACTERS = 1 << 24
"""Of one message: 16 Mi, four orders above a `completed` with a hundred tracks. A stream that never
ends a line is not ours, and would fill memory."""
_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of the stream."""

    kind: str
    """The field ``event``; ``message`` where there is none."""
    data: str
    id: str | None
    """None where the message has none of its own."""


class EventStreamParser:
    """Reads one connection's stream; a new connection needs a new one."""

    def __init__(self) -> None:
        self.retry_seconds: float | None = None
        """What the server asks to wait before a new connection."""
        # The decoder drops a leading byte order mark and keeps halves of characters.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._parts: list[str] = []
        """What has no line end yet."""
        self._held_return = False
        self._kind = ""
        self._data: list[str] = []
        self._id: str | None = None
        self._size = 0
        """Characters since the last message."""

    def feed(self, data: bytes) -> list[Message]:
        """Takes what arrived, and gives the messages that it completes.

        Raises:
            UnexpectedAnswerError: A message is longer than any of ours.
        """
        text = self._decoder.decode(data)
        self._parts.append(text)
        self._size += len(text)
        messages: list[Message] = []
        # Joined once there is a line, so that a long one is not searched again for every piece.
        if self._held_return or _LINE_END.search(text):
            messages = self._take_lines("".join(self._parts))
        if self._size > MAX_MESSAGE_CHARACTERS:
            raise UnexpectedAnswerError(
                f"a message of the stream is over {MAX_MESSAGE_CHARACTERS:,} characters"
            )
        return messages

    def _take_lines(self, text: str) -> list[Message]:
        messages: list[Message] = []
        position = 0
        self._held_return = False
        while end := _LINE_END.search(text, position):
            # A CR at the very end may be the first half of CR LF: it waits for what follows.
            if end.group() == "\r" and end.end() == len(text):
                self._held_return = True
                break
            line = text[position : end.start()]
            position = end.end()
            if line:
                self._take(line)
            elif (message := self._dispatch()) is not None:
                messages.append(message)
            if not line:
                # What follows belongs to the next message.
                self._size = len(text) - position
        self._parts = [text[position:]]
        return messages

    def _take(self, line: str) -> None:
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

    def _dispatch(self) -> Message | None:
        kind, data, identifier = self._kind or "message", self._data, self._id
        self._kind, self._data, self._id = "", [], None
        if not data:
            return None
        return Message(kind=kind, data="\n".join(data), id=identifier)
