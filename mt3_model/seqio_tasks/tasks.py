"""Register a ``seqio.Task`` of a published model for any source of recordings.

Call ``add_transcription_task``, then run the task with ``seqio.get_dataset`` or T5X's ``evaluate``.
The metrics are those of ``mt3 evaluate`` (`mt3_model/evaluation`), as means over recordings. The
segments of a recording are joined by the same decoder as on the server. The structure follows the
original (Source: magenta/mt3 fa04532, tasks.py ``add_transcription_task_to_registry``,
``postprocess``; metrics.py ``transcription_metrics``).
"""

import collections
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio  # pyright: ignore[reportMissingImports]  # an extra, see vocabulary.py
import tensorflow as tf  # pyright: ignore[reportMissingModuleSource]  # the same

from mt3_model.codec.vocabulary import END_TOKEN, SPECIAL_TOKENS, UNKNOWN_TOKEN, build_codec
from mt3_model.evaluation.report import METRICS, score_note_sequences
from mt3_model.notes.decoding import SegmentTokens, decode_notes
from mt3_model.seqio_tasks.preprocessing import (
    check_lengths,
    read_note_sequence,
    segment_recordings,
)
from mt3_model.seqio_tasks.vocabulary import DECODED_END, EventVocabulary
from mt3_model.spec import ModelSpec


def add_transcription_task(
    name: str, source: Any, model: ModelSpec, *, trim_overlaps: bool = True
) -> Any:
    """Register a task with SeqIO and return it.

    Args:
        name: The task's name in ``seqio.TaskRegistry``.
        source: A ``seqio.DataSource`` of recordings (see `preprocessing.py`).
        model: The model whose front end, segment length and vocabulary are used.
        trim_overlaps: Whether to trim overlapping notes of one pitch and program.
    """
    return seqio.TaskRegistry.add(
        name,
        source=source,
        output_features={
            "targets": seqio.Feature(vocabulary=EventVocabulary(model.vocabulary)),
            "inputs": seqio.ContinuousFeature(dtype=tf.float32, rank=2),
        },
        preprocessors=[
            functools.partial(segment_recordings, model=model, trim_overlaps=trim_overlaps),
            check_lengths,
            functools.partial(seqio.preprocessors.tokenize_and_append_eos, copy_pretokenized=False),
        ],
        postprocess_fn=postprocess,
        metric_fns=[functools.partial(transcription_metrics, model=model)],
    )


def sequence_length(model: ModelSpec) -> dict[str, int]:
    """Return the lengths used to train the model. Source: gin ``TASK_FEATURE_LENGTHS``."""
    return {"inputs": model.segment_frames, "targets": model.max_tokens}


def postprocess(
    indices: Sequence[int], example: Mapping[str, Any], *, is_target: bool = False
) -> dict[str, Any]:
    """Convert decoded event indices to the values that the metrics need.

    Args:
        indices: ``[L]``, the event indices that the vocabulary decoded.
        example: The example of the segment.
        is_target: Whether the indices are the reference's, which its NoteSequence replaces.
    """
    recording_id = _bytes(example["id"])
    if is_target:
        return {"id": recording_id, "sequence": _bytes(example["sequence"])}
    return {
        "id": recording_id,
        "start_time": float(example["start_time"]),
        "tokens": [_to_token(int(index)) for index in indices],
    }


def transcription_metrics(
    targets: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    *,
    model: ModelSpec,
) -> dict[str, float]:
    """Join the segments of each recording and return mean F1s and mean counts of invalid events.

    Args:
        targets: The results of `postprocess` for the references, one per segment; the first segment
            of a recording has its notes.
        predictions: The results of `postprocess` for the predictions, one per segment.
        model: The model that the tokens belong to.
    """
    codec = build_codec(model.vocabulary)
    references = {target["id"]: target["sequence"] for target in targets if target["sequence"]}
    segments: dict[bytes, list[SegmentTokens]] = collections.defaultdict(list)
    for prediction in predictions:
        segments[prediction["id"]].append(
            SegmentTokens(start_time=prediction["start_time"], tokens=prediction["tokens"])
        )
    scores: dict[str, list[float]] = collections.defaultdict(list)
    for recording_id, sequence in references.items():
        decoded = decode_notes(segments[recording_id], codec, uses_ties=model.vocabulary.uses_ties)
        report = score_note_sequences(read_note_sequence(sequence), decoded.notes)
        for metric, score in report.scores.items():
            scores[f"{metric} F1"].append(score.f1)
        scores["invalid events"].append(decoded.invalid_events)
        scores["dropped events"].append(decoded.dropped_events)
    names = [*(f"{metric} F1" for metric in METRICS), "invalid events", "dropped events"]
    return {name: float(np.mean(scores[name])) for name in names if scores[name]}


def _to_token(index: int) -> int:
    if index >= 0:
        return index + SPECIAL_TOKENS
    return END_TOKEN if index == DECODED_END else UNKNOWN_TOKEN


def _bytes(value: Any) -> bytes:
    """Convert a scalar string, a tensor or a NumPy value from tf.data, to bytes."""
    return bytes(np.asarray(value).item())
