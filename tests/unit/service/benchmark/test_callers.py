"""Percentiles, slot fill and first notes, with numbers worked by hand."""

import asyncio
import contextlib

import numpy as np
import pytest
import soundfile

from mt3_model.audio.recording import ReadingLimits
from mt3_model.errors import AudioFormatError
from mt3_model.notes.generated import SlotEntry
from mt3_model.notes.transcription import ModelProvenance, TranscriptionOptions
from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment
from service.benchmark.callers import CallersBench, Percentiles, percentiles
from service.benchmark.observing import ObservedBackend, ObservedEngine, SeenSegment, first_notes
from service.engine.fake_backend import FakeBackend
from service.errors import EngineError
from service.recording_opener import RecordingOpener
from service.transcriber import Transcriber

MODEL = ModelProvenance(name="mt3", checkpoint_sha256="0", code_version="0", precision="float32")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3.0], (3.0, 3.0, 3.0)),
        ([4.0, 1.0], (1.0, 4.0, 4.0)),
        # Of ten, the fifth and the ninth.
        ([float(v) for v in range(10, 0, -1)], (5.0, 9.0, 10.0)),
        # Of four, the second; 90 % of four is more than three.
        ([4.0, 3.0, 2.0, 1.0], (2.0, 4.0, 4.0)),
    ],
)
def test_percentiles_are_values_that_were_measured(values, expected):
    assert percentiles(values) == Percentiles(p50=expected[0], p90=expected[1], max=expected[2])


def segment(index):
    return Segment(
        index=index,
        samples=np.zeros(MT3.segment_samples, np.float32),
        frames=256,
        start_time=2.04 * index,
    )


def entry(slot, index):
    return SlotEntry(slot=slot, segment=segment(index), decoding="greedy")


class Clock:
    """Each iteration takes as many seconds as was set."""

    def __init__(self):
        self.now = 0.0
        self.iteration_seconds = 1.0

    def __call__(self):
        self.now += self.iteration_seconds / 2
        return self.now


def test_slot_fill_is_weighted_by_the_time_of_iterations():
    clock = Clock()
    backend = ObservedBackend(FakeBackend(MT3, slots=4), clock)
    backend.reset()
    backend.insert([entry(0, 0), entry(1, 1)])  # they take one iteration and two
    clock.iteration_seconds = 2.0
    assert len(backend.step()) == 1  # two of four slots for 1 s (half of 2: one call in, one out)
    clock.iteration_seconds = 6.0
    assert len(backend.step()) == 1  # one of four for 3 s
    assert backend.slot_fill == pytest.approx((1 * 0.5 + 3 * 0.25) / 4)


def test_released_slots_are_not_taken():
    clock = Clock()
    backend = ObservedBackend(FakeBackend(MT3, slots=2), clock)
    backend.reset()
    backend.insert([entry(0, 2), entry(1, 2)])
    backend.release([0])
    backend.step()
    assert backend.slot_fill == 0.5


def test_beginning_anew_forgets_what_was_seen():
    backend = ObservedBackend(FakeBackend(MT3, slots=2))
    backend.insert([entry(0, 0)])
    backend.step()
    backend.reset()
    assert backend.slot_fill == 0.0


def test_an_observed_backend_has_the_shapes_of_the_backend():
    backend = ObservedBackend(FakeBackend(MT3, slots=4, encode_batch=3))
    assert (backend.slots, backend.encode_batch) == (4, 3)
    assert backend.warm_up() is None


@contextlib.asynccontextmanager
async def bench(recordings, backend=None, *, max_open=8):
    observed = ObservedBackend(backend or FakeBackend(MT3, slots=4))
    engine = ObservedEngine(observed, MT3, max_waiting_audio_seconds=1e6)
    opener = RecordingOpener(engine, limits=ReadingLimits(), max_open_recordings=max_open)
    transcriber = Transcriber(engine, opener, MODEL)
    try:
        yield CallersBench(
            transcriber=transcriber,
            engine=engine,
            backend=observed,
            recordings=recordings,
            options=TranscriptionOptions(),
        )
    finally:
        await engine.close()


def write(folder, seconds, name="a.wav"):
    soundfile.write(folder / name, np.zeros(round(seconds * 16_000), np.float32), 16_000)
    return folder / name


async def test_callers_and_rounds_are_added_up(tmp_path):
    async with bench([write(tmp_path, 5.0)]) as measured:  # 2.44 segments: three of 10 tokens
        result = await measured.measure(3, 2)
    assert (result.callers, result.transcriptions) == (3, 6)
    assert result.audio_seconds == pytest.approx(30.0)
    assert (result.segments, result.tokens) == (18, 180)
    assert result.throughput == pytest.approx(30 / result.wall_seconds)
    assert result.tokens_per_second == pytest.approx(180 / result.wall_seconds)
    assert 0 < result.slot_fill <= 1
    assert result.resident_peak_bytes > 1 << 20


async def test_latencies_are_in_order_and_within_the_wall_time(tmp_path):
    async with bench([write(tmp_path, 9.0)]) as measured:
        result = await measured.measure(4, 1)
    first, last = result.first_notes_seconds, result.last_notes_seconds
    assert 0 < first.p50 <= first.p90 <= first.max
    assert first.p50 <= last.p50 <= last.p90 <= last.max <= result.wall_seconds
    assert first.max <= last.max


async def test_recordings_are_sent_in_turn(tmp_path):
    recordings = [write(tmp_path, 1.0, "a.wav"), write(tmp_path, 3.0, "b.wav")]
    async with bench(recordings) as measured:
        result = await measured.measure(3, 1)
    assert result.audio_seconds == pytest.approx(1 + 3 + 1)


def test_first_notes_wait_for_the_first_segment_and_no_further():
    seen = {
        0: [SeenSegment(segment=segment(i), finished=t, generated=None)
            for i, t in ((1, 5.0), (0, 7.0), (2, 9.0))],
        1: [SeenSegment(segment=segment(i), finished=t, generated=None)
            for i, t in ((0, 2.0), (1, 4.0), (2, 8.0))],
        2: [SeenSegment(segment=segment(0), finished=3.0, generated=None)],
    }  # fmt: skip
    assert first_notes(seen) == [7.0, 2.0, 3.0]


async def test_segments_are_seen_with_their_tokens_and_without_samples(tmp_path):
    reported = []
    async with bench([write(tmp_path, 5.0)]) as measured:
        await measured.measure(1, 1, on_segment=reported.append)
        (seen,) = measured.engine.seen.values()
    assert sorted(each.segment.index for each in seen) == [0, 1, 2]
    assert all(len(each.generated.tokens) == 10 for each in seen)
    assert all(each.segment.samples.size == 0 for each in seen)
    assert sum(reported) == pytest.approx(5.0, abs=0.01)  # whole frames of 8 ms


async def test_a_recording_that_cannot_be_read_ends_the_measurement(tmp_path):
    (tmp_path / "a.wav").write_text("no music")
    async with bench([tmp_path / "a.wav"]) as measured:
        with pytest.raises(AudioFormatError):
            await measured.measure(1, 1)


class Broken(FakeBackend):
    """A device that fails."""

    def step(self):
        raise RuntimeError("device lost")


async def test_a_device_that_fails_ends_the_measurement(tmp_path):
    async with bench([write(tmp_path, 1.0)], Broken(MT3)) as measured:
        with pytest.raises(EngineError):
            await measured.measure(2, 1)
        await asyncio.sleep(0)
