"""Backends that wait for the test, fail or hang, and an engine on them."""

import asyncio
import contextlib
import dataclasses
import threading

import numpy as np

from mt3_model.spec import MT3
from mt3_model.spectrogram.segments import Segment
from service.engine.engine import Engine
from service.engine.fake_backend import FakeBackend

HANG_SECONDS = 2.0
"""Longer than a busy machine makes a thread wait: no call after the hang may count as one."""


class HeldBackend(FakeBackend):
    """Runs one iteration per permit; records what was inserted, and by which threads."""

    def __init__(self, *, slots=1):
        super().__init__(MT3, slots=slots, encode_batch=1)
        self.inserted = []
        self.threads = set()
        self._permits = threading.Semaphore(0)

    def let(self, iterations):
        self._permits.release(iterations)

    @property
    def is_held(self):
        """Return whether it has used all its permits."""
        return self._permits._value == 0

    def insert(self, entries):
        self.inserted += [entry.segment.index for entry in entries]
        super().insert(entries)

    def step(self):
        self.threads.add(threading.get_ident())
        assert self._permits.acquire(timeout=400)
        return super().step()


class PoisonedBackend(FakeBackend):
    """Raises in every iteration in which one of some segments is in a slot; silence is harmless."""

    def __init__(self, *poison, slots=4, encode_batch=4):
        super().__init__(MT3, slots=slots, encode_batch=encode_batch)
        self.poison = set(poison)
        self.iterations = []  # what was in the slots, iteration by iteration

    def step(self):
        live = sorted(live.index for live in self._live.values())
        self.iterations.append(live)
        if self.poison & set(live):
            raise RuntimeError("poison")
        return super().step()


class NumberlessBackend(FakeBackend):
    """Returns NaN log probabilities for some segments, the first ``times`` times."""

    def __init__(self, *bad, times=10**6, value=np.nan, slots=4):
        super().__init__(MT3, slots=slots, encode_batch=slots)
        self.bad = set(bad)
        self.times = times
        self.value = value

    def generate(self, index):
        generated = super().generate(index)
        if index not in self.bad or self.times == 0:
            return generated
        self.times -= 1
        log_probabilities = generated.log_probabilities.copy()
        log_probabilities[-1] = self.value
        return dataclasses.replace(generated, log_probabilities=log_probabilities)


class DyingBackend(FakeBackend):
    """Fails while `is_broken` is set."""

    def __init__(self, *, slots=4):
        super().__init__(MT3, slots=slots, encode_batch=slots)
        self.is_broken = False
        self.trials = 0

    def step(self):
        if self.is_broken:
            self.trials += 1
            raise RuntimeError("dead")
        return super().step()


class HangingBackend(FakeBackend):
    """Does not return from an iteration while the test makes it hang."""

    def __init__(self, *, slots=4):
        super().__init__(MT3, slots=slots, encode_batch=slots)
        self.hangs = threading.Event()
        self.is_in = threading.Event()
        self.gate = threading.Event()

    def step(self):
        if self.hangs.is_set():
            self.is_in.set()
            assert self.gate.wait(120)
        return super().step()


class WarmingBackend(FakeBackend):
    """Warms up until the test opens the gate."""

    def __init__(self):
        super().__init__(MT3)
        self.is_warming = threading.Event()
        self.gate = threading.Event()

    def warm_up(self):
        self.is_warming.set()
        assert self.gate.wait(120)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def segments(*indices):
    return [
        Segment(
            index=index,
            samples=np.zeros(MT3.segment_samples, np.float32),
            frames=125,  # one second
            start_time=0.0,
        )
        for index in indices
    ]


@contextlib.asynccontextmanager
async def running(backend=None, *, bound=100.0, **options):
    engine = Engine(backend or FakeBackend(MT3), MT3, max_waiting_audio_seconds=bound, **options)
    try:
        yield engine
    finally:
        await engine.close()


async def transcribe(engine, *indices, **admission_options):
    """Submit one recording at once; return its tokens in order."""
    with engine.admit(
        audio_seconds=float(len(indices)), decoding="greedy", **admission_options
    ) as admission:
        generated = await asyncio.gather(*engine.submit(segments(*indices), admission))
    return [g.tokens.tolist() for g in generated]


def alone(*indices):
    backend = FakeBackend(MT3)
    return [backend.generate(index).tokens.tolist() for index in indices]
