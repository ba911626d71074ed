"""An HTTP server on loopback that serves files like a bucket and simulates faults.

Each request uses the next fault of its path; without faults left, it is served normally.
"""

import base64
import contextlib
import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from mt3_model.checkpoint.manifest import ManifestEntry, ManifestFile
from mt3_model.spec import MT3

Fault = Callable[["Handler", bytes], bool]
"""Sends the response itself and returns True, or changes something and returns False."""


@dataclasses.dataclass
class Bucket:
    files: dict[str, bytes]
    faults: dict[str, list[Fault]] = dataclasses.field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = dataclasses.field(default_factory=list)
    """(path, Range, If-Range) in order of arrival."""
    busiest: int = 0
    """The largest number of concurrent requests."""
    block_seconds: float = 0.0
    """The pause between blocks of 1 KiB."""
    url: str = ""
    running: int = 0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    listing_changes: dict[str, dict[str, str | None]] = dataclasses.field(default_factory=dict)

    def entry(self, name: str = "mt3", *, with_files: bool = True) -> ManifestEntry:
        files = tuple(
            ManifestFile(path=path, bytes=len(body), sha256=hashlib.sha256(body).hexdigest())
            for path, body in self.files.items()
        )
        return ManifestEntry(
            name=name,
            spec=MT3,
            description="a stand-in",
            base_url=f"{self.url}/files/",
            listing_url=f"{self.url}/listing?prefix=checkpoints/{name}/",
            files=files if with_files else (),
        )


@contextlib.contextmanager
def serve(files: dict[str, bytes], **faults: list[Fault]) -> Iterator[Bucket]:
    """Serve files by path until the body ends, with the faults of each path."""
    bucket = Bucket(files=dict(files), faults=dict(faults))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.bucket = bucket  # type: ignore[attr-defined]
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def bucket(self) -> Bucket:
        return self.server.bucket  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        bucket = self.bucket
        with bucket.lock:
            bucket.running += 1
            bucket.busiest = max(bucket.busiest, bucket.running)
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with bucket.lock:
                bucket.running -= 1

    def _answer(self) -> None:
        split = urlsplit(self.path)
        if split.path == "/listing":
            self._answer_listing(parse_qs(split.query))
            return
        path = unquote(split.path).removeprefix("/files/")
        asked = self.headers.get("Range")
        with self.bucket.lock:
            self.bucket.requests.append((path, asked, self.headers.get("If-Range")))
            faults = self.bucket.faults.get(path, [])
            fault = faults.pop(0) if faults else None
        body = self.bucket.files.get(path)
        if body is None:
            self.answer_status(404)
            return
        if fault is not None and fault(self, body):
            return
        start = 0
        if asked and self.headers.get("If-Range") in (None, etag(body)):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body) > 0:
            self.answer_status(416)
            return
        self.answer_body(body, start=start)

    def answer_body(
        self, body: bytes, *, start: int = 0, stop: int | None = None, tag: str | None = None
    ) -> None:
        """Announce the whole length but send only the bytes up to `stop`."""
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", tag or etag(body))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        sent = body[start:stop]
        for at in range(0, len(sent), 1024):
            self.wfile.write(sent[at : at + 1024])
            self.wfile.flush()
            time.sleep(self.bucket.block_seconds)
        if stop is not None:
            self.close_connection = True

    def answer_status(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def _answer_listing(self, query: dict[str, list[str]]) -> None:
        """Send a page of two objects."""
        prefix = query["prefix"][0]
        items = [{"name": prefix, "size": "0", "md5Hash": ""}]
        for path, body in sorted(self.bucket.files.items()):
            md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
            item = {"name": prefix + path, "size": str(len(body)), "md5Hash": md5}
            item |= self.bucket.listing_changes.get(path, {})  # type: ignore[arg-type]
            items.append({key: value for key, value in item.items() if value is not None})
        first = int(query.get("pageToken", ["0"])[0])
        page: dict[str, object] = {"items": items[first : first + 2]}
        if first + 2 < len(items):
            page["nextPageToken"] = str(first + 2)
        body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        # Tests close connections on purpose, so this is not an error to print.
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def truncated_after(size: int) -> Fault:
    """Announce the whole length and close the connection after `size` bytes of the file."""

    def fault(handler: Handler, body: bytes) -> bool:
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        handler.answer_body(body, start=start, stop=size)
        return True

    return fault


def corrupted(handler: Handler, body: bytes) -> bool:
    """Send the correct length with one changed bit."""
    asked = handler.headers.get("Range")
    start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
    handler.answer_body(body[:-1] + bytes([body[-1] ^ 1]), start=start, tag=etag(body))
    return True


def too_long(handler: Handler, body: bytes) -> bool:
    handler.answer_body(body + b"more")
    return True


def silent_after(size: int) -> Fault:
    """Send `size` bytes and then nothing, for ever."""

    def fault(handler: Handler, body: bytes) -> bool:
        handler.answer_body(body, stop=size)
        threading.Event().wait()
        return True

    return fault


def status(number: int, **headers: str) -> Fault:
    def fault(handler: Handler, body: bytes) -> bool:
        handler.answer_status(
            number, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        return True

    return fault


def without_ranges(handler: Handler, body: bytes) -> bool:
    """Respond with 200 and the whole file to any request."""
    handler.answer_body(body)
    return True


def wrong_range(handler: Handler, body: bytes) -> bool:
    """Respond with 206 and another range than requested."""
    handler.answer_body(body, start=1)
    return True
