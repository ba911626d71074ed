"""The server about itself: health, readiness, models and instruments."""

from typing import Literal

from mt3_model.notes.transcription import Precision, PrecisionChoice
from service.schemas.schema import Midi7, Schema


class HealthResponse(Schema):
    """The process is alive."""

    status: Literal["ok"]


class ReadyResponse(Schema):
    """The model is loaded and warm."""

    state: Literal["ready"]
    precision: Precision | None
    """Of the network's products; null where the server has no model of its own."""
    precision_setting: PrecisionChoice | None
    """What the server was started with; auto: by its hardware."""


class ServedModel(Schema):
    """A model that can be asked for."""

    id: str
    object: Literal["model"]
    state: Literal["loading", "warming", "ready", "draining", "failed"]
    checkpoint_sha256: str | None
    """Digest of the parameters; null until they are loaded."""
    code_version: str | None
    precision: Precision | None
    """Of the network's products; null until the model is loaded."""
    precision_setting: PrecisionChoice | None
    """What the server was started with; auto: by its hardware."""
    segment_seconds: float
    """Length of the pieces that the model hears at once."""
    sample_rate: int
    """Hz; recordings are resampled to it."""


class ModelListResponse(Schema):
    """The models of this server."""

    object: Literal["list"]
    data: list[ServedModel]


class Instrument(Schema):
    """A program of General MIDI."""

    program: Midi7
    name: str
    family: str


class InstrumentListResponse(Schema):
    """The instruments that tracks can have; drums come beside them."""

    object: Literal["list"]
    data: list[Instrument]
