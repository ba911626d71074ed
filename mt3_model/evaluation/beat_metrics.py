"""Beats of an estimated MIDI file against those of the reference, by mir_eval.

The beats of a MIDI file are those of its tempo map. A reference may have better ones: a file
``beats.json`` in its folder, ``{clip: {"beats": [seconds, ...]}}``. A reference with one tempo and
no entry there has no known beats, because most MIDI files have 120 beats per minute by default.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import mir_eval.beat
import numpy as np

from mt3_model.errors import MT3Error, OptionError
from mt3_model.evaluation.datasets import parse_midi

TEMPO_TOLERANCE = 0.04
"""Source: MIREX audio tempo estimation; Gouyon et al. 2006, "An experimental comparison of audio
tempo induction algorithms": 4 %."""
_OCTAVES = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)
"""Multiples that count as the same tempo at another metrical level (ibidem, accuracy 2)."""
_MIN_BEATS = 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BeatAgreement:
    """The agreement of beats; for several clips, the means."""

    f1: float
    """mir_eval's F-measure: beats within 70 ms."""
    tempo: float
    """1 if the median tempo is within 4 %, else 0."""
    tempo_any_level: float
    """The same, where two or three times and a half or third of the tempo count too."""


def score_beats(reference: np.ndarray, estimate: np.ndarray) -> BeatAgreement:
    """Compare beat times in seconds; the estimate's beyond the reference's ends do not count."""
    interval = float(np.median(np.diff(reference)))
    inside = (estimate > reference[0] - interval / 2) & (estimate < reference[-1] + interval / 2)
    found = estimate[inside]
    if len(found) < _MIN_BEATS:
        return BeatAgreement(f1=0.0, tempo=0.0, tempo_any_level=0.0)
    ratio = interval / float(np.median(np.diff(found)))
    near = [abs(ratio / octave - 1) <= TEMPO_TOLERANCE for octave in _OCTAVES]
    return BeatAgreement(
        f1=float(mir_eval.beat.f_measure(reference, found)),
        tempo=float(near[0]),
        tempo_any_level=float(any(near)),
    )


def compare_beats(
    reference: pathlib.Path, estimate: pathlib.Path | None, *, known: np.ndarray | None
) -> BeatAgreement | None:
    """Compare the beats of two MIDI files.

    Args:
        reference: the reference.
        estimate: the estimate; None if there is none.
        known: the reference's beats in seconds, if its folder lists them.

    Returns:
        None if the beats of either file are not known, or a file cannot be read.
    """
    if estimate is None:
        return None
    try:
        expected = read_midi_beats(reference, only_if_mapped=True) if known is None else known
        found = None if expected is None else read_midi_beats(estimate)
    except MT3Error:
        return None  # the report already names the file
    return None if expected is None or found is None else score_beats(expected, found)


def mean_beats(clips: Sequence[BeatAgreement]) -> BeatAgreement | None:
    """Return the means over clips; None without clips."""
    if not clips:
        return None
    return BeatAgreement(
        f1=float(np.mean([clip.f1 for clip in clips])),
        tempo=float(np.mean([clip.tempo for clip in clips])),
        tempo_any_level=float(np.mean([clip.tempo_any_level for clip in clips])),
    )


def read_beats_file(folder: pathlib.Path) -> Mapping[str, np.ndarray]:
    """Read ``beats.json`` of a folder: the beats of each clip in seconds; empty without the file.

    Raises:
        OptionError: the file has another form.
    """
    path = folder / "beats.json"
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        beats = {name: np.array(clip["beats"], np.float64) for name, clip in content.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OptionError(
            "reference",
            f"{path} does not list beats ({error!r}); expected"
            ' {"clip name": {"beats": [seconds, ...]}}',
        ) from error
    return {name: times for name, times in beats.items() if len(times) >= _MIN_BEATS}


def read_midi_beats(path: pathlib.Path, *, only_if_mapped: bool = False) -> np.ndarray | None:
    """Return the beats of a MIDI file's tempo map.

    Args:
        path: a Standard MIDI File.
        only_if_mapped: return None if the file has a single tempo.

    Raises:
        MT3Error: the file cannot be read as MIDI.
    """
    midi = parse_midi(path)
    if only_if_mapped and len(midi.get_tempo_changes()[0]) < _MIN_BEATS:
        return None
    beats = np.asarray(midi.get_beats(), np.float64)
    return beats if len(beats) >= _MIN_BEATS else None
