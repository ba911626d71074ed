"""HTTP to URLs of callers, connected to checked addresses only.

    the host's name -> every address it resolves to -> all of them public, or nothing is opened
                    -> connected to one of exactly these; TLS and Host still say the name

The name is resolved, checked and connected in the one call that opens a connection (a network
backend of httpcore2). So the DNS cannot give another answer between check and use (rebinding), and
neither a redirect nor a reused connection avoids the check.

Nothing comes from the environment: no proxy (it would resolve names itself), no ``.netrc``, no
other certificates. Bodies are requested without compression and never decompressed.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Sequence,
)
from typing import TypeAlias, cast

import httpcore2
import httpx2

from service.fetching.addresses import UrlRefusedError, is_refused, read_address

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a name and a port to addresses, as text. Raises `socket.gaierror`."""
_SocketOption: TypeAlias = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)
NOT_PUBLIC = "the URL's host is unknown or not public"
"""The same message for both, so that callers cannot find out which names an inner network has."""
_UNKNOWN = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_MOST_TRIED = 4
"""Maximum number of addresses of one name that are tried in turn."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Resolve a name with the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def client(
    *,
    allow_private: bool,
    timeout: httpx2.Timeout,
    resolver: Resolve = resolve,
    tls: ssl.SSLContext | None = None,
) -> httpx2.AsyncClient:
    """Create a client for URLs of callers; to be used as a context manager.

    Args:
        allow_private: Whether private addresses may be connected to.
        timeout: limits connecting, and each read and write.
        resolver: resolves host names.
        tls: TLS context; by default the system's certificate authorities.
    """
    transport = GuardedTransport(allow_private=allow_private, resolver=resolver, tls=tls)
    return httpx2.AsyncClient(
        transport=transport,
        timeout=timeout,
        trust_env=False,
        follow_redirects=False,
        headers={"User-Agent": "mt3-service", "Accept": "*/*", "Accept-Encoding": "identity"},
    )


def trusted(tls: ssl.SSLContext | None) -> ssl.SSLContext:
    """Return ``tls``, or httpx2's own context, which takes tens of milliseconds to make."""
    return tls or httpx2.create_ssl_context(trust_env=False)


class GuardedTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport that opens connections only to checked addresses."""

    def __init__(
        self, *, allow_private: bool, resolver: Resolve = resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        """Prepare the transport; see `client` for the arguments."""
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trusted(tls),
            max_keepalive_connections=0,
            http2=False,
            network_backend=CheckedBackend(allow_private=allow_private, resolver=resolver),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request.

        Raises:
            UrlRefusedError: the name has an address that is not public, or has no address.
            httpx2.TransportError: the request failed.
        """
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        url = httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        with _translated():
            response = await self._pool.handle_async_request(
                httpcore2.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._pool.aclose()


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections to checked addresses only."""

    def __init__(self, *, allow_private: bool, resolver: Resolve = resolve) -> None:
        """Prepare the object.

        Args:
            allow_private: whether to connect to private addresses.
            resolver: resolves host names.
        """
        self._allow_private = allow_private
        self._resolve = resolver
        # (declared twice, once for where anyio is absent)
        self._network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (of the interface)
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve the name once, check every address, connect to one of them.

        Raises:
            UrlRefusedError: an address is not public, or there is none.
            httpcore2.ConnectError: the connection is refused, or the resolver does not respond.
            httpcore2.ConnectTimeout: connecting took too long.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._checked(host, port)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        tried = addresses[:_MOST_TRIED]
        for position, address in enumerate(tried):
            remaining = None if deadline is None else deadline - time.monotonic()
            # Each address has its share of the time, so that one that drops packets leaves time for
            # the next.
            share = None if remaining is None else max(remaining, 0.0) / (len(tried) - position)
            try:
                return await self._network.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if position == len(tried) - 1:
                    raise
        raise UrlRefusedError(NOT_PUBLIC)

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    async def _checked(self, host: str, port: int) -> list[str]:
        if read_address(host) is not None:
            answers: Sequence[str] = [host]
        else:
            try:
                answers = await self._resolve(host, port)
            except socket.gaierror as error:
                if error.errno in _UNKNOWN:
                    raise UrlRefusedError(NOT_PUBLIC) from error
                raise httpcore2.ConnectError from error
            except UnicodeError as error:  # of Python's own encoding of names
                raise UrlRefusedError(NOT_PUBLIC) from error
        checked: list[str] = []
        for answer in answers:
            address = read_address(answer)
            if address is None or is_refused(address, allow_private=self._allow_private):
                raise UrlRefusedError(NOT_PUBLIC)
            checked.append(str(address))
        return list(dict.fromkeys(checked))


class _Body(httpx2.AsyncByteStream):
    """A response's body, which raises httpx2's errors."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for piece in self._response.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        with _translated():
            await self._response.aclose()


@contextlib.contextmanager
def _translated() -> Generator[None]:
    """Translate errors of httpcore2 to those of httpx2, which callers of this module handle."""
    try:
        yield
    except httpcore2.TimeoutException as error:
        raise httpx2.ReadTimeout("timed out") from error
    except (
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.UnsupportedProtocol,
    ) as error:
        raise httpx2.NetworkError("the connection failed") from error


@contextlib.asynccontextmanager
async def answer(
    http: httpx2.AsyncClient, request: httpx2.Request
) -> AsyncGenerator[httpx2.Response]:
    """Send a request and yield the response, whose body is not read yet."""
    response = await http.send(request, stream=True)
    try:
        yield response
    finally:
        with contextlib.suppress(httpx2.TransportError):
            await response.aclose()
