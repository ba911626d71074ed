"""Accept a job, in any of three forms of request: enqueue it, or leave no trace of it.

    a form with files      each file goes to the storage as it arrives; then the job is enqueued
    JSON with references   the references are checked and enqueued; workers fetch the recordings
    one recording          sent to `POST /v1/transcriptions` and transcribed as a job instead

Uploads are stored under the id of a job that does not exist yet. They are removed if the request is
refused; if the process dies, the sweep finds that they belong to no job.

The path of a job: `routes/jobs.py` -> `JobSubmitter.submit` -> `job_requests.py` reads the terms
and `job_uploads.py` the files -> `JobQueue.submit` writes it to the database.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from python_multipart.multipart import parse_options_header

from mt3_model.notes.transcription import TranscriptionOptions, check_precision
from service.api.jobs.job_requests import (
    FORM_FIELDS,
    JobLimits,
    JobTerms,
    items_of_body,
    parse_body,
    parse_form,
    parse_idempotency_key,
    terms_of_body,
)
from service.api.jobs.job_uploads import receive_files
from service.api.uploads.upload_receiver import MULTIPART, UploadReceiver
from service.auth.caller import Caller
from service.errors import (
    StorageError,
    UnsupportedMediaTypeError,
)
from service.jobs.documents import describe_job, job_path
from service.jobs.job import ItemSource, Job, NewItem, NewJob, input_key, job_prefix, new_job_id
from service.jobs.job_pages import Submission
from service.lifecycle import Service

JSON_TYPE = "application/json"
MAX_JSON_BYTES = 32 * 2**20
"""Enough for ten thousand inputs with the longest URLs and their names."""
_WEBHOOK_FIELDS = ("webhook_url", "webhook_secret")
_WEBHOOK_MEMBERS = ("webhook.url", "webhook.secret")
IDEMPOTENCY_HEADER = "Idempotency-Key"


class JobSubmitter:
    """Accepts jobs. Use it from one event loop."""

    def __init__(self, service: Service, uploads: UploadReceiver, limits: JobLimits) -> None:
        """Prepare the submitter.

        Args:
            service: the server's engine, jobs and model.
            uploads: the server's receiver of recordings.
            limits: the deployment's limits of a job.
        """
        self._service = service
        self._uploads = uploads
        self._limits = limits

    async def submit(self, request: Request, caller: Caller) -> Submission:
        """Accept the body of `POST /v1/jobs`.

        Raises:
            ServiceError: the job cannot be accepted, and no trace of it is left.
            OptionError: a part of the request is wrong; ``param`` names it.
        """
        given = request.headers.get("content-type")
        media_type = parse_options_header(given)[0].decode("latin-1")
        if media_type == MULTIPART:
            return await self._submit_form(request, caller)
        if media_type == JSON_TYPE:
            return await self._submit_json(request, caller)
        raise UnsupportedMediaTypeError(
            f"Content-Type is {media_type!r}; expected {MULTIPART} with parts named 'file' (with"
            f" curl, -F file=@song.mp3), or {JSON_TYPE} with inputs (-H 'Content-Type:"
            f" {JSON_TYPE}' -d '{{...}}')"
        )

    async def submit_recording(
        self,
        request: Request,
        caller: Caller,
        path: Path,
        *,
        name: str | None,
        options: TranscriptionOptions,
        response_format: str | None,
    ) -> Submission:
        """Accept one recording that is on this disk; the file stays there.

        Args:
            request: the request, whose headers may hold an idempotency key.
            caller: the owner of the job.
            path: the recording.
            name: the client's name of the recording.
            options: the options of the transcription.
            response_format: the format of the result, if the client named one.

        Raises:
            ServiceError: the job cannot be accepted, and no trace of it is left.
        """
        key = parse_idempotency_key(request.headers.get(IDEMPOTENCY_HEADER))
        terms = JobTerms(options=options, response_format=response_format)
        async with self._uploads_of_new_job() as job_id:
            sha256 = await asyncio.to_thread(_sha256, path)
            await self._service.jobs.objects.put(input_key(job_id, 0), path)
        inputs = [[name, sha256]]
        source = ItemSource(kind="upload", reference=input_key(job_id, 0))
        items = (NewItem(source=source, name=name),)
        return await self._enqueue(job_id, caller, key, terms=terms, items=items, inputs=inputs)

    async def _submit_form(self, request: Request, caller: Caller) -> Submission:
        key = parse_idempotency_key(request.headers.get(IDEMPOTENCY_HEADER))
        query = list(request.query_params.multi_items())
        self._read_form(query)  # refuses what is wrong in the query before the body is read
        objects = self._service.jobs.objects
        async with self._uploads_of_new_job() as job_id:

            async def store(number: int, path: Path) -> None:
                await objects.put(input_key(job_id, number), path)

            form = await receive_files(
                self._uploads, request, caller, store, field_names=FORM_FIELDS,
                max_files=self._limits.max_items, max_bytes=self._limits.max_upload_bytes,
            )  # fmt: skip
            terms = self._read_form([*query, *form.fields])
        items = tuple(
            NewItem(
                source=ItemSource(kind="upload", reference=input_key(job_id, number)),
                name=file.name,
            )
            for number, file in enumerate(form.files)
        )
        inputs = [[file.name, file.sha256] for file in form.files]
        return await self._enqueue(job_id, caller, key, terms=terms, items=items, inputs=inputs)

    async def _submit_json(self, request: Request, caller: Caller) -> Submission:
        key = parse_idempotency_key(request.headers.get(IDEMPOTENCY_HEADER))
        query = list(request.query_params.multi_items())
        body = await self._uploads.receive_document(
            request, caller, max_bytes=MAX_JSON_BYTES, expected="a JSON object with inputs"
        )
        parsed = await asyncio.to_thread(parse_body, body, limits=self._limits)
        jobs, spec = self._service.jobs, self._service.spec
        terms = terms_of_body(parsed, query, served_model=spec.name, limits=self._limits)
        self._check_terms(terms, is_form=False)
        items = await asyncio.to_thread(
            items_of_body,
            parsed.inputs,
            check_url=jobs.fetchers.url.check,
            check_object=jobs.fetchers.object.check,
        )
        inputs = [[item.source.kind, item.source.reference, item.name] for item in items]
        job_id = new_job_id()
        return await self._enqueue(job_id, caller, key, terms=terms, items=items, inputs=inputs)

    def _read_form(self, pairs: list[tuple[str, str]]) -> JobTerms:
        terms = parse_form(pairs, served_model=self._service.spec.name, limits=self._limits)
        self._check_terms(terms, is_form=True)
        return terms

    def _check_terms(self, terms: JobTerms, *, is_form: bool) -> None:
        """Refuse now what the workers or the webhook sender would refuse later."""
        if self._service.model is not None:
            check_precision(terms.options, self._service.model)
        if terms.webhook is not None:
            url, secret = _WEBHOOK_FIELDS if is_form else _WEBHOOK_MEMBERS
            self._service.jobs.webhooks.check(
                terms.webhook, url_parameter=url, secret_parameter=secret
            )

    @contextlib.asynccontextmanager
    async def _uploads_of_new_job(self) -> AsyncGenerator[str]:
        """Yield the id of a new job; delete its uploads if the block raises."""
        job_id = new_job_id()
        try:
            yield job_id
        except BaseException:
            with contextlib.suppress(StorageError):  # the sweep finds them later
                removing = self._service.jobs.objects.delete_prefix(job_prefix(job_id))
                await asyncio.shield(asyncio.ensure_future(removing))
            raise

    async def _enqueue(
        self,
        job_id: str,
        caller: Caller,
        key: str | None,
        *,
        terms: JobTerms,
        items: tuple[NewItem, ...],
        inputs: list[list[str | None]],
    ) -> Submission:
        """Enqueue the job.

        The uploads are not deleted after an error here: the queue may have committed the job.
        """
        return await self._service.jobs.queue.submit(
            NewJob(
                job_id=job_id,
                tenant=caller.name,
                items=items,
                options=terms.options,
                response_format=terms.response_format,
                metadata=terms.metadata,
                webhook=terms.webhook,
                idempotency_key=key,
                body_hash=None if key is None else terms.body_hash(inputs),
                retention_seconds=terms.retention_seconds,
            )
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def job_accepted(job: Job, headers: dict[str, str] | None = None) -> Response:
    """Return the answer to an accepted job: 202, with the job and its location."""
    return JSONResponse(
        describe_job(job).model_dump(mode="json"),
        status_code=202,
        headers={"Location": job_path(job.job_id), **(headers or {})},
    )
