"""A whole server for tests: the real application over the fake backend, with recordings to send."""

import contextlib
import io

import httpx2
import numpy as np
import soundfile

from mt3_model.notes.transcription import ModelProvenance
from mt3_model.spec import MT3
from service.api.app import create_app
from service.engine.fake_backend import FakeBackend
from service.model_loading import LoadedModel
from service.settings import Settings
from tests.waiting import until

MODEL = ModelProvenance(
    name="mt3", checkpoint_sha256="c0ffee", code_version="0.1.0", precision="float32"
)


def recording(seconds=0.5, *, sample_rate=16_000, container="WAV"):
    """Return a quiet tone as a file's bytes."""
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.sin(2 * np.pi * 440 * times), sample_rate, format=container)
    return buffer.getvalue()


def silence(seconds=0.5):
    """Return a recording without sound, which has the warning ``silent_audio``."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(round(seconds * 16_000)), 16_000, format="WAV")
    return buffer.getvalue()


def loader(backend=None):
    """Return a loader of the fake backend, or of the given one."""

    def load(settings):
        return LoadedModel(
            spec=MT3,
            provenance=MODEL,
            backend=backend or FakeBackend(MT3, slots=settings.slots or 16),
        )

    return load


@contextlib.asynccontextmanager
async def serving(tmp_path, *, load=None, wait=True, **settings):
    """Yield the application's client, once it is ready (``wait``); uploads are in ``tmp_path``.

    It keeps no jobs without ``jobs=True`` and a ``data_dir``.
    """
    settings = {"jobs": False} | settings
    app = create_app(Settings(upload_dir=tmp_path, **settings), load=load or loader())
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        client.service = app.state.service
        if wait:
            await until(lambda: client.service.state.value == "ready")
        yield client
