"""Download the URL of a recording that a caller names, within limits of size, time and rate.

    text checked -> connected to a checked address -> answer 200 -> bytes to the file, counted
                    ^ a redirect begins here again, at most five times

`UrlFetcher.fetch` is a `Fetch` of `service/item_processing.py`. `guarded_transport.py` checks the
addresses.

    input_refused      stays so: the URL, the host, or what it answered (401, 403, an encoded body)
    input_not_found    404, 410
    input_too_large    more than the limit, as said by its head or counted
    input_unreachable  may pass: no connection, too slow, 408, 425, 429, 5xx, cut off in the middle

Messages go to the owner of the job. They do not contain addresses, other hosts on the way, or the
URL itself, whose query may be a signature.
"""

import asyncio
import contextlib
import dataclasses
import ssl
from pathlib import Path

import httpx2

from service.errors import ItemError
from service.fetching import guarded_transport as transport
from service.fetching.addresses import UrlRefusedError, check_url, read_url
from service.fetching.minimum_rate import least_rate

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_PASSING = frozenset({408, 425, 429})
_OK = 200
_SERVERS_FAULT = 500
_PIECE_BYTES = 1 << 18


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FetchLimits:
    """Limits on the download of one recording."""

    max_bytes: int
    """Largest recording: `max_upload_bytes` of the settings."""
    connect_seconds: float = 10.0
    """Time for DNS, connection and TLS of each address."""
    idle_seconds: float = 30.0
    """Time without a byte after which the fetch ends."""
    head_seconds: float = 30.0
    """Time from the first connection to the head of the response, redirects included."""
    total_seconds: float = 600.0
    """Time for the whole fetch, redirects included: a gibibyte at 14 Mbit/s."""
    min_bytes_per_second: float = 16_000.0
    """Lowest mean rate of the body; 0 for no limit."""
    grace_seconds: float = 10.0
    """Time by which the body may be behind that rate."""
    most_redirects: int = 5


class UrlFetcher:
    """Fetches URLs: `fetch` is for ``ItemProcessor(fetchers={"url": fetcher.fetch})``.

    The route that accepts jobs calls `check`, to answer 422 at once.
    """

    def __init__(
        self,
        limits: FetchLimits,
        *,
        allow_private: bool = False,
        resolver: transport.Resolve = transport.resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare; nothing is opened until `fetch`, and nothing needs to be closed.

        Args:
            limits: limits on each recording.
            allow_private: whether to allow private networks, this machine, names of the local
                network, and every port.
            resolver: resolves host names.
            tls: TLS context; by default the system's certificate authorities.
        """
        self._limits = limits
        self._allow_private = allow_private
        self._resolver = resolver
        self._tls = transport.trusted(tls)

    def check(self, parameter: str, url: str) -> None:
        """Refuse a URL that `fetch` would refuse by its text alone; needs no network.

        Args:
            parameter: the field's name, for the error.
            url: the URL of the request.

        Raises:
            OptionError: It is refused; the message says why.
        """
        check_url(parameter, url, allow_private=self._allow_private)

    async def fetch(self, reference: str, path: Path) -> None:
        """Download a URL into a file.

        Args:
            reference: the URL.
            path: the file, which is overwritten; after an error it may be incomplete.

        Raises:
            ItemError: the URL cannot be fetched, or not now: see the module's docstring.
            OSError: the file cannot be written.
        """
        limits = self._limits
        timeout = httpx2.Timeout(limits.idle_seconds, connect=limits.connect_seconds)
        try:
            async with (
                asyncio.timeout(limits.total_seconds),
                transport.client(
                    allow_private=self._allow_private, timeout=timeout,
                    resolver=self._resolver, tls=self._tls,
                ) as http,
            ):  # fmt: skip
                await self._follow(http, reference, path)
        except UrlRefusedError as error:
            raise _refused(str(error)) from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise _unreachable("the URL's server is too slow") from error
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise _unreachable(
                "the URL's server cannot be reached, or broke off the transfer"
            ) from error

    async def _follow(self, http: httpx2.AsyncClient, reference: str, path: Path) -> None:
        url = read_url(reference, allow_private=self._allow_private)
        async with asyncio.timeout(self._limits.head_seconds) as waiting_for_head:
            for _ in range(1 + self._limits.most_redirects):
                async with transport.answer(http, http.build_request("GET", url)) as response:
                    if response.status_code not in _REDIRECTS:
                        waiting_for_head.reschedule(None)
                        self._check_head(response)
                        await self._write(response, path)
                        return
                    url = self._next(url, response)
        raise _refused(f"the URL redirects more than {self._limits.most_redirects} times")

    def _next(self, url: httpx2.URL, response: httpx2.Response) -> httpx2.URL:
        location = response.headers.get("Location")
        if location is None:
            raise _refused("the URL redirects to nowhere")
        try:
            joined = str(url.join(location))
        except (httpx2.InvalidURL, ValueError) as error:
            raise _refused("the URL redirects to an invalid URL") from error
        try:
            following = read_url(joined, allow_private=self._allow_private)
        except UrlRefusedError as error:
            # The other server's message is not for the caller: it may describe that server's
            # network.
            raise _refused(
                "the URL redirects to an address that this server does not open"
            ) from error
        if url.scheme == "https" and following.scheme != "https":
            raise _refused("the URL redirects from https to http")
        return following

    def _check_head(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status in _GONE:
            raise ItemError(f"the URL's server answered {status}", code="input_not_found")
        if status in _PASSING or status >= _SERVERS_FAULT:
            raise _unreachable(f"the URL's server answered {status}")
        if status != _OK:
            raise _refused(f"the URL's server answered {status}; expected 200 and the recording")
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            # Decompression could take unlimited time and space, and the file itself was requested.
            raise _refused("the URL's server sent the recording compressed for transport")
        with contextlib.suppress(ValueError):
            if int(response.headers.get("Content-Length", "0")) > self._limits.max_bytes:
                raise self._too_large()

    async def _write(self, response: httpx2.Response, path: Path) -> None:
        limits = self._limits
        count = 0
        pending = bytearray()
        with await asyncio.to_thread(path.open, "wb") as file:
            async with least_rate(limits.min_bytes_per_second, limits.grace_seconds) as rate:
                # As they arrive: waiting for pieces of one size would hide a slow server's bytes
                # from the rate.
                async for piece in response.aiter_raw():
                    rate.count(len(piece))
                    count += len(piece)
                    if count > limits.max_bytes:
                        raise self._too_large()
                    pending += piece
                    if len(pending) >= _PIECE_BYTES:
                        with rate.storing():
                            await asyncio.to_thread(file.write, bytes(pending))
                        pending.clear()
            await asyncio.to_thread(file.write, bytes(pending))

    def _too_large(self) -> ItemError:
        return ItemError(
            f"the recording is larger than {self._limits.max_bytes} bytes", code="input_too_large"
        )


def _refused(message: str) -> ItemError:
    return ItemError(message, code="input_refused")


def _unreachable(message: str) -> ItemError:
    return ItemError(message, code="input_unreachable", is_transient=True)
