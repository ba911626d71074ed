"""Read folders of MIDI files, and the manifest that says how to evaluate them.

References are the MIDI files of a dataset, with or without sustain pedal. A ``manifest.json``
in their folder may say for each clip which metrics its reference supports (``eval``) and what kind
of recording it is (``kind``). Notes held by the pedal (controller 64) are lengthened to its release
or to the next onset of their pitch, as MT3 does with its references (Source: magenta/mt3 fa04532,
preprocessors.py, ``note_seq.apply_sustain_control_changes``).
"""

import bisect
import dataclasses
import itertools
import json
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pretty_midi
from msgspec import structs

from mt3_model.errors import MT3Error, OptionError
from mt3_model.evaluation.note_metrics import ClipNotes
from mt3_model.notes.note import Note, NoteSequence

SUSTAIN_CONTROLLER = 64
SUSTAIN_DOWN = 64
"""The pedal is down at this value or above. Source: MIDI 1.0, table of controllers."""

REFERENCE_SUFFIXES = (".mid", ".midi")
ESTIMATE_SUFFIXES = (".mid", ".midi", ".MID")
MANIFEST_NAME = "manifest.json"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ClipInfo:
    """The manifest's information about one clip."""

    kind: str = ""
    metrics: frozenset[str] | None = None
    """The metrics that the reference supports; ``None`` for all."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _PedalSpan:
    """A time during which the pedal is down, in seconds."""

    start: float
    end: float


def list_references(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the MIDI files of a folder, sorted by name.

    Raises:
        OptionError: The path is not a folder, or the folder has no MIDI files.
    """
    check_folder(folder, "reference")
    references = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in REFERENCE_SUFFIXES
    )
    if not references:
        raise OptionError(
            "reference",
            f"the reference folder {folder} holds no .mid or .midi file; expected one per clip",
        )
    return references


def check_folder(folder: pathlib.Path, parameter: str) -> None:
    """Raise `OptionError` if the path is not a folder.

    Args:
        folder: The path to check.
        parameter: The name of the option that the path came from.
    """
    if not folder.is_dir():
        raise OptionError(
            parameter, f"the {parameter} folder {folder} is not a folder; give one of MIDI files"
        )


def find_estimate(folder: pathlib.Path, stem: str) -> pathlib.Path | None:
    """Return the MIDI file of a clip, or None if the folder has none."""
    candidates = (folder / (stem + suffix) for suffix in ESTIMATE_SUFFIXES)
    return next((path for path in candidates if path.exists()), None)


def read_manifest(folder: pathlib.Path) -> Mapping[str, ClipInfo]:
    """Read the manifest of a folder of references, by clip name; empty if there is none.

    Raises:
        OptionError: The manifest is not a JSON list of objects.
    """
    path = folder / MANIFEST_NAME
    if not path.exists():
        return {}
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return {
            pathlib.PurePath(entry["midi"]).stem: _clip_info(entry)
            for entry in entries
            if entry.get("midi")
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise OptionError(
            "reference",
            f"{path} is not a manifest ({error}); expected a JSON list of objects with "
            '"midi" and, where wanted, "eval" and "kind"',
        ) from error


def parse_midi(path: pathlib.Path) -> pretty_midi.PrettyMIDI:
    """Parse a Standard MIDI File.

    Raises:
        MT3Error: The file cannot be read as MIDI.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tempo events on other tracks than the first
            return pretty_midi.PrettyMIDI(str(path))
    except Exception as error:  # the parser raises many types on damaged files
        raise MT3Error(
            f"{path.name} cannot be read as MIDI ({type(error).__name__}: {error})"
        ) from error


def read_midi(path: pathlib.Path, *, sustain: bool) -> ClipNotes:
    """Read the notes of a MIDI file, without those of length 0.

    Args:
        path: A Standard MIDI File.
        sustain: Whether the sustain pedal lengthens notes.

    Raises:
        MT3Error: The file cannot be read as MIDI.
    """
    midi = parse_midi(path)
    notes: list[Note] = []
    for instrument in midi.instruments:
        notes += _instrument_notes(instrument, sustain=sustain)
    total_time = max((note.end_time for note in notes), default=0.0)
    return ClipNotes.from_note_sequence(NoteSequence(notes=tuple(notes), total_time=total_time))


def _clip_info(entry: Mapping[str, Any]) -> ClipInfo:
    metrics = entry.get("eval")
    return ClipInfo(
        kind=str(entry.get("kind", "")), metrics=None if metrics is None else frozenset(metrics)
    )


def _instrument_notes(instrument: pretty_midi.Instrument, *, sustain: bool) -> list[Note]:
    notes = [
        Note(
            pitch=int(note.pitch),
            start_time=float(note.start),
            end_time=float(note.end),
            velocity=int(note.velocity),
            program=0 if instrument.is_drum else int(instrument.program),
            is_drum=instrument.is_drum,
        )
        for note in instrument.notes
        if note.end > note.start
    ]
    if not sustain or instrument.is_drum:
        return notes
    return _apply_sustain(notes, _pedal_spans(instrument, notes))


def _pedal_spans(instrument: pretty_midi.Instrument, notes: Sequence[Note]) -> list[_PedalSpan]:
    """Return when the pedal is down; a pedal that is never released is held to the last offset."""
    spans: list[_PedalSpan] = []
    down: float | None = None
    changes: list[tuple[float, int]] = [
        (float(change.time), int(change.value))
        for change in instrument.control_changes
        if change.number == SUSTAIN_CONTROLLER
    ]
    for time, value in sorted(changes, key=lambda change: change[0]):
        if value >= SUSTAIN_DOWN and down is None:
            down = time
        elif value < SUSTAIN_DOWN and down is not None:
            spans.append(_PedalSpan(start=down, end=time))
            down = None
    if down is not None:
        spans.append(_PedalSpan(start=down, end=max([down, *(n.end_time for n in notes)])))
    return spans


def _apply_sustain(notes: Sequence[Note], spans: Sequence[_PedalSpan]) -> list[Note]:
    """Lengthen notes that end with the pedal down to its release or their pitch's next onset."""
    starts = [span.start for span in spans]
    by_pitch = sorted(notes, key=lambda n: (n.pitch, n.start_time, n.end_time, n.velocity))
    lengthened: list[Note] = []
    for note, following in itertools.zip_longest(by_pitch, by_pitch[1:]):
        position = bisect.bisect_right(starts, note.end_time) - 1
        if position < 0 or note.end_time >= spans[position].end:
            lengthened.append(note)
            continue
        end_time = spans[position].end
        if following is not None and following.pitch == note.pitch:
            end_time = min(end_time, following.start_time)
        lengthened.append(structs.replace(note, end_time=max(note.end_time, end_time)))
    return lengthened
