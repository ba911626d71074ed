"""The host's work on one recording: read it as segments, and write the result from their tokens.

    open       the decoding process starts and describes the recording
    read       samples -> segments, and what the clean-up needs of the sound
    add        tokens -> notes, as they are generated
    conclude   notes -> cleaned notes -> beats, bars and key -> the bytes of the response

It blocks, needs no device and shares nothing with other recordings. So it can run in a recording
process (`processes.py`) or in a thread of the server.
"""

import collections
import concurrent.futures
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float32, Int32

from mt3_model.audio.isolation import Recording, open_recording
from mt3_model.audio.recording import ReadingLimits, RecordingInfo, TimeRange
from mt3_model.notes.assembling import RecordingAssembler, to_transcription_warnings
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    TranscriptionWarning,
    Usage,
)
from mt3_model.postprocessing.cleaning import clean_up_transcription, open_sound
from mt3_model.postprocessing.sound import RecordingSound
from mt3_model.postprocessing.two_passes import (
    TwoPassAssembler,
    open_assembler,
    split_recording,
)
from mt3_model.postprocessing.voice import warn_of_voice
from mt3_model.rhythm.estimation import add_musical_time
from mt3_model.spec import ModelSpec
from mt3_model.spectrogram.segments import Segment

_concluding = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="concluding")
"""Concludes up to two recordings of one process at once. With more, each would take longer, since
one interpreter runs them all, and each thread keeps its memory. With one, a song would wait for an
hour's recording."""
_measuring = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="measuring")
"""Measures the sound of a batch of segments while the device works on it and the next is read."""
Write = Callable[[Transcription], bytes]
"""A function that writes a transcription in the format of the response. It can be pickled."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RecordingRequest:
    """A recording to read, and the options for it."""

    path: Path
    """Any audio that `mt3_model/audio` reads."""
    options: TranscriptionOptions
    spec: ModelSpec
    """The model, for the length and sample rate of segments."""
    limits: ReadingLimits


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ReadSegments:
    """The next segments of a recording."""

    segments: tuple[Segment, ...]
    """Empty after the last."""
    seconds: float
    """Seconds of sound read so far."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackedTokens:
    """Generated segments packed into three arrays, which are sent faster than hundreds."""

    tokens: Int32[np.ndarray, " L"]
    log_probabilities: Float32[np.ndarray, " L"]
    lengths: Int32[np.ndarray, " S"]

    @classmethod
    def pack(cls, segments: Sequence[GeneratedSegment]) -> "PackedTokens":
        """Join segments, at least one."""
        return cls(
            tokens=np.concatenate([segment.tokens for segment in segments]),
            log_probabilities=np.concatenate([segment.log_probabilities for segment in segments]),
            lengths=np.array([len(segment.tokens) for segment in segments], np.int32),
        )

    def unpack(self) -> Iterator[GeneratedSegment]:
        """Yield the segments in order."""
        borders = np.cumsum(self.lengths)[:-1]
        tokens = np.split(self.tokens, borders)
        scores = np.split(self.log_probabilities, borders)
        for these, their in zip(tokens, scores, strict=True):
            yield GeneratedSegment(tokens=these, log_probabilities=their)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """The device's part of a transcription."""

    model: ModelProvenance
    queue_seconds: float
    """Seconds spent waiting for the device."""
    wall_seconds: float
    """Seconds from the recording's arrival until now."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A transcription in the format of the response, and what the server reports about it."""

    content: bytes
    notes: int
    """Number of notes."""
    usage: Usage
    warnings: tuple[TranscriptionWarning, ...]
    write_seconds: float
    """Time spent writing, without the steps before it."""


class RecordingWork(Protocol):
    """The work on one recording. Its methods block, and are called from one thread."""

    def open(self) -> RecordingInfo:
        """Open the recording.

        Raises:
            AudioError: it cannot be used.
            OptionError: ``start`` or ``end`` is not a time of this recording.
        """
        ...

    def read(self, count: int) -> ReadSegments:
        """Read up to ``count`` segments.

        Raises:
            AudioError: the recording cannot be read further.
        """
        ...

    def add(self, packed: PackedTokens) -> None:
        """Turn the tokens of the next segments, in their order, into notes."""
        ...

    def conclude(self, generation: Generation) -> Transcription:
        """Make the transcription, after the tokens of all segments were added."""
        ...

    def write(self, generation: Generation, write: Write) -> Written:
        """Make the transcription, as `conclude`, and write the answer."""
        ...

    def close(self) -> None:
        """End the work, finished or not; may be called repeatedly."""
        ...


OpenWork = Callable[[RecordingRequest], RecordingWork]
"""Begins the work on a recording; does not block."""


class LocalRecordingWork:
    """The work on one recording, in this process."""

    def __init__(self, request: RecordingRequest) -> None:
        """Prepare; nothing is opened yet."""
        self._request = request
        self._recording: Recording | None = None
        self._segments: Iterator[Segment] = iter(())
        self._without_tokens: collections.deque[Segment] = collections.deque()
        self._assembler: RecordingAssembler | TwoPassAssembler | None = None
        self._sound: RecordingSound | None = None
        self._measuring: concurrent.futures.Future[None] | None = None
        self._voice_warnings: tuple[TranscriptionWarning, ...] = ()

    def open(self) -> RecordingInfo:
        """Do as `RecordingWork.open` says."""
        options, spec = self._request.options, self._request.spec
        self._sound = open_sound(options, spec.spectrogram.sample_rate)
        self._assembler = open_assembler(spec, options)
        self._recording = open_recording(
            self._request.path,
            sample_rate=spec.spectrogram.sample_rate,
            start=options.start,
            end=options.end,
            audio_track=options.audio_track,
            limits=self._request.limits,
        )
        self._segments = split_recording(self._recording.blocks(), spec, options.quality)
        return self._recording.info

    def read(self, count: int) -> ReadSegments:
        """Do as `RecordingWork.read` says."""
        segments = tuple(itertools.islice(self._segments, count))
        self._wait_until_measured()  # so that at most one batch waits, not a whole recording
        self._measuring = _measuring.submit(self._measure, segments)
        self._without_tokens.extend(map(without_samples, segments))
        return ReadSegments(segments=segments, seconds=self._opened.seconds)

    def add(self, packed: PackedTokens) -> None:
        """Do as `RecordingWork.add` says."""
        assert self._assembler is not None, "open comes first"
        for generated in packed.unpack():
            self._assembler.add_segment(self._without_tokens.popleft(), generated)

    def conclude(self, generation: Generation) -> Transcription:
        """Do as `RecordingWork.conclude` says."""
        return _concluding.submit(self._conclude, generation).result()

    def write(self, generation: Generation, write: Write) -> Written:
        """Do as `RecordingWork.write` says."""
        transcription = self.conclude(generation)
        began = time.perf_counter()
        content = write(transcription)
        return Written(
            content=content,
            notes=len(transcription.notes.notes),
            usage=transcription.usage,
            warnings=transcription.warnings,
            write_seconds=time.perf_counter() - began,
        )

    def close(self) -> None:
        """Do as `RecordingWork.close` says."""
        if self._recording is not None:
            self._recording.close()

    def _conclude(self, generation: Generation) -> Transcription:
        assert self._assembler is not None, "open comes first"
        assert not self._without_tokens, "the tokens of all segments come first"
        options = self._request.options
        recording = self._opened
        wanted = TimeRange(start=options.start, end=options.end)
        self._wait_until_measured()
        transcription = self._assembler.finish(
            model=generation.model,
            duration_seconds=recording.seconds,
            recording_seconds=wanted.recording_seconds(
                read=recording.seconds, declared=recording.info.duration_seconds
            ),
            warnings=(*to_transcription_warnings(recording.warnings), *self._voice_warnings),
            queue_seconds=generation.queue_seconds,
            wall_seconds=generation.wall_seconds,
        )
        return add_musical_time(clean_up_transcription(transcription, self._sound))

    def _measure(self, segments: Sequence[Segment]) -> None:
        """Keep what the clean-up needs of the segments' sound; after the last, look for a voice."""
        for segment in segments:
            if self._sound is not None and not segment.is_second_pass:  # it has the same sound
                self._sound.add_samples(segment.samples)
        if not segments:
            self._voice_warnings = warn_of_voice(self._sound)

    def _wait_until_measured(self) -> None:
        if self._measuring is not None:
            self._measuring.result()

    @property
    def _opened(self) -> Recording:
        assert self._recording is not None, "open comes first"
        return self._recording


def without_samples(segment: Segment) -> Segment:
    """Return the segment without its samples, which only the device and the clean-up need."""
    return dataclasses.replace(segment, samples=np.empty(0, np.float32))
