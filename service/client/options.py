"""What a caller may choose of a transcription, and how a query says it."""

from collections.abc import Mapping
from typing import Literal, TypedDict

ResponseFormat = Literal["json", "jsonl", "midi", "notesequence", "notesequence_json", "piano_roll"]
"""The forms of an answer, by the API's names."""


class Options(TypedDict, total=False):
    """What a caller may choose; what is left out, or None, the server chooses."""

    model: str | None
    """A name of `models()`."""
    decoding: Literal["greedy", "reference"] | None
    """``reference``: the original's one-beam search, slower."""
    precision: Literal["auto", "float32", "bfloat16"] | None
    """Of the network's products; refused where the server has loaded the other."""
    start: float | None
    """Transcribe from here, seconds into the recording."""
    end: float | None
    """Up to here, seconds into the recording."""


def query_of(options: Options, **more: str) -> tuple[tuple[str, str], ...]:
    """Writes the options as query parameters."""
    values: Mapping[str, object] = {**options, **more}
    return tuple((name, str(value)) for name, value in values.items() if value is not None)
