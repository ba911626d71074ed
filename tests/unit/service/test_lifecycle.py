"""The service's state follows its device's health; the fake device has the capacity asked for."""

import asyncio
import contextlib
import time

import pytest

from mt3_model.notes.transcription import ModelProvenance
from mt3_model.spec import MT3
from service.assembly import suitable_open_recordings
from service.errors import NotReadyError
from service.lifecycle import Service
from service.model_loading import LoadedModel, load_model
from service.recordings.processes import suitable_recording_processes
from service.settings import Settings
from tests.unit.service.devices import DyingBackend, segments
from tests.waiting import until

PROVENANCE = ModelProvenance(
    name="mt3", checkpoint_sha256="c0ffee", code_version="0.1.0", precision="float32"
)


@contextlib.asynccontextmanager
async def ready(backend):
    loaded = LoadedModel(spec=MT3, provenance=PROVENANCE, backend=backend)
    service = Service(Settings(), load=lambda _: loaded)
    await service.start()
    await until(lambda: service.state.value == "ready")
    try:
        yield service
    finally:
        await service.stop()


async def kill(service, backend):
    """Make the device fail until it is unhealthy."""
    backend.is_broken = True
    with service.pipeline.engine.admit(audio_seconds=9.0, decoding="greedy") as admission:
        futures = service.pipeline.engine.submit(segments(*range(9)), admission)
        await asyncio.gather(*futures, return_exceptions=True)


@pytest.mark.slow
async def test_a_device_that_keeps_failing_makes_the_service_failed_until_it_works(caplog):
    backend = DyingBackend()
    async with ready(backend) as service:
        await kill(service, backend)
        assert service.state.value == "failed"
        with pytest.raises(NotReadyError, match="the device keeps failing") as caught:
            service.require_ready()
        assert (caught.value.state, caught.value.retry_after_seconds) == ("failed", 5)
        assert service.metrics.registry.get_sample_value("mt3_engine_healthy") == 0
        backend.is_broken = False
        await until(lambda: service.state.value == "ready")
        service.require_ready()
        assert service.metrics.registry.get_sample_value(
            "mt3_segments_total", {"outcome": "failed"}
        )


@pytest.mark.slow
async def test_health_never_ends_draining(caplog):
    backend = DyingBackend()
    async with ready(backend) as service:
        service.begin_draining()
        await kill(service, backend)
        assert service.state.value == "draining"
        backend.is_broken = False
        await until(lambda: service.pipeline.engine.is_healthy)
        assert service.state.value == "draining"


def test_the_fake_device_takes_the_time_that_the_settings_say():
    backend = load_model(Settings(backend="fake", fake_iteration_seconds=0.05)).backend
    began = time.monotonic()
    backend.step()
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize(("slots", "expected"), [(16, 32), (32, 32), (512, 256), (2_048, 1_024)])
def test_as_many_recordings_may_be_open_as_keep_the_device_busy(slots, expected):
    assert suitable_open_recordings(slots) == expected


@pytest.mark.parametrize(
    ("cores", "slots", "expected"),
    [(2, 32, 0), (4, 32, 1), (64, 32, 1), (16, 512, 15), (64, 512, 16)],
)
def test_the_recording_processes_follow_device_and_cores(cores, slots, expected):
    assert suitable_recording_processes(cores, slots) == expected
