"""Requests with one error each, as pairs of name and bytes.

They cover HTTP/1.1 (RFC 9112: contradictory lengths, invalid chunk sizes, bare line ends) and our
own parser (forms cut at each position where it changes state).
"""

import random

from tests.fuzz.sounds import good_recording

_TARGET = "/v1/transcriptions"
_GET = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
"""A good head without its final empty line."""


def head(*headers: str, method: str = "POST", target: str = _TARGET) -> bytes:
    """Return the head of a request."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode(
        "latin-1"
    )


def wrong_lengths() -> list[tuple[str, bytes]]:
    """Return requests whose Content-Length or Transfer-Encoding contradicts the body."""
    body = good_recording(0.2)
    claims = {
        "shorter": [f"Content-Length: {len(body) - 100}"],
        "longer": [f"Content-Length: {len(body) + 100}"],
        "zero": ["Content-Length: 0"],
        "negative": ["Content-Length: -1"],
        "plus": [f"Content-Length: +{len(body)}"],
        "no number": ["Content-Length: many"],
        "digits that are not ASCII": ["Content-Length: \xb2\xb3"],
        "thousands of digits": ["Content-Length: " + "9" * 5_000],
        "2**64": [f"Content-Length: {2**64}"],
        "twice, equal": [f"Content-Length: {len(body)}"] * 2,
        "twice, unequal": [f"Content-Length: {len(body)}", "Content-Length: 3"],
        "a list": [f"Content-Length: {len(body)}, 3"],
        "length and chunks": [f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"],
        "unknown coding": ["Transfer-Encoding: gzip"],
        "chunked twice": ["Transfer-Encoding: chunked, chunked"],
        "chunked, misspelt": ["Transfer-Encoding: xchunked"],
        "none at all": [],
        "beyond the limit": ["Content-Length: 99999999999"],
    }
    return [(name, head(*headers) + body) for name, headers in claims.items()]


def broken_chunks() -> list[tuple[str, bytes]]:
    """Return requests with invalid chunked bodies."""
    begin = head("Transfer-Encoding: chunked")
    bodies = {
        "no hexadecimal": b"zz\r\nabc\r\n0\r\n\r\n",
        "negative": b"-1\r\nabc\r\n0\r\n\r\n",
        "empty size": b"\r\nabc\r\n0\r\n\r\n",
        "enormous": b"ffffffffffffffffffff\r\nabc\r\n",
        "2**63": b"8000000000000000\r\nabc\r\n",
        "smaller than the data": b"1\r\nabc\r\n0\r\n\r\n",
        "larger than the data": b"a\r\nabc\r\n0\r\n\r\n",
        "bare line feeds": b"3\nabc\n0\n\n",
        "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
        "long extension": b"3;" + b"x" * 70_000 + b"\r\nabc\r\n0\r\n\r\n",
        "many trailers": b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        "cut in a size": b"3\r\nabc\r\n1",
        "cut in data": b"ff\r\nabc",
        "no last chunk": b"3\r\nabc\r\n",
        "NUL": b"3\r\n\0\0\0\r\n\0\r\n\r\n",
    }
    return [(name, begin + body) for name, body in bodies.items()]


def broken_heads() -> list[tuple[str, bytes]]:
    """Return requests with invalid heads."""
    lines = {
        "no version": b"GET /health\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n",
        "HTTP/1.0": b"GET /health HTTP/1.0\r\n\r\n",
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/9.9": b"GET /health HTTP/9.9\r\nHost: a\r\n\r\n",
        "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        "no host": b"GET /health HTTP/1.1\r\n\r\n",
        "two hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "odd host": b"GET /health HTTP/1.1\r\nHost: [::1]:99999999@x\r\n\r\n",
        "host of nothing": b"GET /health HTTP/1.1\r\nHost:\r\n\r\n",
        "folded header": b"GET /health HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        "space before colon": b"GET /health HTTP/1.1\r\nHost : a\r\n\r\n",
        "NUL in header": _GET + b"X: a\0b\r\n\r\n",
        "bare line feeds": b"GET /health HTTP/1.1\nHost: 127.0.0.1\n\n",
        "high bytes": _GET + b"X-Request-ID: \xff\xfe\r\n\r\n",
        "long target": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "long header": _GET + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        "many headers": _GET + b"X: y\r\n" * 20_000 + b"\r\n",
        "absolute target": b"GET http://127.0.0.1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "other host's target": b"GET http://example.org:99999/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "connect": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "odd method": b"M\x7fTHOD /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "odd escapes": b"GET /%00%ff%2e%2e/%zz?%00=%ff&a=%GG HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "bytes in target": b"GET /\xff\xfe?\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "websocket": _GET + b"Upgrade: websocket\r\nConnection: "
        b"Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "h2c": _GET + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "expect": head("Expect: the unexpected", "Content-Length: 3") + b"abc",
        "empty lines": b"\r\n" * 100,
        "odd content types": head("Content-Type: multipart/form-data; boundary=" + "b" * 5_000,
                                  "Content-Length: 2") + b"--",
        "odd boundary": head('Content-Type: multipart/form-data; boundary="\\\x80"',
                             "Content-Length: 2") + b"--",
        "odd ids": head("X-Request-ID: a b;c", "traceparent: 00-zz-zz-zz", "Last-Event-ID: \xb9",
                        "Prefer: respond-async=,,;wait=x", "Content-Length: 1") + b"x",
        "odd keys": head("Authorization: Bearer \xff\xfe", "X-API-Key: \xe9", "Origin: null",
                         "Content-Length: 1") + b"x",
    }  # fmt: skip
    return list(lines.items())


def form(boundary: str = "B") -> bytes:
    """Return a good form with an option and a recording."""
    mark = f"--{boundary}\r\n".encode()
    return (
        mark + b'Content-Disposition: form-data; name="end"\r\n\r\n0.1\r\n' + mark
        + b'Content-Disposition: form-data; name="file"; filename="x.wav"\r\n'
        + b"Content-Type: audio/wav\r\n\r\n" + good_recording(0.2)
        + f"\r\n--{boundary}--\r\n".encode()
    )  # fmt: skip


def good_requests() -> list[bytes]:
    """Return whole requests, to be cut and mutated."""
    body, multipart = good_recording(0.2), form()
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece)
        for piece in (body[at : at + 1_000] for at in range(0, len(body), 1_000))
    )
    form_type = "Content-Type: multipart/form-data; boundary=B"
    return [
        head("Content-Type: audio/wav", f"Content-Length: {len(body)}") + body,
        head(f"Content-Length: {len(body)}", target=f"{_TARGET}?stream=true&end=0.1") + body,
        head(form_type, f"Content-Length: {len(multipart)}") + multipart,
        head("Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n",
    ]


def mutated(rng: random.Random) -> bytes:
    """Return a good request with some bytes changed, removed, doubled or cut off."""
    message = bytearray(rng.choice(good_requests()))
    head_end = message.index(b"\r\n\r\n") + 4
    for _ in range(rng.randint(1, 6)):
        # Heads are short and decide everything: most changes go there.
        at = rng.randrange(head_end if rng.random() < 0.7 else len(message))
        at = min(at, len(message) - 1)
        match rng.randrange(4):
            case 0:
                message[at] = rng.randrange(256)
            case 1:
                del message[at : at + rng.randint(1, 20)]
            case 2:
                message[at:at] = message[at : at + rng.randint(1, 50)]
            case _:
                message[at:at] = rng.choice(
                    [b"\r\n", b"\0", b":", b"\r\n\r\n", b"%", b'"', b"\xff", b";", b"=", b","]
                )
        if len(message) < 2:
            break
    return bytes(message)
