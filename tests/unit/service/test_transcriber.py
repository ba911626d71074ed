"""The transcriber with real recordings and the fake backend."""

import asyncio
import contextlib
import pathlib
import threading
import types

import numpy as np
import pytest
import soundfile

from mt3_model.audio.recording import ReadingLimits
from mt3_model.errors import AudioEmptyError, AudioFormatError, AudioLimitError
from mt3_model.export.record import from_record, to_record
from mt3_model.notes.transcription import TranscriptionOptions
from mt3_model.spec import MT3
from service.auth.caller import ANONYMOUS, Caller, CallerLimits
from service.engine.engine import Engine
from service.engine.fake_backend import FakeBackend
from service.errors import EngineError, OverloadedError, QuotaError
from service.observability.metrics import Metrics
from service.recording_opener import RecordingOpener
from service.recordings.segment_reader import SegmentReader
from service.recordings.work import ReadSegments, RecordingRequest
from service.transcriber import Transcriber
from service.transcription_events import Completed, Progress, SegmentDone, Started
from tests.unit.service.metric_values import sample
from tests.unit.service.transcribing import MODEL, transcribing, write
from tests.waiting import until


def open_files():
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


async def test_all_segments_are_transcribed_in_order(tmp_path):
    async with transcribing() as transcriber:
        # 9 s are 4.39 segments: five, which end in the order 0, 1, 3, 2, 4.
        transcription = await transcriber.transcribe(write(tmp_path, 9.0), TranscriptionOptions())
    piano = [n.pitch for n in transcription.notes.notes if not n.is_drum]
    assert piano == [60, 61, 62, 63, 64]
    assert transcription.duration_seconds == 9.0
    assert transcription.usage.segments == 5
    assert transcription.usage.tokens == 50
    assert transcription.usage.wall_seconds > 0
    assert transcription.model == MODEL


class Held(FakeBackend):
    """Makes no step before `go` is set; records the inserted segments."""

    def __init__(self, **shapes):
        super().__init__(MT3, **shapes)
        self.inserted, self.ended = [], 0
        self.entered, self.go = threading.Event(), threading.Event()

    def insert(self, entries):
        self.inserted += [entry.segment.index for entry in entries]
        super().insert(entries)

    def step(self):
        self.entered.set()
        assert self.go.wait(60)
        finished = super().step()
        self.ended += len(finished)
        return finished


async def test_reading_keeps_two_segments_per_slot_ahead_of_the_device(tmp_path):
    backend = Held(slots=2, encode_batch=1)
    submitted, most_ahead = [], 0

    class Watched(Engine):
        def submit(self, segments, admission):
            nonlocal most_ahead
            submitted.extend(segment.index for segment in segments)
            most_ahead = max(most_ahead, len(submitted) - backend.ended)
            return super().submit(segments, admission)

    async with transcribing(backend, engine_type=Watched) as transcriber:
        task = asyncio.create_task(
            transcriber.transcribe(write(tmp_path, 19.0), TranscriptionOptions())
        )
        await until(lambda: len(submitted) == 4)
        backend.go.set()
        assert (await task).usage.segments == 10
    assert submitted == list(range(10))
    assert most_ahead == 4


async def test_recordings_together_get_what_each_gets_alone(tmp_path):
    paths = [write(tmp_path, seconds, f"{seconds}.wav") for seconds in (9.0, 1.0, 21.5, 4.1)]
    async with transcribing(FakeBackend(MT3, slots=3, encode_batch=2)) as transcriber:
        alone = [await transcriber.transcribe(path, TranscriptionOptions()) for path in paths]
        together = await asyncio.gather(
            *(transcriber.transcribe(path, TranscriptionOptions()) for path in paths)
        )
    assert [t.notes for t in together] == [t.notes for t in alone]


async def test_a_failure_of_the_device_reaches_the_caller_and_leaves_nothing(tmp_path, caplog):
    class Failing(FakeBackend):
        def step(self):
            raise RuntimeError("device")

    async with transcribing(Failing(MT3)) as transcriber:
        before = open_files()
        with pytest.raises(EngineError):
            await transcriber.transcribe(write(tmp_path, 30.0), TranscriptionOptions())
        assert transcriber.admissions.waiting_audio_seconds == 0
        await until(lambda: open_files() <= before)


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"no audio", AudioFormatError), (None, AudioEmptyError)],
)
async def test_a_recording_that_cannot_be_used_raises_and_leaves_nothing(tmp_path, content, error):
    path = write(tmp_path, 0.0)
    if content is not None:
        path.write_bytes(content)
    async with transcribing() as transcriber:
        before = open_files()
        with pytest.raises(error):
            await transcriber.transcribe(path, TranscriptionOptions())
        assert open_files() <= before
        assert transcriber.admissions.waiting_audio_seconds == 0


async def test_a_recording_above_the_limit_is_refused(tmp_path):
    async with transcribing(max_seconds=1.0) as transcriber:
        with pytest.raises(AudioLimitError, match="1 s"):
            await transcriber.transcribe(write(tmp_path, 2.0), TranscriptionOptions())


async def test_a_cancelled_recording_stops_reading_and_leaves_nothing(tmp_path):
    backend = Held(slots=1)
    async with transcribing(backend) as transcriber:
        before = open_files()
        task = asyncio.create_task(
            transcriber.transcribe(write(tmp_path, 9.0), TranscriptionOptions())
        )
        assert await asyncio.to_thread(backend.entered.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert transcriber.admissions.waiting_audio_seconds == 0
        transcriber.opener.require_capacity(ANONYMOUS)
        backend.go.set()
        # The device's thread and that of `to_thread` stay; the reading thread has ended.
        await until(lambda: not any(t.name.startswith("reading") for t in threading.enumerate()))
        await until(lambda: open_files() <= before)


async def test_more_recordings_than_may_be_open_are_refused(tmp_path):
    async with transcribing(max_open=1) as transcriber:
        first = asyncio.create_task(
            transcriber.transcribe(write(tmp_path, 1.0), TranscriptionOptions())
        )
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            transcriber.opener.require_capacity(ANONYMOUS)
        await first
        transcriber.opener.require_capacity(ANONYMOUS)


async def test_the_range_alone_is_counted_against_the_bound(tmp_path):
    backend = Held()
    async with transcribing(backend, bound=100.0) as transcriber:
        task = asyncio.create_task(
            transcriber.transcribe(
                write(tmp_path, 60.0), TranscriptionOptions(start=10.0, end=12.5)
            )
        )
        await until(lambda: transcriber.admissions.waiting_audio_seconds > 0)
        assert transcriber.admissions.waiting_audio_seconds == 2.5
        backend.go.set()
        assert min(n.start_time for n in (await task).notes.notes) == 10.0


async def events_of(transcriber, path, **options):
    return [event async for event in transcriber.stream(path, TranscriptionOptions(**options))]


async def test_a_stream_tells_each_segment_and_then_all(tmp_path):
    async with transcribing() as transcriber:
        path = write(tmp_path, 5.0)
        started, *events, warned, completed = await events_of(transcriber, path, postprocess="none")
    assert started == Started(audio_seconds=5.0, recording_seconds=5.0)
    assert [type(event) for event in events] == 3 * [SegmentDone, Progress]
    segments, progress = events[::2], events[1::2]
    assert [(s.index, s.start, s.end) for s in segments] == [
        (0, 0.0, 2.048), (1, 2.04, pytest.approx(2.04 + 2.048)),
        # 5 s and a frame of 8 ms more, of which each of the segments before has 2.048 s.
        (2, pytest.approx(4.09), pytest.approx(4.09 + 5.0 - 2 * 2.048 + 0.008)),
    ]  # fmt: skip
    assert [(p.done_seconds, p.total_seconds, p.segments) for p in progress] == [
        (2.048, 5.0, 1), (pytest.approx(4.088), 5.0, 2), (5.0, 5.0, 3),
    ]  # fmt: skip
    assert isinstance(completed, Completed)
    assert (warned.warning,) == completed.transcription.warnings  # that it is silent
    assert sum((s.notes for s in segments), ()) == completed.transcription.notes.notes


def write_longer_than_declared(folder, seconds, declared):
    path = folder / "long.flac"
    samples = np.random.default_rng(0).standard_normal(round(seconds * 16_000)) / 10
    soundfile.write(path, samples, 16_000, format="FLAC")
    content = bytearray(path.read_bytes())
    content[22:26] = round(declared * 16_000).to_bytes(4, "big")  # STREAMINFO: total samples
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("declared", [3.0, 3_600.0])
async def test_a_declared_length_does_not_bound_the_progress(tmp_path, declared):
    # A second recording follows the first, which claims too little or far too much.
    path = write_longer_than_declared(tmp_path, 6.0, declared)
    path.write_bytes(path.read_bytes() + path.read_bytes())
    async with transcribing() as transcriber:
        events = await events_of(transcriber, path)
    progress = [event for event in events if isinstance(event, Progress)]
    fractions = [p.done_seconds / p.total_seconds for p in progress if p.total_seconds]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert progress[-1].total_seconds == progress[-1].done_seconds
    assert events[-1].transcription.duration_seconds == progress[-1].done_seconds


async def test_a_recording_that_goes_on_beyond_its_header_has_no_total(tmp_path):
    path = tmp_path / "song.ogg"
    for serial in (1, 2):  # libsndfile numbers the streams at random
        part = tmp_path / f"{serial}.ogg"
        soundfile.write(part, np.zeros(round(4.0 * 16_000)), 16_000, format="OGG")
        with path.open("ab") as joined:
            joined.write(part.read_bytes())
    async with transcribing() as transcriber:
        started, *events = await events_of(transcriber, path)
    assert started.audio_seconds is None
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].total_seconds == pytest.approx(8.0, abs=0.1)
    assert all(p.total_seconds is None for p in progress[:-1])


class Declaring:
    """Return the work on a recording that declares 7 s and has more."""

    def __init__(self, request):  # noqa: ARG002
        self._seconds = iter([2.0, 7.5, 8.5])

    def open(self):
        return types.SimpleNamespace(duration_seconds=7.0)

    def read(self, count):  # noqa: ARG002
        return ReadSegments(segments=(), seconds=next(self._seconds))

    def close(self):
        pass


async def test_the_total_is_unknown_once_more_was_read_than_was_declared(tmp_path):
    request = RecordingRequest(
        path=tmp_path, options=TranscriptionOptions(), spec=MT3, limits=ReadingLimits()
    )
    reader = SegmentReader(request, batch_size=1, open_work=Declaring)
    await reader.open()
    totals = []
    for _ in range(3):
        reader.read_ahead()
        await reader.next_batch()
        totals.append(reader.total_seconds)
    await reader.close()
    assert totals == [7.0, 7.5, None]


async def test_a_streams_notes_are_on_the_recordings_clock(tmp_path):
    async with transcribing() as transcriber:
        _, first, *_ = await events_of(transcriber, write(tmp_path, 6.0), start=1.0, end=5.5)
    assert first.start == 1.0
    assert [note.start_time for note in first.notes] == [1.5, 1.0]


async def test_a_segments_notes_are_told_while_the_next_is_generated(tmp_path):
    class FirstOnly(Held):
        def step(self):
            return FakeBackend.step(self) if self.go.is_set() else self.first()

        def first(self):
            ended = [slot for slot, live in self._live.items() if live.index == 0]
            for slot in ended:
                self._live[slot].steps_left = 1
            others = {slot: live for slot, live in self._live.items() if slot not in ended}
            self._live = {slot: self._live[slot] for slot in ended}
            finished = FakeBackend.step(self)
            self._live = others
            return finished

    backend = FirstOnly(slots=4)
    async with transcribing(backend) as transcriber:
        events = transcriber.stream(write(tmp_path, 9.0), TranscriptionOptions())
        async with contextlib.aclosing(events):
            assert isinstance(await anext(events), Started)
            first = await anext(events)
            assert [note.pitch for note in first.notes] == [36, 60]
            assert not backend.go.is_set()
            backend.go.set()
            assert [type(e) async for e in events][-1] is Completed


async def test_a_closed_stream_leaves_nothing(tmp_path):
    backend = Held(slots=1)
    metrics = Metrics()
    async with transcribing(backend, metrics=metrics) as transcriber:
        before = open_files()
        events = transcriber.stream(write(tmp_path, 9.0), TranscriptionOptions())
        assert isinstance(await anext(events), Started)
        assert sample(metrics, "mt3_open_recordings") == 1
        await events.aclose()
        assert transcriber.admissions.waiting_audio_seconds == 0
        assert sample(metrics, "mt3_open_recordings") == 0
        backend.go.set()
        await until(lambda: not any(t.name.startswith("reading") for t in threading.enumerate()))
        await until(lambda: open_files() <= before)
    assert outcomes(metrics) == {"finished": 0, "failed": 0, "canceled": 1}


def outcomes(metrics):
    return {
        outcome: sample(metrics, "mt3_transcriptions_total", outcome=outcome)
        for outcome in ("finished", "failed", "canceled")
    }


def observed(histogram):
    """Return count and sum of a histogram."""
    values = {
        sample.name.rsplit("_", 1)[1]: sample.value for sample in histogram.collect()[0].samples
    }
    return values["count"], values["sum"]


async def test_every_way_to_end_is_counted(tmp_path):
    metrics = Metrics()
    now = [0.0]
    engine = Engine(FakeBackend(MT3), MT3, max_waiting_audio_seconds=1e6)
    opener = RecordingOpener(
        engine, limits=ReadingLimits(), max_open_recordings=1, metrics=metrics, clock=lambda: now[0]
    )
    transcriber = Transcriber(engine, opener, MODEL)
    async with contextlib.aclosing(
        transcriber.stream(write(tmp_path, 8.0), TranscriptionOptions())
    ) as events:
        async for event in events:
            if isinstance(event, Started):
                now[0] += 1.5  # until the first notes
            if isinstance(event, Progress) and event.segments == 4:
                now[0] += 2.5
    (tmp_path / "none").write_bytes(b"no audio")
    with pytest.raises(AudioFormatError):
        await transcriber.transcribe(tmp_path / "none", TranscriptionOptions())
    await engine.close()
    assert outcomes(metrics) == {"finished": 1, "failed": 1, "canceled": 0}
    assert observed(metrics.first_note_seconds) == (1, 1.5)
    assert observed(metrics.transcription_seconds) == (1, 4.0)
    assert observed(metrics.real_time_factor) == (1, 2.0)
    assert sample(metrics, "mt3_open_recordings") == 0


async def test_a_refused_recording_is_none_that_failed(tmp_path):
    metrics = Metrics()
    backend = Held()
    async with transcribing(backend, bound=10.0, metrics=metrics) as transcriber:
        events = transcriber.stream(write(tmp_path, 9.0), TranscriptionOptions())
        await anext(events)
        with pytest.raises(OverloadedError):
            await transcriber.transcribe(write(tmp_path, 3.0, "b.wav"), TranscriptionOptions())
        backend.go.set()
        await events.aclose()
    assert outcomes(metrics) == {"finished": 0, "failed": 0, "canceled": 1}


def caller(**limits):
    return Caller(name="limited", scopes=ANONYMOUS.scopes, limits=CallerLimits(**limits))


async def test_the_next_end_is_worked_out_from_what_waits(tmp_path):
    backend = Held()
    limited = caller()
    async with transcribing(backend, max_open=3) as transcriber:
        assert transcriber.admissions.retry_after_next_end("limited") == 1
        async with contextlib.AsyncExitStack() as stack:
            for seconds, whose in ((60.0, limited), (30.0, limited), (20.0, ANONYMOUS)):
                events = transcriber.stream(
                    write(tmp_path, seconds, f"{seconds}.wav"), TranscriptionOptions(), whose
                )
                await anext(await stack.enter_async_context(contextlib.aclosing(events)))
            # The speed is 1 until it is measured: 20 s of one caller, as much of the other.
            assert transcriber.admissions.seconds_to_next_end() == 40
            # Both of the caller's get 30 s; the other caller has no more than 20 s.
            assert transcriber.admissions.retry_after_next_end("limited") == 2 * 30 + 20
            with pytest.raises(OverloadedError) as caught:
                transcriber.opener.require_capacity(ANONYMOUS)
            assert caught.value.retry_after_seconds == 40
            backend.go.set()


async def test_a_recording_longer_than_the_bound_is_not_transcribed_nor_counted(
    tmp_path,
):
    metrics = Metrics()
    path = write(tmp_path, 3.0)
    async with transcribing(metrics=metrics) as transcriber:
        assert (
            await transcriber.write(path, TranscriptionOptions(), write=to_record, max_seconds=2.9)
            is None
        )
        assert outcomes(metrics) == {"finished": 0, "failed": 0, "canceled": 0}
        written = await transcriber.write(
            path, TranscriptionOptions(), write=to_record, max_seconds=3.0
        )
        assert from_record(written.content).duration_seconds == 3.0
    assert outcomes(metrics) == {"finished": 1, "failed": 0, "canceled": 0}


async def test_those_not_opened_yet_count_as_usual_recordings(tmp_path):
    backend = Held()
    async with transcribing(backend, bound=100.0) as transcriber:
        events = transcriber.stream(write(tmp_path, 10.0), TranscriptionOptions())
        async with contextlib.aclosing(events):
            await anext(events)  # 10 s wait; the usual length is now 55 s: 60 s, and a tenth of 10
            async with transcriber.opener.opening_turn(ANONYMOUS):
                transcriber.opener.require_capacity(ANONYMOUS)  # 10 + 55 s
                async with transcriber.opener.opening_turn(ANONYMOUS):
                    with pytest.raises(OverloadedError):  # 10 + 2 * 55 s
                        transcriber.opener.require_capacity(ANONYMOUS)
                    with pytest.raises(OverloadedError):
                        async with transcriber.opener.opening_turn(ANONYMOUS):
                            pass
                transcriber.opener.require_capacity(ANONYMOUS)
            backend.go.set()


async def test_a_callers_longest_recording_is_its_own(tmp_path):
    path = write(tmp_path, 3.0)
    async with transcribing() as transcriber:
        with pytest.raises(AudioLimitError, match="2 s"):
            await transcriber.transcribe(
                path, TranscriptionOptions(), caller(max_audio_seconds=2.0)
            )
        await transcriber.transcribe(path, TranscriptionOptions(), caller(max_audio_seconds=1e9))
        await transcriber.transcribe(path, TranscriptionOptions())


async def test_a_callers_waiting_audio_is_bounded_and_the_others_is_not(tmp_path):
    backend = Held()
    limited = caller(max_waiting_audio_seconds=10.0)
    path = write(tmp_path, 9.0)
    async with transcribing(backend) as transcriber:
        events = transcriber.stream(path, TranscriptionOptions(), limited)
        await anext(events)
        with pytest.raises(QuotaError):
            await transcriber.transcribe(path, TranscriptionOptions(), limited)
        others = transcriber.stream(path, TranscriptionOptions())
        assert isinstance(await anext(others), Started)
        backend.go.set()
        await events.aclose()
        await others.aclose()
