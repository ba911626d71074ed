"""Notes -> note-seq's ``NoteSequence`` protobuf, in binary or JSON form.

Magenta's tools (note-seq, MT3, the datasets) exchange music in this format. The fields are those
that MT3 fills (Source: magenta/mt3 fa04532, note_sequences.py ``flush_note_decoding_state``):
220 ticks per quarter, ``total_time``, and per note pitch, velocity, times, program, is_drum and
instrument. ``source_info`` marks the times as those of a performance, not of a score.

Only note-seq's generated protobuf module is loaded, by its file name: ``import note_seq`` runs the
package's ``__init__``, which imports pandas, IPython, librosa and pydub (2.1 s and a warning about
a missing ffmpeg; the protobuf alone takes 0.04 s). Protobuf keeps one class per message in a
process, so this class is identical to ``note_seq.NoteSequence``; a test checks it.
"""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import json_format

from mt3_model.export.tempo_map import MAX_TICKS, beat_tempo_map
from mt3_model.notes.musical_time import MusicalTime
from mt3_model.notes.note import NoteSequence

if TYPE_CHECKING:
    # At run time this line would import all of note_seq.
    from note_seq.protobuf import music_pb2 as music_pb2_types

TICKS_PER_QUARTER = 220
"""note-seq's ``constants.STANDARD_PPQ``. Informative: the protobuf's times are in seconds."""


def _load_music_pb2() -> "type[music_pb2_types.NoteSequence]":
    """Load the message class from note-seq's generated module, without importing note_seq."""
    package = importlib.util.find_spec("note_seq")
    assert package is not None, "note-seq is a dependency"
    assert package.submodule_search_locations, "note-seq is a package"
    source = Path(package.submodule_search_locations[0]) / "protobuf" / "music_pb2.py"
    spec = importlib.util.spec_from_file_location("mt3_model_export_music_pb2", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NoteSequence


NoteSequenceProto = _load_music_pb2()
"""The protobuf class ``note_seq.NoteSequence``."""


def to_note_sequence(
    notes: NoteSequence, time: MusicalTime | None = None
) -> "music_pb2_types.NoteSequence":
    """Build the protobuf message; notes keep their order.

    Args:
        notes: the notes.
        time: the beats, bars and key, if known. Their tempi, time signatures and key are those of
            the MIDI file, at times in seconds.
    """
    proto = NoteSequenceProto()
    proto.ticks_per_quarter = TICKS_PER_QUARTER
    proto.total_time = notes.total_time
    proto.source_info.source_type = proto.SourceInfo.PERFORMANCE_BASED
    if time is not None:
        _add_musical_time(proto, time, notes.total_time)
    for note in notes.notes:
        proto.notes.add(
            pitch=note.pitch,
            velocity=note.velocity,
            start_time=note.start_time,
            end_time=note.end_time,
            program=note.program,
            is_drum=note.is_drum,
            instrument=note.instrument,
        )
    return proto


def _add_musical_time(
    proto: "music_pb2_types.NoteSequence", time: MusicalTime, total_time: float
) -> None:
    time_map = beat_tempo_map(time, last=total_time, max_ticks=MAX_TICKS)
    for change in time_map.tempi:
        proto.tempos.add(time=change.seconds, qpm=60_000_000 / change.microseconds)
    for change in time_map.meters:
        proto.time_signatures.add(
            time=time_map.to_seconds(change.tick),
            numerator=change.numerator,
            denominator=change.denominator,
        )
    if time.key is not None:
        # The protobuf counts keys from C, and a key by its tonic.
        tonic = time.key.fifths * 7 + (9 if time.key.mode == "minor" else 0)
        modes = proto.KeySignature
        mode = modes.MINOR if time.key.mode == "minor" else modes.MAJOR
        proto.key_signatures.add(time=0.0, key=tonic % 12, mode=mode)


def to_note_sequence_proto(notes: NoteSequence, time: MusicalTime | None = None) -> bytes:
    """Write the protobuf in binary form; equal notes give equal bytes."""
    return to_note_sequence(notes, time).SerializeToString(deterministic=True)


def to_note_sequence_json(notes: NoteSequence, time: MusicalTime | None = None) -> str:
    """Write the protobuf in its JSON form (lowerCamelCase names; fields that are 0 are omitted)."""
    return json_format.MessageToJson(to_note_sequence(notes, time), indent=None)
