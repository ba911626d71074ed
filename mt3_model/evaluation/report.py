"""Evaluate two folders or two NoteSequences, and report as values, JSON or a table.

The metric names and the JSON layout are those of other comparison tools in the field: per clip
``{metric: {p, r, f1}, counts, kind}``, then means over clips. A metric is omitted for a clip whose
reference has no such notes or whose manifest does not list the metric; the metric's mean then
excludes the clip.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from mt3_model.errors import MT3Error
from mt3_model.evaluation.beat_metrics import (
    BeatAgreement,
    compare_beats,
    mean_beats,
    read_beats_file,
)
from mt3_model.evaluation.continuity_metrics import Continuity, score_continuity
from mt3_model.evaluation.datasets import (
    ClipInfo,
    check_folder,
    find_estimate,
    list_references,
    read_manifest,
    read_midi,
)
from mt3_model.evaluation.frame_metrics import score_frames
from mt3_model.evaluation.note_metrics import (
    ClipNotes,
    Score,
    score_drum_groups,
    score_instruments,
    score_onsets,
    score_onsets_and_offsets,
)
from mt3_model.evaluation.velocity_metrics import VelocityAgreement, score_velocities
from mt3_model.notes.note import NoteSequence

Metric = Literal["onset", "on+off", "drum", "drumgrp", "frame", "full", "midi_class", "flat"]
METRICS: tuple[Metric, ...] = get_args(Metric)
"""All metrics, in the order of the table's columns."""

_NO_NOTES = NoteSequence(notes=(), total_time=0.0)
_MIN_NAME_WIDTH = 12


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ClipReport:
    """The scores of one clip."""

    scores: Mapping[Metric, Score]
    """The scores of the metrics that the reference supports."""
    reference_notes: int
    """The number of pitched notes of the reference."""
    estimate_notes: int
    reference_drums: int
    estimate_drums: int
    reference_programs: tuple[int, ...]
    estimate_programs: tuple[int, ...]
    continuity: Continuity | None = None
    """The steadiness of the instruments; None if the reference has no pitched notes."""
    velocity: VelocityAgreement | None = None
    """The agreement of velocities; None if the reference has no pitched notes."""
    beats: BeatAgreement | None = None
    """The agreement of beats; None if those of the reference are not known."""
    kind: str = ""
    """The kind of recording, from the manifest."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The scores of all clips, and the clips that could not be scored."""

    clips: Mapping[str, ClipReport]
    """Clip name -> scores."""
    missing: tuple[str, ...]
    """The names of clips without an estimate."""
    failed: Mapping[str, str]
    """Clip name -> the reason why a file of the clip could not be read."""
    reference: pathlib.Path
    estimate: pathlib.Path
    sustain: bool
    frame_threshold: int

    def mean(self, kind: str | None = None) -> Mapping[Metric, float | None]:
        """Return the mean F1 of each metric over the clips that have it; ``None`` if none has.

        Args:
            kind: Use only clips of this kind.
        """
        clips = [clip for clip in self.clips.values() if kind in (None, clip.kind)]
        return {metric: _mean_f1(metric, clips) for metric in METRICS}

    def mean_continuity(self) -> Continuity | None:
        """Return the mean of each continuity figure over the clips that have them."""
        clips = [clip.continuity for clip in self.clips.values() if clip.continuity is not None]
        if not clips:
            return None
        return Continuity(
            flicker_per_minute=float(np.mean([clip.flicker_per_minute for clip in clips])),
            leakage=float(np.mean([clip.leakage for clip in clips])),
            near_borders=_mean_score([clip.near_borders for clip in clips]),
            elsewhere=_mean_score([clip.elsewhere for clip in clips]),
        )

    def mean_velocity(self) -> VelocityAgreement | None:
        """Return the mean agreement of velocities over the clips that have it."""
        clips = [clip.velocity for clip in self.clips.values() if clip.velocity is not None]
        if not clips:
            return None
        known = [clip.correlation for clip in clips if clip.correlation is not None]
        return VelocityAgreement(
            score=_mean_score([clip.score for clip in clips]),
            correlation=float(np.mean(known)) if known else None,
        )

    def mean_beats(self) -> BeatAgreement | None:
        """Return the mean agreement of beats over the clips that have it."""
        return mean_beats([clip.beats for clip in self.clips.values() if clip.beats is not None])

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of recordings if the manifest has more than one kind, else empty."""
        kinds = sorted({clip.kind for clip in self.clips.values() if clip.kind})
        return tuple(kinds) if len(kinds) > 1 else ()

    def to_json(self) -> str:
        """Write the report as one JSON object."""
        content: dict[str, Any] = {
            "mean": dict(self.mean()),
            "n_clips": len(self.clips),
            "clips": {name: _clip_json(clip) for name, clip in self.clips.items()},
            "missing": list(self.missing),
            "failed": dict(self.failed),
            "settings": {
                "sustain": self.sustain,
                "frame_threshold": self.frame_threshold,
                "ref_dir": str(self.reference),
                "est_dir": str(self.estimate),
            },
        }
        continuity = self.mean_continuity()
        if continuity is not None:
            content["continuity"] = {
                "mean": _continuity_json(continuity),
                "clips": {
                    name: _continuity_json(clip.continuity)
                    for name, clip in self.clips.items()
                    if clip.continuity is not None
                },
            }
        beats = self.mean_beats()
        if beats is not None:
            clips = {name: clip.beats for name, clip in self.clips.items() if clip.beats}
            content["beats"] = {
                "mean": dataclasses.asdict(beats),
                "clips": {name: dataclasses.asdict(value) for name, value in clips.items()},
            }
        velocity = self.mean_velocity()
        if velocity is not None:
            content["velocity"] = {
                "mean": _velocity_json(velocity),
                "clips": {
                    name: _velocity_json(clip.velocity)
                    for name, clip in self.clips.items()
                    if clip.velocity is not None
                },
            }
        if self.kinds:
            content["mean_by_kind"] = {kind: dict(self.mean(kind)) for kind in self.kinds}
        return json.dumps(content, indent=1)

    def to_table(self) -> str:
        """Write F1 per clip and the means as a table for a terminal."""
        width = max([*map(len, self.clips), _MIN_NAME_WIDTH])
        head = _row("clip", "ref", "est", METRICS, width)
        rule = "-" * len(head)
        lines = [head, rule]
        for name, clip in self.clips.items():
            scores = [clip.scores.get(metric) for metric in METRICS]
            lines.append(
                _row(
                    name,
                    str(clip.reference_notes + clip.reference_drums),
                    str(clip.estimate_notes + clip.estimate_drums),
                    [_cell(None if score is None else score.f1) for score in scores],
                    width,
                )
            )
        means = map(_cell, self.mean().values())
        lines += [rule, _row(f"MEAN ({len(self.clips)} clips)", "", "", means, width)]
        for kind in self.kinds:
            clips = sum(clip.kind == kind for clip in self.clips.values())
            means = map(_cell, self.mean(kind).values())
            lines.append(_row(f"  {kind} ({clips})", "", "", means, width))
        continuity = self.mean_continuity()
        if continuity is not None:
            lines.append(
                f"flicker {continuity.flicker_per_minute:.1f} per minute,"
                f" leakage {continuity.leakage:.4f};"
                f" onset F1 near segment borders {continuity.near_borders.f1:.4f},"
                f" elsewhere {continuity.elsewhere.f1:.4f}"
            )
        velocity = self.mean_velocity()
        if velocity is not None:
            lines.append(
                f"velocity: F1 {velocity.score.f1:.4f},"
                f" correlation within instruments {_cell(velocity.correlation)}"
            )
        beats = self.mean_beats()
        if beats is not None:
            lines.append(
                f"beats: F1 {beats.f1:.4f}, tempo within 4 % {beats.tempo:.4f},"
                f" at any metrical level {beats.tempo_any_level:.4f}"
            )
        if self.missing:
            lines.append(f"missing estimates: {', '.join(self.missing)}")
        lines += [f"FAILED {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join(lines)


def evaluate_folders(
    reference: pathlib.Path,
    estimate: pathlib.Path,
    *,
    sustain: bool = True,
    frame_threshold: int = 0,
    missing_as_empty: bool = False,
) -> Report:
    """Evaluate every MIDI file of a folder against the file of the same name in another folder.

    Args:
        reference: The folder of references, with or without a ``manifest.json``.
        estimate: The folder of estimates, ``NAME.mid`` or ``NAME.midi``.
        sustain: Whether the sustain pedal lengthens notes.
        frame_threshold: The frame metric ignores reference cells of this velocity or less.
        missing_as_empty: Whether a clip without a readable estimate counts as an empty
            transcription; otherwise the means exclude it.

    Raises:
        OptionError: A path is not a folder, there are no references, or the manifest is invalid.
    """
    references = list_references(reference)
    check_folder(estimate, "estimate")
    manifest = read_manifest(reference)
    known_beats = read_beats_file(reference)
    clips: dict[str, ClipReport] = {}
    missing: list[str] = []
    failed: dict[str, str] = {}
    for path in references:
        name = path.stem
        estimate_path = find_estimate(estimate, name)
        if estimate_path is None:
            missing.append(name)
            if not missing_as_empty:
                continue
        try:
            expected = read_midi(path, sustain=sustain)
        except MT3Error as error:
            failed[name] = str(error)
            continue
        found = ClipNotes.from_note_sequence(_NO_NOTES)
        if estimate_path is not None:
            try:
                found = read_midi(estimate_path, sustain=sustain)
            except MT3Error as error:
                failed[name] = str(error)
                if not missing_as_empty:
                    continue
        info = manifest.get(name, ClipInfo())
        scored = _score_clip(expected, found, info=info, frame_threshold=frame_threshold)
        beats = compare_beats(path, estimate_path, known=known_beats.get(name))
        clips[name] = dataclasses.replace(scored, beats=beats)
    return Report(
        clips=clips,
        missing=tuple(missing),
        failed=failed,
        reference=reference,
        estimate=estimate,
        sustain=sustain,
        frame_threshold=frame_threshold,
    )


def score_note_sequences(
    reference: NoteSequence, estimate: NoteSequence, *, frame_threshold: int = 0
) -> ClipReport:
    """Evaluate one transcription against another, both in memory."""
    return _score_clip(
        ClipNotes.from_note_sequence(reference),
        ClipNotes.from_note_sequence(estimate),
        info=ClipInfo(),
        frame_threshold=frame_threshold,
    )


def _score_clip(
    reference: ClipNotes, estimate: ClipNotes, *, info: ClipInfo, frame_threshold: int
) -> ClipReport:
    scores: dict[Metric, Score] = {}
    if len(reference.pitched):
        scores["onset"] = score_onsets(reference.pitched, estimate.pitched)
        scores["on+off"] = score_onsets_and_offsets(reference.pitched, estimate.pitched)
        scores["frame"] = score_frames(
            reference.pitched, estimate.pitched, threshold=frame_threshold
        )
    if len(reference.drums):
        scores["drum"] = score_onsets(reference.drums, estimate.drums)
        scores["drumgrp"] = score_drum_groups(reference.drums, estimate.drums)
    if len(reference.pitched) or len(reference.drums):
        scores["full"] = score_instruments(reference, estimate, "full")
        scores["midi_class"] = score_instruments(reference, estimate, "midi_class")
        scores["flat"] = score_instruments(reference, estimate, "flat")
    if info.metrics is not None:
        scores = {name: score for name, score in scores.items() if name in info.metrics}
    return ClipReport(
        scores=scores,
        reference_notes=len(reference.pitched),
        estimate_notes=len(estimate.pitched),
        reference_drums=len(reference.drums),
        estimate_drums=len(estimate.drums),
        reference_programs=tuple(sorted({int(p) for p in reference.pitched.programs})),
        estimate_programs=tuple(sorted({int(p) for p in estimate.pitched.programs})),
        continuity=(
            score_continuity(reference.pitched, estimate.pitched)
            if len(reference.pitched)
            else None
        ),
        velocity=(
            score_velocities(reference.pitched, estimate.pitched)
            if len(reference.pitched)
            else None
        ),
        kind=info.kind,
    )


def _mean_f1(metric: Metric, clips: Sequence[ClipReport]) -> float | None:
    values = [clip.scores[metric].f1 for clip in clips if metric in clip.scores]
    return float(np.mean(values)) if values else None


def _mean_score(scores: Sequence[Score]) -> Score:
    return Score(
        precision=float(np.mean([score.precision for score in scores])),
        recall=float(np.mean([score.recall for score in scores])),
        f1=float(np.mean([score.f1 for score in scores])),
    )


def _continuity_json(continuity: Continuity) -> dict[str, Any]:
    return {
        "flicker_per_minute": continuity.flicker_per_minute,
        "leakage": continuity.leakage,
        "near_borders": _score_json(continuity.near_borders),
        "elsewhere": _score_json(continuity.elsewhere),
    }


def _velocity_json(velocity: VelocityAgreement) -> dict[str, Any]:
    return {"score": _score_json(velocity.score), "correlation": velocity.correlation}


def _score_json(score: Score) -> dict[str, float]:
    return {"p": score.precision, "r": score.recall, "f1": score.f1}


def _clip_json(clip: ClipReport) -> dict[str, Any]:
    content: dict[str, Any] = {metric: _score_json(score) for metric, score in clip.scores.items()}
    content["counts"] = {
        "ref": clip.reference_notes,
        "est": clip.estimate_notes,
        "ref_drum": clip.reference_drums,
        "est_drum": clip.estimate_drums,
        "ref_programs": list(clip.reference_programs),
        "est_programs": list(clip.estimate_programs),
    }
    content["kind"] = clip.kind
    return content


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _row(name: str, reference: str, estimate: str, cells: Iterable[str], width: int) -> str:
    return f"{name:{width}s} {reference:>5s} {estimate:>5s} " + " ".join(f"{c:>10s}" for c in cells)
