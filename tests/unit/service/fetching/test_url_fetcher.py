"""URLs are fetched from a real server on this machine, under names and addresses of the tests."""

import asyncio
import datetime
import gzip
import socket
import ssl
import tempfile

import httpcore2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mt3_model.errors import OptionError
from service.errors import ItemError
from service.fetching.guarded_transport import CheckedBackend, GuardedTransport
from service.fetching.url_fetcher import FetchLimits, UrlFetcher
from tests.unit.service.jobs.http_at_hand import (
    OTHER,
    PUBLIC,
    LocalServer,
    Names,
    lead_to,
    ok,
    redirect,
    reply,
    server,
)

__all__ = ["server"]
LIMITS = FetchLimits(
    max_bytes=100_000, connect_seconds=120.0, idle_seconds=120.0, total_seconds=400.0
)
URL = "http://media.example/song.wav"


def fetcher(names=None, limits=LIMITS, **rest):
    return UrlFetcher(limits, resolver=names or Names(media_example=[[PUBLIC]]), **rest)


async def refused(fetch, path, url=URL):
    """Return the error of a fetch that must fail: (code, is_transient, message)."""
    with pytest.raises(ItemError) as caught:
        await fetch.fetch(url, path)
    for secret in (PUBLIC, OTHER, "127.0.0.1", "10.0.0.7", "inner", "signature"):
        assert secret not in str(caught.value)
    return caught.value.code, caught.value.is_transient, str(caught.value)


async def test_a_recording_is_brought_as_it_is(server, tmp_path, monkeypatch):
    content = bytes(range(256)) * 300
    async with server.running():
        network = lead_to(server, monkeypatch)
        server.answers["/song.wav"] = ok(content)
        await fetcher().fetch(URL + "?signature=a%2Fb#there", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content
    ((path, headers, body),) = server.requests
    assert path == "/song.wav?signature=a%2Fb"
    assert (headers["host"], headers["accept-encoding"], body) == ("media.example", "identity", b"")
    assert not {"cookie", "authorization", "referer"} & set(headers)
    assert network.connected == [(PUBLIC, 80)]


async def test_what_the_environment_says_of_proxies_is_not_listened_to(
    server, tmp_path, monkeypatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with server.running():
        lead_to(server, monkeypatch)
        server.answers["/song.wav"] = ok()
        await fetcher().fetch(URL, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"sound"


@pytest.mark.parametrize(
    ("status", "code", "may_pass"),
    [
        (404, "input_not_found", False), (410, "input_not_found", False),
        (401, "input_refused", False), (403, "input_refused", False), (400, "input_refused", False),
        (204, "input_refused", False), (206, "input_refused", False), (304, "input_refused", False),
        (408, "input_unreachable", True), (429, "input_unreachable", True),
        (500, "input_unreachable", True), (503, "input_unreachable", True),
    ],
)  # fmt: skip
async def test_other_answers_say_whether_to_try_again(  # noqa: PLR0917 (pytest's)
    server, tmp_path, monkeypatch, status, code, may_pass
):
    async with server.running():
        lead_to(server, monkeypatch)
        server.answers["/song.wav"] = reply(status)
        found = await refused(fetcher(), tmp_path / "a")
    assert found[:2] == (code, may_pass)
    assert str(status) in found[2]


async def test_redirects_are_followed_five_times_and_each_is_checked(server, tmp_path, monkeypatch):
    names = Names(media_example=[[PUBLIC]], cdn_example=[[OTHER]])
    async with server.running():
        network = lead_to(server, monkeypatch)
        server.answers |= {
            "/song.wav": redirect("/1"), "/1": redirect("http://cdn.example/2", 301),
            "/2": redirect("3?x=1", 307), "/3": redirect("//media.example:80/4", 308),
            "/4": redirect("/5", 303), "/5": ok(),
        }  # fmt: skip
        await fetcher(names).fetch(URL, tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"sound"
        assert [address for address, _ in network.connected] == [
            PUBLIC, PUBLIC, OTHER, OTHER, PUBLIC, PUBLIC,
        ]  # fmt: skip
        server.answers["/5"] = redirect("/6")
        server.answers["/6"] = ok()
        assert await refused(fetcher(names), tmp_path / "a") == (
            "input_refused", False, "the URL redirects more than 5 times",
        )  # fmt: skip
        server.answers["/song.wav"] = redirect("/song.wav")
        assert (await refused(fetcher(names), tmp_path / "a"))[0] == "input_refused"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/latest", "http://169.254.169.254/latest/meta-data/", "http://[::1]/",
        "http://2130706433/", "http://inner.example/", "http://localhost/", "file:///etc/passwd",
        "gopher://media.example/", "http://user:pw@media.example/", "http://media.example:6379/",
        "http://media.example\\@inner.example/", "http://[::ffff:10.0.0.7]/", "//10.0.0.7/",
    ],
)  # fmt: skip
async def test_a_redirect_into_an_inner_network_is_not_followed(
    server, tmp_path, monkeypatch, location
):
    names = Names(media_example=[[PUBLIC]], inner_example=[["10.0.0.7"]])
    async with server.running():
        network = lead_to(server, monkeypatch)
        server.answers["/song.wav"] = redirect(location)
        code, may_pass, _ = await refused(fetcher(names), tmp_path / "a")
    assert (code, may_pass) == ("input_refused", False)
    assert network.connected == [(PUBLIC, 80)]


async def test_https_does_not_become_http_and_no_location_is_an_error(
    server, tmp_path, monkeypatch
):
    async with server.running():
        lead_to(server, monkeypatch)
        server.answers["/song.wav"] = reply(302)
        assert "nowhere" in (await refused(fetcher(), tmp_path / "a"))[2]
    tls, trust = certificate("media.example")
    server = LocalServer()
    async with server.running(tls):
        lead_to(server, monkeypatch)
        server.answers["/song.wav"] = redirect("http://media.example/song.wav")
        found = await refused(fetcher(tls=trust), tmp_path / "a", "https://media.example/song.wav")
        assert "from https to http" in found[2]


@pytest.mark.parametrize(
    "answers",
    [
        ["10.0.0.7"], ["127.0.0.1"], [PUBLIC, "10.0.0.7"], ["10.0.0.7", PUBLIC],
        [PUBLIC, "::1"], ["fe80::1%eth0"], ["::ffff:8.8.8.8"], ["64:ff9b::808:808"], [],
        ["not an address"],
    ],
)  # fmt: skip
async def test_one_answer_of_the_dns_that_is_not_public_is_enough(
    server, tmp_path, monkeypatch, answers
):
    async with server.running():
        network = lead_to(server, monkeypatch)
        found = await refused(fetcher(Names(media_example=[answers])), tmp_path / "a")
        unknown = await refused(fetcher(Names(other=[[PUBLIC]])), tmp_path / "a")
    assert found[:2] == ("input_refused", False)
    assert found == unknown, "which inner names there are is not to be found out"
    assert not network.connected


async def test_a_name_that_changes_its_answer_is_connected_to_where_it_was_checked(
    server, tmp_path, monkeypatch
):
    names = Names(media_example=[[PUBLIC], ["127.0.0.1"]])
    async with server.running():
        network = lead_to(server, monkeypatch)
        server.answers |= {"/song.wav": ok(), "/again": redirect("/song.wav")}
        await fetcher(names).fetch(URL, tmp_path / "a")
        assert names.asked == ["media.example"], "asked once, and never again by the connection"
        assert network.connected == [(PUBLIC, 80)]
        again = Names(media_example=[[PUBLIC], ["127.0.0.1"]])
        found = await refused(fetcher(again), tmp_path / "a", "http://media.example/again")
    assert found[0] == "input_refused"
    assert network.connected == [(PUBLIC, 80)] * 2


async def test_the_next_address_is_tried_where_one_does_not_answer(server, tmp_path, monkeypatch):
    async with server.running():
        network = lead_to(server, monkeypatch)
        network.down = {PUBLIC}
        server.answers["/song.wav"] = ok()
        await fetcher(Names(media_example=[[PUBLIC, PUBLIC, OTHER]])).fetch(URL, tmp_path / "a")
        assert network.connected == [(PUBLIC, 80), (OTHER, 80)]
        network.down = {PUBLIC, OTHER}
        found = await refused(fetcher(Names(media_example=[[PUBLIC, OTHER]])), tmp_path / "a")
        assert found[:2] == ("input_unreachable", True)


async def test_a_resolver_that_does_not_answer_may_answer_later(tmp_path):
    busy = Names(media_example=[socket.gaierror(socket.EAI_AGAIN, "later")])
    assert (await refused(fetcher(busy), tmp_path / "a"))[:2] == ("input_unreachable", True)

    async def never(host, port):
        await asyncio.Event().wait()

    limits = FetchLimits(max_bytes=1, connect_seconds=0.1)
    async with asyncio.timeout(400):
        found = await refused(UrlFetcher(limits, resolver=never), tmp_path / "a")
    assert found[:2] == ("input_unreachable", True)


async def test_what_is_larger_than_the_limit_is_stopped_by_its_head_or_by_counting(
    server, tmp_path, monkeypatch
):
    sent = []

    async def endless(writer, headers, body):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            await writer.drain()
            sent.append(10_000)

    async with server.running():
        lead_to(server, monkeypatch)
        server.answers["/song.wav"] = ok(b"x" * 100_001)
        assert (await refused(fetcher(), tmp_path / "a"))[:2] == ("input_too_large", False)
        assert not (tmp_path / "a").exists(), "nothing was written"
        server.answers["/song.wav"] = endless
        assert (await refused(fetcher(), tmp_path / "b"))[:2] == ("input_too_large", False)
        assert (tmp_path / "b").stat().st_size <= 100_000
        server.answers["/song.wav"] = ok(b"x" * 100_000)
        await fetcher().fetch(URL, tmp_path / "c")
        assert (tmp_path / "c").stat().st_size == 100_000


async def test_a_lying_content_length_is_noticed_or_cut(server, tmp_path, monkeypatch):
    async with server.running():
        lead_to(server, monkeypatch)
        server.answers["/song.wav"] = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"
        assert (await refused(fetcher(), tmp_path / "a"))[:2] == ("input_unreachable", True)
        server.answers["/song.wav"] = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + b"x" * 200_000
        )
        await fetcher().fetch(URL, tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == b"xxxxx"
        for length in (b"-1", b"five", b"5, 6"):
            server.answers["/song.wav"] = (
                b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\nsound"
            )
            assert (await refused(fetcher(), tmp_path / "c"))[0] == "input_unreachable"
        server.answers["/song.wav"] = b"no HTTP at all\r\n\r\n"
        assert (await refused(fetcher(), tmp_path / "c"))[0] == "input_unreachable"


async def test_a_compressed_body_is_never_unpacked(server, tmp_path, monkeypatch):
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    async with server.running():
        lead_to(server, monkeypatch)
        for encoding in ("gzip", "br", "deflate, gzip", "x-unknown"):
            server.answers["/song.wav"] = ok(bomb, [f"Content-Encoding: {encoding}"])
            assert (await refused(fetcher(), tmp_path / "a"))[:2] == ("input_refused", False)
            assert not (tmp_path / "a").exists()
        server.answers["/song.wav"] = ok(bomb)
        await fetcher().fetch(URL, tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == bomb, "as it is: it may be a file's own"


@pytest.mark.slow
async def test_a_server_that_stops_sending_or_sends_too_slowly_is_given_up(
    server, tmp_path, monkeypatch
):
    async def stops(writer, headers, body):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsou")
        await writer.drain()
        await asyncio.Event().wait()  # never answers

    async def drips(writer, headers, body):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)

    async def silent(writer, headers, body):
        await asyncio.Event().wait()  # never answers

    # One limit bounds each; the other would be reached in an hour.
    idle = FetchLimits(max_bytes=1_000, idle_seconds=0.3, total_seconds=3_600.0)
    total = FetchLimits(max_bytes=1_000, idle_seconds=3_600.0, total_seconds=1.0)
    async with server.running():
        lead_to(server, monkeypatch)
        for answer, limits in ((stops, idle), (silent, idle), (drips, total)):
            server.answers["/song.wav"] = answer
            async with asyncio.timeout(400):
                found = await refused(fetcher(limits=limits), tmp_path / "a")
            assert found[:2] == ("input_unreachable", True)
            assert "slow" in found[2]


@pytest.mark.slow
async def test_what_arrives_below_the_least_rate_is_given_up_at_any_place(
    server, tmp_path, monkeypatch
):
    async def drips(writer, pieces):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    async def slow_body(writer, headers, body):
        await drips(writer, [b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", *[b"x"] * 9_000])

    async def slow_head(writer, headers, body):
        await drips(writer, [b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n"] * 9_000])

    async def slow_redirect(writer, headers, body):
        await drips(writer, [b"HTTP/1.1 302 x\r\n", *[b"X-A: b\r\n"] * 5])
        return b"Location: /song.wav\r\nContent-Length: 0\r\n\r\n"

    # Only these two limit it: bytes arrive steadily, and the total limit is an hour.
    limits = FetchLimits(
        max_bytes=100_000, idle_seconds=60.0, total_seconds=3_600.0, head_seconds=0.3,
        min_bytes_per_second=1_000.0, grace_seconds=0.3,
    )  # fmt: skip
    async with server.running():
        lead_to(server, monkeypatch)
        for answer in (slow_body, slow_head, slow_redirect):
            server.answers["/song.wav"] = answer
            async with asyncio.timeout(400):
                code, may_pass, message = await refused(fetcher(limits=limits), tmp_path / "a")
            assert (code, may_pass) == ("input_unreachable", True)
            assert "slow" in message


@pytest.mark.slow
async def test_a_slow_server_above_the_least_rate_is_waited_for(server, tmp_path, monkeypatch):
    async def steady(writer, headers, body):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n")
        for _ in range(20):
            writer.write(b"x" * 1_000)
            await writer.drain()
            await asyncio.sleep(0.05)

    limits = FetchLimits(max_bytes=100_000, min_bytes_per_second=10.0, grace_seconds=0.3)
    async with server.running():
        lead_to(server, monkeypatch)
        server.answers["/song.wav"] = steady
        await fetcher(limits=limits).fetch(URL, tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"x" * 20_000


def certificate(name):
    """Return a server's TLS context for a name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(serialization.Encoding.PEM)
    return _server_tls(pem, key), ssl.create_default_context(cadata=pem.decode())


def _server_tls(pem, key):
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(pem + secret)
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def test_tls_asks_for_the_name_though_the_connection_goes_to_the_address(
    server, tmp_path, monkeypatch
):
    tls, trust = certificate("media.example")
    asked = []
    tls.sni_callback = lambda _, name, __: asked.append(name)
    names = Names(media_example=[[PUBLIC]], other_example=[[PUBLIC]])
    async with server.running(tls):
        network = lead_to(server, monkeypatch)
        server.answers["/song.wav"] = ok()
        await fetcher(names, tls=trust).fetch("https://media.example/song.wav", tmp_path / "a")
        assert asked == ["media.example"]
        assert network.connected == [(PUBLIC, 443)]
        for fetch, url in (
            (fetcher(names, tls=trust), "https://other.example/song.wav"),
            (fetcher(names), "https://media.example/song.wav"),  # not one of the known authorities
        ):
            found = await refused(fetch, tmp_path / "b", url)
            assert found[:2] == ("input_unreachable", True)
    assert len(server.requests) == 1


async def test_without_any_tricks_this_machine_is_not_reached_unless_it_is_allowed(
    server, tmp_path
):
    """Check it with the real network and the system's resolver."""
    async with server.running():
        server.answers["/song.wav"] = ok()
        for url in (f"{server.url}/song.wav", f"http://localhost:{server.port}/song.wav"):
            with pytest.raises(ItemError) as caught:
                await UrlFetcher(LIMITS).fetch(url, tmp_path / "a")
            assert caught.value.code == "input_refused"
            with pytest.raises(OptionError, match="inputs"):
                UrlFetcher(LIMITS).check("inputs", url)
        assert not server.requests
        allowed = UrlFetcher(LIMITS, allow_private=True)
        allowed.check("inputs", f"{server.url}/song.wav")
        for url in (f"{server.url}/song.wav", f"http://localhost:{server.port}/song.wav"):
            await allowed.fetch(url, tmp_path / "a")
            assert (tmp_path / "a").read_bytes() == b"sound"
    found = await refused(allowed, tmp_path / "a", f"{server.url}/song.wav")
    assert found[:2] == ("input_unreachable", True)


async def test_a_name_that_the_systems_resolver_leads_to_this_machine_is_refused(
    server, tmp_path, monkeypatch
):
    async def found(self, host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", found)
    async with server.running():
        network = lead_to(server, monkeypatch)
        code, may_pass, _ = await refused(UrlFetcher(LIMITS), tmp_path / "a")
    assert (code, may_pass) == ("input_refused", False)
    assert not network.connected


async def test_a_full_disk_is_the_workers_to_explain(server, tmp_path, monkeypatch):
    async with server.running():
        lead_to(server, monkeypatch)
        server.answers["/song.wav"] = ok()
        with pytest.raises(FileNotFoundError):
            await fetcher().fetch(URL, tmp_path / "none" / "a")


def test_no_other_way_opens_connections():
    """httpcore2's pool has no other way to open connections than this backend."""
    transport = GuardedTransport(allow_private=False)
    assert isinstance(transport._pool._network_backend, CheckedBackend)
    with pytest.raises(NotImplementedError):
        asyncio.run(CheckedBackend(allow_private=True).connect_unix_socket("/run/docker.sock"))
    assert issubclass(CheckedBackend, httpcore2.AsyncNetworkBackend)
