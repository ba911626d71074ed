"""Descriptions of the server: health, readiness, models and instruments."""

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
    """Precision of the network's matrix products; null if the server has no model of its own."""
    precision_setting: PrecisionChoice | None
    """Precision set when the server was started; `auto` chooses by the hardware."""


class ServedModel(Schema):
    """A model that this server has."""

    id: str
    object: Literal["model"]
    state: Literal["loading", "warming", "ready", "draining", "failed"]
    checkpoint_sha256: str | None
    """Digest of the model's parameters; null until they are loaded."""
    code_version: str | None
    precision: Precision | None
    """Precision of the network's matrix products; null until the model is loaded."""
    precision_setting: PrecisionChoice | None
    """Precision set when the server was started; `auto` chooses by the hardware."""
    segment_seconds: float
    """Length of the segments that the model transcribes one at a time."""
    sample_rate: int
    """Sample rate in Hz to which recordings are resampled."""


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
    """The instruments that tracks can have, besides drums."""

    object: Literal["list"]
    data: list[Instrument]
