# Generated from ../_async/client.py by `make sync-client`: do not edit.
"""`Client`: every call of the API as a method."""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import httpx2

from service.client._config import (
    DEFAULT_BASE_URL,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT_SECONDS,
    http_client_arguments,
)
from service.client._errors import (
    ConnectionFailedError,
    JobFailedError,
    MT3ClientError,
    ServerUnavailableError,
)
from service.client._job_models import Failure, Job, JobEvent, JobItem
from service.client._json import parse_document, parse_list
from service.client._models import (
    Event,
    Health,
    Instrument,
    Options,
    Readiness,
    ResponseFormat,
    ServedModel,
    Transcription,
    TranscriptionWarning,
)
from service.client._requests import (
    ITEMS_PER_PAGE,
    JOBS,
    JOBS_PER_PAGE,
    SILENCE_SECONDS,
    Request,
    get,
    job_path,
    new_idempotency_key,
    stream_request,
    submission_request,
    transcription_request,
)
from service.client._retries import retry_policy
from service.client._sync.jobs import delete_job, download_results, list_all
from service.client._sync.streams import JobWatch, follow_job, stream_transcription
from service.client._sync.transport import Transport
from service.client._uploads import Recording, Recordings, Upload
from service.client._warnings import report_warnings

_READY_POLL_SECONDS = 0.5
"""Wait between two readiness probes, if the server does not say how long."""


class Client:
    """Client of one server; its calls may run concurrently.

    Every call retries what may pass, and raises `MT3ClientError` if it fails, or `OSError` if a
    file cannot be read.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        *,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
        max_retries: int = DEFAULT_MAX_RETRIES,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Initialize a client; it connects at its first call.

        Args:
            base_url: address of the server, which may have a path.
            api_key: sent as ``Authorization: Bearer``; None: the environment's ``MT3_API_KEY``;
                empty: no key.
            timeout: seconds that a call may take, waits included (for a stream: without a new
                event); None: no limit. An upload that makes progress is not interrupted.
            max_retries: attempts after the first (for a stream: in a row without a new event).
            transport: httpx2's transport, for certificates, proxies and tests.

        Raises:
            ValueError: an argument is invalid.
        """
        policy = retry_policy(timeout, max_retries)
        self._http = httpx2.Client(**http_client_arguments(base_url, api_key), transport=transport)
        self._transport = Transport(self._http, policy)

    def transcribe(self, file: Recording, **options: Unpack[Options]) -> Transcription:
        """Transcribe a recording.

        Args:
            file: a path, bytes, or a binary file open for reading. It is read in chunks; a file
                that cannot be rewound is sent only once.
            **options: see `Options`.
        """
        content = self.transcribe_to(file, "json", **options)
        return parse_document(Transcription, content)

    def transcribe_to(
        self,
        file: Recording,
        response_format: ResponseFormat,
        *,
        on_warning: Callable[[TranscriptionWarning], object] | None = None,
        **options: Unpack[Options],
    ) -> bytes:
        """Transcribe a recording to the bytes of a file: MIDI, a picture, a NoteSequence...

        If the server makes the recording a job, because it is long, the job is awaited.

        Args:
            file: as in `transcribe`.
            response_format: the format of the result.
            on_warning: called with each warning of the transcription, which most formats do not
                hold.
            **options: see `Options`.

        Raises:
            JobFailedError: the recording became a job that has no result.
        """
        response = self._transport.send(
            transcription_request(Upload(file), options, response_format)
        )
        if response.status_code != HTTPStatus.ACCEPTED:
            report_warnings(response.headers, on_warning)
            return response.content
        submitted = parse_document(Job, response.content, what="the job")
        job = self.wait(submitted.id, timeout=self._transport.policy.budget_seconds)
        item = self.item(job.id, 0)
        if item.status != "succeeded":
            failure = item.error or Failure(code=item.status, message=f"{job.id} has no result")
            raise JobFailedError(failure.message, code=failure.code, job_id=job.id)
        return self.result_to(job.id, item.number, response_format, on_warning=on_warning)

    def stream(self, file: Recording, **options: Unpack[Options]) -> Generator[Event]:
        """Transcribe a recording, and yield its notes and progress as the server finds them.

        A dropped connection is resumed; each event is given exactly once, and the last one is
        `Completed`. Closing the generator (`contextlib.closing`) closes the connection at once.

        Args:
            file: as in `transcribe`.
            **options: see `Options`.
        """
        return stream_transcription(self._transport, stream_request(Upload(file), options))

    def submit(
        self,
        files: Recordings | None = None,
        *,
        urls: Sequence[str] = (),
        objects: Sequence[str] = (),
        response_format: ResponseFormat | None = None,
        metadata: Mapping[str, Any] | None = None,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        expires_in: float | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Submit recordings as one job, and return it at once.

        If a response is lost, the submission is repeated under the same key, and never executed
        twice.

        Args:
            files: one recording, several, or a mapping from names to recordings. They are sent as a
                stream: one file is open at a time.
            urls: instead of files, URLs that the server downloads.
            objects: instead of files, objects that the server may read, as ``s3://bucket/key``.
            response_format: format of results that are requested without naming one.
            metadata: any JSON; the job returns it.
            webhook_url: URL that the server calls when the job has ended (`verify_webhook`).
            webhook_secret: secret that signs the webhook; None: the server's own.
            expires_in: seconds from now until the job and all its data are deleted.
            idempotency_key: name of this submission: the same key and recordings return the same
                job again. None: a random one.
            **options: see `Options`; they apply to every recording.

        Raises:
            ValueError: there are no recordings, or both files and addresses.
        """
        request = submission_request(
            files, urls=urls, objects=objects, options=options, response_format=response_format,
            metadata=metadata, webhook_url=webhook_url, webhook_secret=webhook_secret,
            expires_in=expires_in, idempotency_key=idempotency_key or new_idempotency_key(),
        )  # fmt: skip
        return self._job(request)

    def job(self, job_id: str) -> Job:
        """Return a job as it is now."""
        return self._job(get(job_path(job_id)))

    def jobs(self, *, status: str | None = None, limit: int | None = None) -> Generator[Job]:
        """Yield the caller's jobs, latest first.

        Args:
            status: only jobs with this status: ``queued``, ``processing``, ``succeeded``,
                ``failed`` or ``canceled``.
            limit: largest number of jobs; None: all.
        """
        return list_all(
            self._transport, Job, JOBS, status=status, limit=limit, page_size=JOBS_PER_PAGE
        )

    def items(self, job_id: str, *, status: str | None = None) -> Generator[JobItem]:
        """Yield the items of a job by number, all or those with this status."""
        path = f"{job_path(job_id)}/items"
        return list_all(self._transport, JobItem, path, status=status, page_size=ITEMS_PER_PAGE)

    def item(self, job_id: str, number: int) -> JobItem:
        """Return an item as it is now."""
        response = self._transport.send(get(f"{job_path(job_id)}/items/{number}"))
        return parse_document(JobItem, response.content, what="the item")

    def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        progress: Callable[[Job], object] | None = None,
    ) -> Job:
        """Wait until a job has ended, over dropped connections and restarts of the server.

        Args:
            job_id: the job.
            timeout: seconds; None: no limit. A server that cannot be reached is awaited for as long
                as any call may take.
            progress: called with the job at first and whenever it has changed.

        Returns:
            The job with its final status, whatever that is.

        Raises:
            WaitTimeoutError: the job has not ended in time; it continues.
        """
        job: Job | None = None
        with closing(JobWatch(self._transport, job_id, timeout).states()) as states:
            for job in states:
                if progress is not None:
                    progress(job)
        assert job is not None
        return job

    def events(self, job_id: str) -> Generator[JobEvent]:
        """Yield the events of a job until it has ended; a dropped connection is resumed."""
        return follow_job(self._transport, job_id)

    def result(self, job_id: str, number: int = 0) -> Transcription:
        """Return the transcription of an item."""
        content = self.result_to(job_id, number, "json")
        return parse_document(Transcription, content, what="the result")

    def result_to(
        self,
        job_id: str,
        number: int,
        response_format: ResponseFormat,
        *,
        on_warning: Callable[[TranscriptionWarning], object] | None = None,
    ) -> bytes:
        """Return an item's result as the bytes of a file: MIDI, a picture, a NoteSequence...

        Args:
            job_id: the job.
            number: the item's number in the job.
            response_format: the format of the result.
            on_warning: as in `transcribe_to`.
        """
        request = get(
            f"{job_path(job_id)}/items/{number}/result",
            response_format=response_format,
            read_timeout_seconds=SILENCE_SECONDS,
        )
        response = self._transport.send(request)
        report_warnings(response.headers, on_warning)
        return response.content

    def results_zip(
        self,
        job_id: str,
        path: str | os.PathLike[str],
        response_format: ResponseFormat | None = None,
    ) -> None:
        """Download all results of a job into a zip file, which is complete or does not exist.

        Args:
            job_id: the job.
            path: path of the zip file.
            response_format: format of the results; None: the one submitted, or JSON.

        Raises:
            OSError: the file cannot be written.
        """
        download_results(self._transport, job_id, Path(path), response_format)

    def cancel(self, job_id: str) -> Job:
        """Cancel the items that have not ended; finished results stay."""
        return self._job(Request(method="POST", path=f"{job_path(job_id)}/cancel"))

    def retry(self, job_id: str) -> Job:
        """Queue the failed items of a job again."""
        return self._job(Request(method="POST", path=f"{job_path(job_id)}/retry"))

    def delete(self, job_id: str) -> None:
        """Delete a job and all its data, running or not."""
        delete_job(self._transport, job_id)

    def models(self) -> tuple[ServedModel, ...]:
        """Return the models of the server."""
        response = self._transport.send(get("/v1/models"))
        return tuple(parse_list(ServedModel, response.content)[0])

    def instruments(self) -> tuple[Instrument, ...]:
        """Return the instruments that tracks can have; drums are not among them."""
        response = self._transport.send(get("/v1/instruments"))
        return tuple(parse_list(Instrument, response.content)[0])

    def health(self) -> Health:
        """Return whether the server is alive, without retries."""
        return parse_document(Health, (self._transport.send_once(get("/health"))).content)

    def ready(self) -> Readiness:
        """Return whether the server can transcribe now, without retries."""
        try:
            response = self._transport.send_once(get("/ready"))
        except ServerUnavailableError as error:
            if error.state is None:
                raise
            return Readiness(state=error.state)
        return parse_document(Readiness, response.content)

    def wait_until_ready(self, timeout: float = 300.0) -> None:
        """Wait until a server that is starting can transcribe.

        Args:
            timeout: seconds; a server that loads its model from a slow disk needs minutes.

        Raises:
            ConnectionFailedError: the server could not be reached in time.
            ServerUnavailableError: the server was not ready in time, or its model has failed.
        """
        clock = self._transport.policy.clock
        started = clock()
        while True:
            retry_after: float | None = None
            try:
                self._transport.send_once(get("/ready"))
            except ConnectionFailedError as error:
                failure: MT3ClientError = error
            except ServerUnavailableError as error:
                if error.state == "failed":
                    raise
                failure, retry_after = error, error.retry_after
            else:
                return
            left = timeout - (clock() - started)
            if left <= 0:
                raise failure
            pause = _READY_POLL_SECONDS if retry_after is None else retry_after
            self._transport.sleep(min(left, pause))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _job(self, request: Request) -> Job:
        response = self._transport.send(request)
        return parse_document(Job, response.content, what="the job")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
