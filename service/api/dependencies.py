"""What routes ask for, as `Annotated` aliases."""

from typing import Annotated

from fastapi import Depends, Request

from service.api.uploads import UploadLimits
from service.assembly import Service


def _service(request: Request) -> Service:
    return request.app.state.service


def _upload_limits(request: Request) -> UploadLimits:
    return request.app.state.upload_limits


ServiceDependency = Annotated[Service, Depends(_service)]
"""The server's objects."""
UploadLimitsDependency = Annotated[UploadLimits, Depends(_upload_limits)]
"""What may be uploaded."""
