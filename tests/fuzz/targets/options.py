"""Parse an `Accept` header and a query string: options within the contract, or a refusal.

An input is the value of the header, a line feed, and the query as in a URL.
"""

import math

from starlette.datastructures import QueryParams

from mt3_model.export.formats import ExportFormat
from service.api import transcription_request
from service.schemas import transcription_options
from tests.fuzz.targets.fuzzing import Violation, fuzz, refusals_allowed

MODULES = (transcription_request, transcription_options)


def seeds() -> list[bytes]:
    """Return good requests, and slightly wrong ones."""
    return [
        b"\n",
        b"application/json\nstart=1&end=2.5",
        b"*/*;q=0.1, audio/midi;q=0.5\ndecoding=reference&precision=float32",
        b"image/*;q=1e999\nresponse_format=piano_roll&model=mt3",
        b"text/html\nstream=true&start=nan&end=inf&start=1_0",
        b"text/event-stream\nstream=TRUE&instruments=drums&instruments=0&instruments=Piano",
        b"application/json;q=-1\nresponse_format=MIDI&start=1e-400&end=%EF%BC%91",
    ]


def check(data: bytes) -> None:
    """Check that accepted options are within the bounds of the contract."""
    accept, _, query = data.partition(b"\n")
    pairs = QueryParams(query.decode("latin-1")).multi_items()
    with refusals_allowed():
        found = transcription_request.parse_request(
            pairs, accept=accept.decode("latin-1") or None, served_model="mt3"
        )
        chosen = found.options
        ends = (
            chosen.end is None
            or chosen.start < chosen.end <= transcription_options.MAX_TIME_SECONDS
        )
        if not (isinstance(found.response_format, ExportFormat) and chosen.model == "mt3"):
            raise Violation(f"{found} is not within the contract")
        if not (math.isfinite(chosen.start) and chosen.start >= 0 and ends):
            raise Violation(f"the range from {chosen.start} to {chosen.end} is none")


if __name__ == "__main__":
    fuzz(check, seeds(), MODULES)
