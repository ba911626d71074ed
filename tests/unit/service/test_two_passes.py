"""A second pass in the service: events, admission and usage; the same notes as the library's."""

import asyncio
import contextlib

import numpy as np

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.vocabulary import END_TOKEN, build_codec
from mt3_model.notes.generated import GeneratedSegment
from mt3_model.notes.transcription import TranscriptionOptions
from mt3_model.spec import MT3
from mt3_model.transcribe import LocalTranscriber
from service.engine.fake_backend import FakeBackend
from service.transcription_events import FinalNotes, Progress, SegmentDone, Started
from tests.unit.service.transcribing import MODEL, transcribing, write

HALF_SECONDS = MT3.segment_seconds / 2
ONSET, OFFSET = 1.5, 2.5
"""Return a recording whose note sounds over the first pass's border at 2.048 s."""


class CuttingBackend(FakeBackend):
    """Generates one note, and forgets at each border what sounded before it."""

    times: tuple[tuple[float, int], ...] = ((ONSET, 1), (OFFSET, 0))  # with their velocities

    def generate(self, index):
        start = (index - 1) * HALF_SECONDS  # index 0 is the second pass's first segment
        pitch = Event(type=EventType.PITCH, value=60)
        events = [Event(type=EventType.TIE, value=0)]
        for time, velocity in self.times:
            if start <= time < start + MT3.segment_seconds:
                steps = round((time - start) * MT3.vocabulary.steps_per_second)
                events += [
                    Event(type=EventType.SHIFT, value=steps),
                    Event(type=EventType.VELOCITY, value=velocity),
                    pitch,
                ]
        codec = build_codec(MT3.vocabulary)
        tokens = [*map(codec.event_to_token, events), END_TOKEN]
        return GeneratedSegment(
            tokens=np.array(tokens, np.int32),
            log_probabilities=np.full(len(tokens), -0.5, np.float32),
        )


HIGH = TranscriptionOptions(quality="high", postprocess="none")


def times(notes):
    return [(round(note.start_time, 1), round(note.end_time, 1)) for note in notes]


async def test_a_stream_sends_the_first_pass_and_at_the_end_the_stitched_notes(tmp_path):
    async with transcribing(CuttingBackend(MT3, slots=3)) as transcriber:
        events = [event async for event in transcriber.stream(write(tmp_path, 5.0), HIGH)]
    segments = [event for event in events if isinstance(event, SegmentDone)]
    assert [segment.index for segment in segments] == [0, 1, 2]
    assert [round(segment.start, 2) for segment in segments] == [0.0, 2.04, 4.09]
    assert times(note for segment in segments for note in segment.notes) == [(ONSET, 2.0)]
    *_, final, completed = events
    assert isinstance(final, FinalNotes)
    assert times(final.notes) == [(ONSET, OFFSET)]
    assert completed.transcription.notes.notes == final.notes
    progress = [event for event in events if isinstance(event, Progress)]
    done = [event.done_seconds for event in progress]
    assert done == sorted(done)
    assert done[-1] == 5.0
    # 5.008 s have 3 segments of 2.048 s, and 3 after half a segment of zeros.
    assert [event.segments for event in progress] == [1, 2, 3, 4, 5, 6]
    assert completed.transcription.usage.segments == 6


async def test_the_notes_are_those_of_the_library(tmp_path):
    path = write(tmp_path, 7.0)
    local = LocalTranscriber(spec=MT3, backend=CuttingBackend(MT3, slots=2), model=MODEL)
    offline = await asyncio.to_thread(local.transcribe, path, HIGH)
    async with transcribing(CuttingBackend(MT3, slots=3)) as transcriber:
        served = await transcriber.transcribe(path, HIGH)
    assert served.notes == offline.notes
    assert times(served.notes.notes) == [(ONSET, OFFSET)]
    assert served.usage.tokens == offline.usage.tokens
    assert served.warnings == offline.warnings


async def test_a_second_pass_counts_in_the_waiting_audio(tmp_path):
    async with (
        transcribing() as transcriber,
        contextlib.aclosing(transcriber.stream(write(tmp_path, 10.0), HIGH)) as events,
    ):
        assert await anext(events) == Started(audio_seconds=10.0, recording_seconds=10.0)
        assert transcriber.admissions.waiting_audio_seconds == 20.0


async def test_without_notes_there_is_one_warning_of_it(tmp_path):
    backend = CuttingBackend(MT3, slots=3)
    backend.times = ()
    async with transcribing(backend) as transcriber:
        transcription = await transcriber.transcribe(write(tmp_path, 3.0), HIGH)
    assert transcription.notes.notes == ()
    assert [warning.code for warning in transcription.warnings].count("no_notes") == 1
