"""Recordings with their notes -> segments with inputs and targets, as a ``tf.data`` pipeline.

This is the preprocessing of the published task, built from the modules that the server uses, so
that an evaluation measures the served model (Source: magenta/mt3 fa04532, tasks.py
``add_transcription_task_to_registry``; preprocessors.py ``tokenize_transcription_example``):

- input: ``audio`` float32 [N], ``sample_rate`` Hz, ``sequence`` (serialized NoteSequence), ``id``;
- output, one example per segment: ``inputs`` log-mel [T, F] of its true frames, ``targets`` event
  indices [L] (tie section, mapped programs, run-length coded shifts; no end token yet),
  ``start_time`` in seconds, ``sequence`` (in the first segment only) and ``id``.

Departures: segments are consecutive, as in inference (the original's training tasks draw random
ones, and its evaluation tasks leave targets empty). The start time is float64 (the original's
``input_times`` are float32). Recordings at another rate are resampled by soxr as a stream, which
gives librosa's result.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import note_seq
import numpy as np
import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]  # an extra, see vocabulary.py
from jaxtyping import Float32

from mt3_model.audio.samples.resampling import Resampler
from mt3_model.codec.vocabulary import SPECIAL_TOKENS
from mt3_model.notes.encoding import encode_notes
from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.trimming import trim_overlapping_notes
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.logmel import compute_logmel
from mt3_model.spectrogram.segments import Segment, split_segments


def segment_recordings(dataset: Any, *, model: ModelSpec, trim_overlaps: bool = True) -> Any:
    """Convert a ``tf.data.Dataset`` of recordings to one of segments, in order.

    Args:
        dataset: Examples with the fields listed in the module's docstring.
        model: The model whose front end, segment length and vocabulary are used.
        trim_overlaps: Whether to trim overlapping notes of one pitch and program, as the original
            does in training; the vocabulary cannot represent them.
    """
    signature = {
        "inputs": tf.TensorSpec((None, model.spectrogram.mel_bins), tf.float32),
        "targets": tf.TensorSpec((None,), tf.int32),
        "start_time": tf.TensorSpec((), tf.float64),
        "sequence": tf.TensorSpec((), tf.string),
        "id": tf.TensorSpec((), tf.string),
    }
    segments = functools.partial(_segments, model=model, trim_overlaps=trim_overlaps)

    def segment_recording(record: Mapping[str, Any]) -> Any:
        return tf.data.Dataset.from_generator(
            segments,
            output_signature=signature,
            args=(record["audio"], record["sample_rate"], record["sequence"], record["id"]),
        )

    return dataset.flat_map(segment_recording)


def check_lengths(
    dataset: Any, output_features: Mapping[str, Any], sequence_length: Mapping[str, int] | None
) -> Any:
    """Raise an error for features that SeqIO would truncate.

    Source: preprocessors.py ``handle_too_long``.
    """
    if sequence_length is None:
        return dataset

    def check(example: Mapping[str, Any]) -> Mapping[str, Any]:
        checks: list[Any] = []
        for name, feature in output_features.items():
            longest = sequence_length[name] - int(feature.add_eos)
            message = f"{name} is longer than {longest}; expected a longer sequence_length"
            checks.append(
                tf.debugging.assert_less_equal(tf.shape(example[name])[0], longest, message)
            )
        with tf.control_dependencies(checks):
            return {name: tf.identity(value) for name, value in example.items()}

    return dataset.map(check)


def read_note_sequence(serialized: bytes) -> NoteSequence:
    """Read a NoteSequence protobuf and lengthen the notes held by the sustain pedal."""
    proto = note_seq.apply_sustain_control_changes(note_seq.NoteSequence.FromString(serialized))
    return NoteSequence(
        notes=tuple(
            Note(
                pitch=note.pitch,
                start_time=note.start_time,
                end_time=note.end_time,
                velocity=note.velocity,
                program=note.program,
                is_drum=note.is_drum,
                instrument=note.instrument,
            )
            for note in proto.notes
        ),
        total_time=proto.total_time,
    )


def _segments(
    audio: Float32[np.ndarray, " N"],
    sample_rate: np.integer,
    sequence: bytes,
    recording_id: bytes,
    *,
    model: ModelSpec,
    trim_overlaps: bool,
) -> Iterator[dict[str, Any]]:
    """Yield the segments of one recording, given as NumPy values by tf.data."""
    notes = read_note_sequence(sequence)
    if trim_overlaps:
        notes = trim_overlapping_notes(notes)
    resampler = Resampler(source_rate=int(sample_rate), target_rate=model.spectrogram.sample_rate)
    blocks = [resampler.resample(audio), resampler.finish()]
    segments = list(split_segments(blocks, model))
    encoded = encode_notes(notes, model, frames=sum(segment.frames for segment in segments))
    for segment, target in zip(segments, encoded, strict=True):
        tokens = np.asarray(target.tokens[:-1], np.int32)  # SeqIO appends the end token itself
        yield {
            "inputs": _logmel(segment, model),
            "targets": tokens - SPECIAL_TOKENS,
            "start_time": segment.start_time,
            "sequence": sequence if segment.index == 0 else b"",
            "id": recording_id,
        }


def _logmel(segment: Segment, model: ModelSpec) -> Float32[np.ndarray, "T F"]:
    """Return the log-mel ``[T, F]`` of the segment's true frames; SeqIO pads it with 0.0."""
    logmel = compute_logmel(
        jnp.asarray(segment.samples[None]),
        jnp.asarray([segment.frames], jnp.int32),
        model.spectrogram,
    )
    return np.asarray(logmel)[0, : segment.frames]
