"""Options that several commands share. No heavy imports."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, TypeVar, get_args

from mt3_model.errors import OptionError
from mt3_model.notes.instruments_option import describe_expected, find_unknown, split_names
from mt3_model.notes.postprocess_option import (
    POSTPROCESS_STEPS,
    explain_postprocess_fault,
    parse_postprocess,
)
from mt3_model.notes.rhythm_options import (
    EXPECTED_TEMPO,
    EXPECTED_TIME_SIGNATURE,
    GRIDS,
    Quantize,
    parse_tempo,
    parse_time_signature,
)
from mt3_model.notes.transcription import Quality
from service.numbers import parse_decimal, parse_integer

_CLOCK = re.compile(r"(?:(?P<hours>\d+):)?(?P<minutes>\d+):(?P<seconds>\d+(?:\.\d*)?)", re.ASCII)
_SIXTY = 60
_Number = TypeVar("_Number", int, float)


class KnownRhythmOptions(TypedDict):
    """The options of tempo and bars, by the names of `TranscriptionOptions`."""

    tempo: str | None
    time_signature: str | None
    first_downbeat: float | None


def parse_time(text: str) -> float:
    """Parse a time: seconds, ``M:SS`` or ``H:MM:SS``, each with optional decimals.

    Raises:
        argparse.ArgumentTypeError: the text is not a time.
    """
    seconds = _with_sign(text, parse_decimal)
    if seconds is not None:
        return seconds
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; expected seconds (90.5), M:SS (1:30.5) or H:MM:SS (1:02:03.5)"
        )
    hours, minutes = clock["hours"], int(clock["minutes"])
    seconds = float(clock["seconds"])
    if seconds >= _SIXTY or (hours is not None and minutes >= _SIXTY):
        part = "seconds" if seconds >= _SIXTY else "minutes"
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; expected less than 60 {part}")
    return (int(hours or 0) * _SIXTY + minutes) * _SIXTY + seconds


def whole_number(text: str) -> int:
    """Parse a whole number in plain digits (`int` also accepts ``1_0`` and other scripts' digits).

    Raises:
        argparse.ArgumentTypeError: the text is not a whole number.
    """
    number = _with_sign(text, parse_integer)
    if number is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number; expected digits such as 20"
        )
    return number


def _with_sign(text: str, parse: Callable[[str], _Number | None]) -> _Number | None:
    """Parse a number that may have a minus sign; the option's own check then reports its range.

    Args:
        text: the option's value.
        parse: parses the number without its sign; returns None for other text.
    """
    number = parse(text.removeprefix("-"))
    return -number if number is not None and text.startswith("-") else number


def parse_audio_track(text: str) -> int:
    """Parse the number of an audio track.

    Raises:
        argparse.ArgumentTypeError: the text is not a number from 1.
    """
    number = parse_integer(text)
    if number is not None and number >= 1:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is not an audio track; expected 1 or more")


def add_range_options(
    parser: argparse.ArgumentParser, *, default_start: float | None = None
) -> None:
    """Add `--start`, `--end` and `--audio-track`."""
    parser.add_argument(
        "--start", type=parse_time, default=default_start, metavar="TIME",
        help="transcribe from here: seconds, M:SS or H:MM:SS",
    )  # fmt: skip
    parser.add_argument(
        "--end", type=parse_time, metavar="TIME", help="up to here, in the same forms"
    )
    parser.add_argument(
        "--audio-track", type=parse_audio_track, metavar="N",
        help="audio track, counted from 1, of recordings with several (default: their default)",
    )  # fmt: skip


def parse_postprocess_option(text: str) -> str:
    """Check the names of clean-up steps.

    Raises:
        argparse.ArgumentTypeError: a name is unknown, or does not go with the others.
    """
    try:
        parse_postprocess(text)
    except OptionError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {explain_postprocess_fault(text)}") from error
    return text


def add_postprocess_option(parser: argparse.ArgumentParser) -> None:
    """Add `--postprocess`."""
    parser.add_argument(
        "--postprocess", type=parse_postprocess_option, metavar="STEPS",
        help="clean-up of the notes: default; none, for exactly the model's notes; or some of"
        f" {', '.join(POSTPROCESS_STEPS)}, separated by commas",
    )  # fmt: skip


def parse_instruments_option(text: str) -> list[str]:
    """Split names of instruments at commas, and check them.

    Raises:
        argparse.ArgumentTypeError: a name is unknown.
    """
    names = split_names([text])
    unknown = find_unknown(names)
    if unknown is not None or not names:
        raise argparse.ArgumentTypeError(f"{unknown or text!r}: {describe_expected(unknown or '')}")
    return list(names)


def add_instruments_option(parser: argparse.ArgumentParser) -> None:
    """Add `--instruments`."""
    parser.add_argument(
        "--instruments", type=parse_instruments_option, action="extend", metavar="NAME[,NAME]",
        help="every instrument in the recording; notes are assigned to no others. General MIDI"
        " program numbers, program or family names (violin, piano, ...), drums",
    )  # fmt: skip


def add_rhythm_options(parser: argparse.ArgumentParser) -> None:
    """Add `--tempo`, `--time-signature`, `--first-downbeat` and `--quantize`."""
    parser.add_argument(
        "--tempo", type=_checked(parse_tempo, EXPECTED_TEMPO), metavar="BPM",
        help=f"tempo of the recording: {EXPECTED_TEMPO} (default: estimated)",
    )  # fmt: skip
    parser.add_argument(
        "--time-signature", type=_checked(parse_time_signature, EXPECTED_TIME_SIGNATURE),
        metavar="N/D", help="time signature of the recording, such as 3/4 (default: estimated)",
    )  # fmt: skip
    parser.add_argument(
        "--first-downbeat",
        type=parse_time,
        metavar="TIME",
        help="time of a downbeat: seconds, M:SS or H:MM:SS (default: estimated)",
    )
    add_quantize_option(parser)


def add_quantize_option(parser: argparse.ArgumentParser) -> None:
    """Add `--quantize`."""
    parser.add_argument(
        "--quantize", choices=get_args(Quantize), metavar="GRID",
        help="move the notes of MIDI files to a grid at a constant tempo: none (the default),"
        f" {', '.join(GRIDS)}",
    )  # fmt: skip


def rhythm_options_of(parsed: argparse.Namespace) -> KnownRhythmOptions:
    """Return what the options say about tempo and bars.

    Raises:
        OptionError: the time of the downbeat is negative.
    """
    if parsed.first_downbeat is not None and parsed.first_downbeat < 0:
        raise OptionError(
            "first_downbeat",
            f"--first-downbeat is {parsed.first_downbeat:g} s; expected 0 or more",
        )
    return {
        "tempo": parsed.tempo,
        "time_signature": parsed.time_signature,
        "first_downbeat": parsed.first_downbeat,
    }


def _checked(parse: Callable[[str], object], expected: str) -> Callable[[str], str]:
    """Return a parser that checks an option's text and keeps it as it is."""

    def check(text: str) -> str:
        try:
            parse(text)
        except OptionError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is given; expected {expected}") from error
        return text

    return check


def add_quality_option(parser: argparse.ArgumentParser) -> None:
    """Add `--quality`."""
    parser.add_argument(
        "--quality", choices=get_args(Quality),
        help="high: a second pass, so that no note is cut where the model's 2-second segments meet;"
        " twice the work (default: standard)",
    )  # fmt: skip


def add_server_option(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `--server` and `--api-key-file`."""
    parser.add_argument("--server", metavar="URL", help=text)
    parser.add_argument(
        "--api-key-file", type=Path, metavar="FILE",
        help="file with the server's API key (default: the variable MT3_API_KEY)",
    )  # fmt: skip
