"""`/v1/models` and `/v1/instruments`: the served model, and the programs of General MIDI."""

from fastapi import APIRouter, Depends

from mt3_model.notes.general_midi import PROGRAM_NAMES, family_name
from service.api.dependencies import ServiceDependency, require_scope
from service.api.problems import PROBLEMS, problem_responses
from service.errors import AuthenticationError
from service.schemas.server_response import (
    Instrument,
    InstrumentListResponse,
    ModelListResponse,
    ServedModel,
)

router = APIRouter(
    prefix="/v1",
    tags=["models"],
    dependencies=[Depends(require_scope(None))],
    responses=problem_responses(PROBLEMS[AuthenticationError]),
)


@router.get("/models", summary="List the models")
async def list_models(service: ServiceDependency) -> ModelListResponse:
    """List the models of this server with their state."""
    spec, model = service.spec, service.model
    return ModelListResponse(
        object="list",
        data=[
            ServedModel(
                id=spec.name,
                object="model",
                state=service.state.value,
                checkpoint_sha256=None if model is None else model.checkpoint_sha256,
                code_version=None if model is None else model.code_version,
                precision=None if model is None else model.precision,
                precision_setting=None if model is None else model.precision_setting,
                segment_seconds=spec.segment_seconds,
                sample_rate=spec.spectrogram.sample_rate,
            )
        ],
    )


@router.get("/instruments", summary="List the instruments")
async def list_instruments() -> InstrumentListResponse:
    """List the General MIDI programs by number, with name and family."""
    return InstrumentListResponse(
        object="list",
        data=[
            Instrument(program=program, name=name, family=family_name(program))
            for program, name in enumerate(PROGRAM_NAMES)
        ],
    )
