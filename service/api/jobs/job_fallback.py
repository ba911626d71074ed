"""Submit a recording as a job if it is not transcribed in its own request.

`POST /v1/transcriptions` does so when the client requests it, when the server has no model of its
own, and when the recording is longer than the deployment transcribes in one request.
"""

from fastapi import Request, Response

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from service.api.jobs.job_submitter import JobSubmitter, job_accepted
from service.api.transcription_request import TranscriptionRequest
from service.api.uploads.upload_receiver import Upload
from service.auth.caller import Caller, Scope
from service.errors import ScopeError
from service.lifecycle import Service


class JobFallback:
    """Turns one transcription request into a job.

    Attributes:
        is_preferred: The client requested a job (``Prefer: respond-async``).
    """

    def __init__(
        self,
        request: Request,
        caller: Caller,
        service: Service,
        submitter: JobSubmitter,
        *,
        prefer: str | None,
    ) -> None:
        """Reads the client's preference.

        Args:
            request: The transcription request.
            caller: The owner of the job.
            service: The server's objects.
            submitter: The server's job intake.
            prefer: The request's ``Prefer`` header.
        """
        self.is_preferred = prefers_async(prefer)
        self._request = request
        self._caller = caller
        self._service = service
        self._submitter = submitter

    def check(self, asked: TranscriptionRequest) -> None:
        """Refuse a request that cannot become a job.

        Raises:
            JobsDisabledError: The server accepts no jobs.
            ScopeError: The key lacks the scope ``jobs``.
            OptionError: The client requested a stream.
        """
        _ = self._service.jobs  # raises where jobs are disabled
        if Scope.JOBS not in self._caller.scopes:
            raise ScopeError(
                "this recording becomes a job, which needs a key with the scope"
                f" {Scope.JOBS.value!r}"
            )
        if asked.stream:
            raise OptionError(
                "stream",
                "stream=true is for recordings transcribed in their own request; this one becomes"
                " a job, whose events are at /v1/jobs/{id}/events: leave out stream",
            )

    async def submit(self, upload: Upload, asked: TranscriptionRequest) -> Response:
        """Submit the recording and answer 202 with the job."""
        self.check(asked)
        form = asked.response_format
        is_chosen = asked.is_format_named or form is not ExportFormat.JSON
        submitted = await self._submitter.submit_recording(
            self._request,
            self._caller,
            upload.path,
            name=upload.name,
            options=asked.options,
            response_format=form.value if is_chosen else None,
        )
        applied = {"Preference-Applied": "respond-async"} if self.is_preferred else {}
        return job_accepted(submitted.job, applied)


def prefers_async(prefer: str | None) -> bool:
    """Whether a ``Prefer`` header (RFC 7240) holds ``respond-async``."""
    preferences = (prefer or "").lower().split(",")
    return any(p.partition(";")[0].strip() == "respond-async" for p in preferences)
