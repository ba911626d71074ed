"""`GET /v1/soundfont`: the soundfont with which the page plays transcriptions."""

import asyncio

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from service.api.dependencies import SoundfontDependency, require_scope
from service.api.problems import PROBLEMS, problem_responses
from service.errors import AuthenticationError

router = APIRouter(prefix="/v1", tags=["models"], dependencies=[Depends(require_scope(None))])
MEDIA_TYPE = "audio/x-soundfont"
_A_WEEK = {"Cache-Control": "private, max-age=604800"}


@router.get(
    "/soundfont",
    summary="Get the soundfont",
    response_class=FileResponse,
    responses={
        200: {
            "description": "A General MIDI soundfont, as SF2 or SF3.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        },
        **problem_responses(PROBLEMS[AuthenticationError]),
    },
)
async def get_soundfont(soundfont: SoundfontDependency) -> FileResponse:
    """Return the soundfont of this server, to play a transcription as the page at `/` does.

    The first request may wait for a download, which is kept.
    """
    path = await asyncio.to_thread(soundfont.find)
    if path is None:
        raise HTTPException(404)
    return FileResponse(path, media_type=MEDIA_TYPE, filename=path.name, headers=_A_WEEK)
