"""`Client`: the API for programs that wait; `AsyncClient` is its twin.

It performs the steps of `calls.py` and `streaming.py` one by one; what they are is said there.
"""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from service.client import calls, job_calls, job_following
from service.client.answers import Health, Instrument, Readiness, ServedModel, Transcription
from service.client.bodies import Recordings
from service.client.connection import (
    DEFAULT_BASE_URL,
    DEFAULT_MAX_RETRIES,
    DEFAULT_TIMEOUT_SECONDS,
    client_arguments,
    make_policy,
    new_idempotency_key,
)
from service.client.events import Event
from service.client.jobs import Job, JobEvent, JobItem
from service.client.options import Options, ResponseFormat
from service.client.performing import perform, perform_giving
from service.client.streaming import stream
from service.client.uploads import Recording, Upload


class Client:
    """Talks to a server; may be used by several threads at once.

    Every call raises `MT3ClientError` where it cannot be done, `OSError` where a file cannot be
    read, and has tried again what another attempt may mend.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        *,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
        max_retries: int = DEFAULT_MAX_RETRIES,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Makes a client; it connects with its first call.

        Args:
            base_url: Of the server.
            api_key: Sent as ``Authorization: Bearer``; absent: ``MT3_API_KEY`` of the environment;
                empty: none.
            timeout: Seconds that a call may take, its waits included (of a stream: without a new
                event); None: for ever. What is being sent is not cut off.
            max_retries: Attempts after the first (of a stream: in a row without a new event).
            transport: httpx's, for certificates, proxies and tests of one's own.

        Raises:
            ValueError: An argument is none that it can be.
        """
        self._policy = make_policy(timeout, max_retries)
        self._http = httpx.Client(**client_arguments(base_url, api_key), transport=transport)

    def transcribe(self, file: Recording, **options: Unpack[Options]) -> Transcription:
        """Transcribes a recording.

        Args:
            file: A path, bytes, or a binary file open for reading. It is never read whole; one
                that cannot go back to where it stood is sent once only.
            **options: See `Options`.
        """
        key = new_idempotency_key()
        steps = calls.transcribe(self._policy, Upload(file), options, idempotency_key=key)
        return perform(self._http, steps)

    def transcribe_to(
        self, file: Recording, response_format: ResponseFormat, **options: Unpack[Options]
    ) -> bytes:
        """Transcribes a recording to a file: MIDI, a picture, a NoteSequence...

        Args:
            file: As of `transcribe`.
            response_format: The form.
            **options: See `Options`.
        """
        steps = calls.transcribe_to(
            self._policy, Upload(file), response_format, options,
            idempotency_key=new_idempotency_key(),
        )  # fmt: skip
        return perform(self._http, steps)

    def stream(self, file: Recording, **options: Unpack[Options]) -> Generator[Event, None, None]:
        """Transcribes a recording and gives its notes as they are found.

        A connection that drops is resumed; each event is given once. The last is `Completed`.
        Closing the generator (`contextlib.closing`) lets go of the connection at once.

        Args:
            file: As of `transcribe`.
            **options: See `Options`.
        """
        return perform_giving(self._http, stream(self._policy, Upload(file), options))

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
        """Submits recordings as one job, which the server does while nobody waits.

        A submission whose answer is lost is made again under the same key: never twice.

        Args:
            files: One recording, several, or several by the names they shall have. The request is
                streamed: one file is open at a time, and memory holds a piece of it.
            urls: In place of files, addresses that the server fetches.
            objects: Likewise, objects of stores that the server may read: ``s3://bucket/key``.
            response_format: Of results that are asked for without naming a form.
            metadata: The caller's own, any JSON, echoed by the job.
            webhook_url: Told when the job has ended (`verify_webhook`).
            webhook_secret: Signs what is told; absent: the deployment's.
            expires_in: Seconds from now after which everything of it is deleted.
            idempotency_key: Names this submission; the same key and recordings give the same job
                again. Absent: one of its own.
            **options: See `Options`; they hold for every recording.

        Raises:
            ValueError: No recordings, or files beside addresses.
        """
        steps = job_calls.submit(
            self._policy, files, urls=urls, objects=objects, options=options,
            response_format=response_format, metadata=metadata,
            webhook_url=webhook_url, webhook_secret=webhook_secret, expires_in=expires_in,
            idempotency_key=idempotency_key or new_idempotency_key(),
        )  # fmt: skip
        return perform(self._http, steps)

    def job(self, job_id: str) -> Job:
        """Says how a job is now."""
        return perform(self._http, job_calls.get_job(self._policy, job_id))

    def jobs(
        self, *, status: str | None = None, limit: int | None = None
    ) -> Generator[Job, None, None]:
        """Gives the caller's jobs, latest first, asking for page after page.

        Args:
            status: Only those: ``queued``, ``processing``, ``succeeded``, ``failed``, ``canceled``.
            limit: At most so many; None: all.
        """
        return perform_giving(self._http, job_calls.list_jobs(self._policy, status, limit))

    def items(self, job_id: str, *, status: str | None = None) -> Generator[JobItem, None, None]:
        """Gives a job's items by number, asking for page after page."""
        return perform_giving(self._http, job_calls.list_items(self._policy, job_id, status))

    def item(self, job_id: str, number: int) -> JobItem:
        """Says how an item is now."""
        return perform(self._http, job_calls.get_item(self._policy, job_id, number))

    def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        progress: Callable[[Job], object] | None = None,
    ) -> Job:
        """Waits for a job's end, over dropped connections and restarts of the server.

        Args:
            job_id: The job.
            timeout: Seconds; None: as long as it takes. A server that cannot be reached at all is
                waited for as long as any call may take.
            progress: Called with the job at first and whenever it has changed.

        Raises:
            WaitTimeoutError: It has not ended in that time; it goes on.
        """
        steps = job_following.wait(self._policy, job_id, timeout)
        return perform(self._http, steps, progress)

    def events(self, job_id: str) -> Generator[JobEvent, None, None]:
        """Gives what happens to a job until it has ended; a connection that drops is resumed."""
        return perform_giving(self._http, job_following.follow(self._policy, job_id))

    def result(self, job_id: str, number: int = 0) -> Transcription:
        """Fetches an item's transcription."""
        return perform(self._http, job_calls.get_result(self._policy, job_id, number))

    def result_to(self, job_id: str, number: int, response_format: ResponseFormat) -> bytes:
        """Fetches an item's result as a file: MIDI, a picture, a NoteSequence..."""
        steps = job_calls.get_result_as(self._policy, job_id, number, response_format)
        return perform(self._http, steps)

    def results_zip(
        self,
        job_id: str,
        path: str | os.PathLike[str],
        response_format: ResponseFormat | None = None,
    ) -> None:
        """Writes all results of a job to a zip file, as they arrive.

        Args:
            job_id: The job.
            path: Of the zip.
            response_format: Of the results; None: the one submitted, or JSON.

        Raises:
            OSError: It cannot be written.
        """
        steps = job_calls.download_results(self._policy, job_id, Path(path), response_format)
        perform(self._http, steps)

    def cancel(self, job_id: str) -> Job:
        """Gives up what is not finished; results that are there stay."""
        return perform(self._http, job_calls.cancel(self._policy, job_id))

    def retry(self, job_id: str) -> Job:
        """Puts the failed items back into the queue."""
        return perform(self._http, job_calls.retry(self._policy, job_id))

    def delete(self, job_id: str) -> None:
        """Removes a job and every trace of it, running or not."""
        perform(self._http, job_calls.delete(self._policy, job_id))

    def models(self) -> tuple[ServedModel, ...]:
        """Lists the models of the server."""
        return perform(self._http, calls.list_models(self._policy))

    def instruments(self) -> tuple[Instrument, ...]:
        """Lists the instruments that tracks can have; drums come beside them."""
        return perform(self._http, calls.list_instruments(self._policy))

    def health(self) -> Health:
        """Asks, once, whether the server lives."""
        return perform(self._http, calls.get_health(self._policy))

    def ready(self) -> Readiness:
        """Asks, once, whether the server can transcribe now, and what it does if not."""
        return perform(self._http, calls.get_readiness(self._policy))

    def wait_until_ready(self, timeout: float = 300.0) -> None:
        """Waits for a server that starts.

        Args:
            timeout: Seconds; a server that loads from a slow disk needs minutes.

        Raises:
            ConnectionFailedError: It could not be reached in that time.
            ServerUnavailableError: It was not ready in that time, or its model has failed.
        """
        perform(self._http, calls.wait_until_ready(self._policy, timeout))

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
