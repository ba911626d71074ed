"""`AsyncClient`: the API for programs on asyncio; `Client` is its twin and says what the calls do.

It performs the steps of `calls.py` and `streaming.py` one by one; what they are is said there.
"""

import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from service.client import calls, job_calls, job_following
from service.client.answers import Health, Instrument, Readiness, ServedModel, Transcription
from service.client.async_performing import perform, perform_giving
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
from service.client.streaming import stream
from service.client.uploads import Recording, Upload


class AsyncClient:
    """Talks to a server; any number of calls may run at once. Errors are those of `Client`."""

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        *,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
        max_retries: int = DEFAULT_MAX_RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Makes a client; the arguments and errors are those of `Client`."""
        self._policy = make_policy(timeout, max_retries)
        self._http = httpx.AsyncClient(**client_arguments(base_url, api_key), transport=transport)

    async def transcribe(self, file: Recording, **options: Unpack[Options]) -> Transcription:
        """Transcribes a recording; files are read in a thread."""
        key = new_idempotency_key()
        steps = calls.transcribe(self._policy, Upload(file), options, idempotency_key=key)
        return await perform(self._http, steps)

    async def transcribe_to(
        self, file: Recording, response_format: ResponseFormat, **options: Unpack[Options]
    ) -> bytes:
        """Transcribes a recording to a file: MIDI, a picture, a NoteSequence..."""
        steps = calls.transcribe_to(
            self._policy, Upload(file), response_format, options,
            idempotency_key=new_idempotency_key(),
        )  # fmt: skip
        return await perform(self._http, steps)

    def stream(self, file: Recording, **options: Unpack[Options]) -> AsyncGenerator[Event, None]:
        """Transcribes a recording and gives its notes as they are found.

        As `Client.stream`; use `contextlib.aclosing` where the loop may be left early.
        """
        return perform_giving(self._http, stream(self._policy, Upload(file), options))

    async def submit(
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
        """Submits recordings as one job, which the server does while nobody waits."""
        steps = job_calls.submit(
            self._policy, files, urls=urls, objects=objects, options=options,
            response_format=response_format, metadata=metadata,
            webhook_url=webhook_url, webhook_secret=webhook_secret, expires_in=expires_in,
            idempotency_key=idempotency_key or new_idempotency_key(),
        )  # fmt: skip
        return await perform(self._http, steps)

    async def job(self, job_id: str) -> Job:
        """Says how a job is now."""
        return await perform(self._http, job_calls.get_job(self._policy, job_id))

    def jobs(
        self, *, status: str | None = None, limit: int | None = None
    ) -> AsyncGenerator[Job, None]:
        """Gives the caller's jobs, latest first, asking for page after page."""
        return perform_giving(self._http, job_calls.list_jobs(self._policy, status, limit))

    def items(self, job_id: str, *, status: str | None = None) -> AsyncGenerator[JobItem, None]:
        """Gives a job's items by number, asking for page after page."""
        return perform_giving(self._http, job_calls.list_items(self._policy, job_id, status))

    async def item(self, job_id: str, number: int) -> JobItem:
        """Says how an item is now."""
        return await perform(self._http, job_calls.get_item(self._policy, job_id, number))

    async def wait(
        self,
        job_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        progress: Callable[[Job], object] | None = None,
    ) -> Job:
        """Waits for a job's end, over dropped connections and restarts of the server."""
        steps = job_following.wait(self._policy, job_id, timeout)
        return await perform(self._http, steps, progress)

    def events(self, job_id: str) -> AsyncGenerator[JobEvent, None]:
        """Gives what happens to a job until it has ended; a connection that drops is resumed."""
        return perform_giving(self._http, job_following.follow(self._policy, job_id))

    async def result(self, job_id: str, number: int = 0) -> Transcription:
        """Fetches an item's transcription."""
        return await perform(self._http, job_calls.get_result(self._policy, job_id, number))

    async def result_to(self, job_id: str, number: int, response_format: ResponseFormat) -> bytes:
        """Fetches an item's result as a file: MIDI, a picture, a NoteSequence..."""
        steps = job_calls.get_result_as(self._policy, job_id, number, response_format)
        return await perform(self._http, steps)

    async def results_zip(
        self,
        job_id: str,
        path: str | os.PathLike[str],
        response_format: ResponseFormat | None = None,
    ) -> None:
        """Writes all results of a job to a zip file, as they arrive."""
        steps = job_calls.download_results(self._policy, job_id, Path(path), response_format)
        await perform(self._http, steps)

    async def cancel(self, job_id: str) -> Job:
        """Gives up what is not finished; results that are there stay."""
        return await perform(self._http, job_calls.cancel(self._policy, job_id))

    async def retry(self, job_id: str) -> Job:
        """Puts the failed items back into the queue."""
        return await perform(self._http, job_calls.retry(self._policy, job_id))

    async def delete(self, job_id: str) -> None:
        """Removes a job and every trace of it, running or not."""
        await perform(self._http, job_calls.delete(self._policy, job_id))

    async def models(self) -> tuple[ServedModel, ...]:
        """Lists the models of the server."""
        return await perform(self._http, calls.list_models(self._policy))

    async def instruments(self) -> tuple[Instrument, ...]:
        """Lists the instruments that tracks can have; drums come beside them."""
        return await perform(self._http, calls.list_instruments(self._policy))

    async def health(self) -> Health:
        """Asks, once, whether the server lives."""
        return await perform(self._http, calls.get_health(self._policy))

    async def ready(self) -> Readiness:
        """Asks, once, whether the server can transcribe now, and what it does if not."""
        return await perform(self._http, calls.get_readiness(self._policy))

    async def wait_until_ready(self, timeout: float = 300.0) -> None:  # noqa: ASYNC109
        """Waits, so many seconds at most, for a server that starts; see `Client`."""
        await perform(self._http, calls.wait_until_ready(self._policy, timeout))

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
