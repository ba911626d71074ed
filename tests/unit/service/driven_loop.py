"""The device loop without its thread: a test runs each iteration, and its results are kept."""

import numpy as np

from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment
from service.engine.fake_backend import FakeBackend
from service.engine.loop import DeviceLoop
from service.engine.messages import SegmentWork
from service.engine.segment_tasks import SegmentTask


class Recording(FakeBackend):
    """Records every call."""

    def __init__(self, **shapes):
        super().__init__(MT3, **shapes)
        self.calls = []

    def insert(self, entries):
        self.calls.append(("insert", [(e.slot, e.segment.index) for e in entries]))
        super().insert(entries)

    def step(self):
        finished = super().step()
        self.calls.append(("step", [f.slot for f in finished]))
        return finished

    def release(self, slots):
        self.calls.append(("release", list(slots)))
        super().release(slots)


class Driven:
    """A loop and its reports."""

    def __init__(self, backend):
        self.backend = backend
        self.reports = []
        self.now = 0.0
        self.loop = DeviceLoop(backend, self.reports.append, spec=MT3, clock=lambda: self.now)

    def submit(self, recording_id, *indices):
        self.loop.submit(
            SegmentTask(recording_id=recording_id, index=i, payload=work(i)) for i in indices
        )

    def iterate(self, times=1):
        for _ in range(times):
            self.loop.run_iteration()

    @property
    def ends(self):
        return [
            (o.task.recording_id, o.task.index, o.end.value)
            for report in self.reports
            for o in report.outcomes
        ]

    @property
    def health(self):
        return [report.health for report in self.reports if report.health is not None]

    def take_calls(self):
        calls, self.backend.calls = self.backend.calls, []
        return calls


def work(index):
    segment = Segment(
        index=index,
        samples=np.zeros(MT3.segment_samples, np.float32),
        frames=MT3.segment_frames,
        start_time=0.0,
    )
    return SegmentWork(segment=segment, decoding="greedy")
