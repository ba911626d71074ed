"""The notes that the model wrote -> the notes that a musician can use: the steps in their order.

    ties             notes that change their program               notes/decoding.py
    false_drums      no drums where all are attacks of notes       false_drums.py
    bass_octave      bass notes to the octave that sounds          octaves.py
    part_octave      the same for parts with the same error        octaves.py
    duplicates       one note in place of one per program          duplicates.py
    ensemble         the recording's parts in place of flicker     ensemble.py
    usual_programs   the usual instrument of the model's classes   usual_programs.py
    velocity         velocities from the recording                 dynamics.py
    confidence       the chance that a note is right               confidence.py

The steps need the whole recording, so they run once, after the last segment. Either all drums are
left out or none; of the remaining ones only velocity and confidence change. Without a step the
notes are the original's, bit for bit.
"""

import dataclasses
from collections.abc import Collection

from mt3_model.notes.decoding import number_instruments
from mt3_model.notes.general_midi import PROGRAM_NAMES
from mt3_model.notes.instruments_option import NamedInstruments, parse_instruments
from mt3_model.notes.named_instruments import find_merged, rename_notes
from mt3_model.notes.named_winds import tell_winds_apart
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.postprocess_option import PostprocessStep, parse_postprocess
from mt3_model.notes.transcription import (
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
)
from mt3_model.notes.trimming import trim_overlapping_notes
from mt3_model.postprocessing.confidence import FITTED_MODEL, calibrate_confidence
from mt3_model.postprocessing.duplicates import merge_duplicates
from mt3_model.postprocessing.dynamics import estimate_velocities
from mt3_model.postprocessing.ensemble import join_alternating_programs, relabel_minor_programs
from mt3_model.postprocessing.false_drums import leave_out_false_drums
from mt3_model.postprocessing.octaves import correct_bass_octaves, correct_part_octaves
from mt3_model.postprocessing.partials import measure_partials
from mt3_model.postprocessing.sound import RecordingSound
from mt3_model.postprocessing.usual_programs import choose_usual_programs

OCTAVE_STEPS: frozenset[PostprocessStep] = frozenset({"bass_octave", "part_octave"})
"""The steps that move notes by the recording's sound."""
SOUND_STEPS: frozenset[PostprocessStep] = frozenset({"bass_octave", "part_octave", "velocity"})
"""The steps that use the recording's sound."""


def clean_up(
    notes: NoteSequence,
    steps: Collection[PostprocessStep],
    *,
    sound: RecordingSound | None = None,
    start: float = 0.0,
    named: NamedInstruments | None = None,
) -> NoteSequence:
    """Run the chosen steps over the notes of one recording.

    Args:
        notes: the notes that the model wrote.
        steps: the steps to run, in any order; none returns ``notes`` itself, or changes programs
            only where instruments are named.
        sound: the recording; without it `part_octave` and `velocity` do nothing and
            `bass_octave` moves every bass note.
        start: time of the sound's first sample on the notes' clock, seconds.
        named: the instruments that the caller named; all notes then have one of their programs.

    Returns:
        Notes in the order in which they end. Of one pitch and program no two overlap: the earlier
        ends at the later one's onset. Instruments are numbered anew.
    """
    if not steps:
        return notes if named is None else _rename(notes, named)
    pitched = tuple(note for note in notes.notes if not note.is_drum)
    drums = tuple(note for note in notes.notes if note.is_drum)
    if "false_drums" in steps and not (named is not None and named.has_drums):
        drums = leave_out_false_drums(drums, pitched)
    if OCTAVE_STEPS.intersection(steps):
        pitched = _correct_octaves(pitched, steps, sound=sound, start=start)
    if "duplicates" in steps:
        pitched = _trim(merge_duplicates(pitched))
    if named is None:
        pitched = _guess_programs(pitched, steps, has_drums=bool(drums))
    else:
        pitched, drums = _keep_to_named(pitched, steps, named), rename_notes(drums, named)
    if "velocity" in steps and sound is not None:
        voiced = estimate_velocities((*pitched, *drums), sound, start=start)
        pitched, drums = voiced[: len(pitched)], voiced[len(pitched) :]
    if "confidence" in steps:
        pitched, drums = calibrate_confidence(pitched), calibrate_confidence(drums)
    return _order((*pitched, *drums))


def open_sound(options: TranscriptionOptions, sample_rate: int) -> RecordingSound | None:
    """Return an empty `RecordingSound` for a recording whose options need its sound, else None.

    Args:
        options: the caller's options.
        sample_rate: rate of the samples that will be added, Hz.

    Raises:
        OptionError: ``postprocess`` is not one of its values.
    """
    steps = parse_postprocess(options.postprocess)
    return RecordingSound(sample_rate) if SOUND_STEPS.intersection(steps) else None


def clean_up_transcription(
    transcription: Transcription, sound: RecordingSound | None
) -> Transcription:
    """Run the steps that the transcription's options name, and keep to the named instruments.

    Velocities that the model wrote stay, and so does the confidence of a model for which no
    calibration was fitted.

    Args:
        transcription: the notes as the model wrote them.
        sound: the range of the recording that was transcribed, from `open_sound`.
    """
    options = transcription.options
    named = parse_instruments(options.instruments)
    steps = frozenset(parse_postprocess(options.postprocess))
    if transcription.velocity == "model":
        steps -= {"velocity"}
    if transcription.model.name != FITTED_MODEL:
        steps -= {"confidence"}
    is_estimated = "velocity" in steps and sound is not None
    cleaned = clean_up(
        transcription.notes,
        steps,
        sound=sound,
        start=options.start,
        named=named,
    )
    warnings = transcription.warnings
    if named is not None:
        warnings += _merge_warnings(cleaned, named)
    return dataclasses.replace(
        transcription,
        notes=cleaned,
        warnings=warnings,
        velocity="estimated" if is_estimated else transcription.velocity,
    )


def _merge_warnings(
    notes: NoteSequence, named: NamedInstruments
) -> tuple[TranscriptionWarning, ...]:
    return tuple(
        TranscriptionWarning(
            code="instruments_merged",
            message=f"no notes were found for {PROGRAM_NAMES[program]}; what it plays may be among"
            f" the notes of {PROGRAM_NAMES[other]}",
        )
        for program, other in find_merged(notes.notes, named)
    )


def _guess_programs(
    pitched: tuple[Note, ...], steps: Collection[PostprocessStep], *, has_drums: bool
) -> tuple[Note, ...]:
    if "ensemble" in steps:
        pitched = _settle_ensemble(pitched, ())
    if "usual_programs" in steps:
        pitched = _trim(choose_usual_programs(pitched, has_drums=has_drums))
    return pitched


def _keep_to_named(
    pitched: tuple[Note, ...], steps: Collection[PostprocessStep], named: NamedInstruments
) -> tuple[Note, ...]:
    if "ensemble" not in steps:
        return _trim(rename_notes(pitched, named))
    renamed = _trim(rename_notes(tell_winds_apart(pitched, named), named))
    return _settle_ensemble(renamed, named.programs)


def _correct_octaves(
    pitched: tuple[Note, ...],
    steps: Collection[PostprocessStep],
    *,
    sound: RecordingSound | None,
    start: float,
) -> tuple[Note, ...]:
    levels = None if sound is None else measure_partials(pitched, sound.low_band, start=start)
    if "part_octave" in steps and levels is not None:
        pitched = correct_part_octaves(pitched, levels)
    if "bass_octave" in steps:
        pitched = correct_bass_octaves(pitched, levels)
    return _trim(pitched)


def _order(notes: tuple[Note, ...]) -> NoteSequence:
    """Return the notes in the order in which they end, with instruments numbered anew."""
    ordered = sorted(
        notes,
        key=lambda note: (
            note.end_time, note.start_time, note.is_drum, note.program, note.pitch,
        ),
    )  # fmt: skip
    return NoteSequence(
        notes=number_instruments(ordered), total_time=ordered[-1].end_time if ordered else 0.0
    )


def _settle_ensemble(notes: tuple[Note, ...], known: Collection[int]) -> tuple[Note, ...]:
    """Repeat both steps until nothing changes: relabeled notes may let two programs join."""
    while True:
        settled = _trim(relabel_minor_programs(join_alternating_programs(notes, known), known))
        if settled == notes:
            return settled
        notes = settled


def _rename(notes: NoteSequence, named: NamedInstruments) -> NoteSequence:
    return dataclasses.replace(notes, notes=number_instruments(rename_notes(notes.notes, named)))


def _trim(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    return trim_overlapping_notes(NoteSequence(notes=notes, total_time=0.0)).notes
