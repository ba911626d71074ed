"""A server on a loopback socket whose answers a test writes byte for byte, and cuts where it likes.

A script is called with each request and gives the pieces to send; then the connection is closed,
whatever the pieces promised.
"""

import contextlib
import dataclasses
import json
import socketserver
import threading
import time
import urllib.parse

from tests.unit.service.client.documents import EVENTS, LAST, event_text

NEVER = object()
"""A piece that never arrives: the connection stays open and silent."""


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict
    headers: dict
    body: bytes
    whole: bool


def answer(status=200, body=b"", **headers):
    """Return a complete response; header names are written with underscores."""
    lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_answer(document, status=200, **headers):
    return answer(status, json.dumps(document).encode(), Content_Type="application/json", **headers)


def problem(status, code, **more):
    headers = {name: more.pop(name) for name in list(more) if name[0].isupper()}
    document = {
        "type": f"urn:mt3:problem:{code}", "title": "A title", "status": status,
        "detail": "a detail", "code": code, "request_id": "r1", **more,
    }  # fmt: skip
    return json_answer(document, status, **headers)


@contextlib.contextmanager
def wire(script):
    """Run the server; yield its address and the growing list of requests."""
    requests = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            request = read_request(self.rfile)
            if request is None:
                return
            requests.append(request)
            for piece in script(request):
                if piece is NEVER:
                    closing.wait()
                    return
                if isinstance(piece, float):
                    time.sleep(piece)
                    continue
                self.wfile.write(piece)
                self.wfile.flush()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request, client_address):
            pass  # clients disconnect in some tests

    closing = threading.Event()
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", requests
        finally:
            closing.set()
            server.shutdown()
            thread.join()


def read_request(file):
    line = file.readline().decode()
    if not line:
        return None
    method, target, _ = line.split()
    headers = {}
    while (line := file.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    url = urllib.parse.urlsplit(target)
    body = b""
    whole = True
    if "content-length" in headers:
        length = int(headers["content-length"])
        body = file.read(length)
        whole = len(body) == length
    elif headers.get("transfer-encoding") == "chunked":
        while size := int(file.readline() or b"0", 16):
            body += file.read(size)
            file.readline()
        file.readline()
    query = dict(urllib.parse.parse_qsl(url.query))
    return Request(method, url.path, query, headers, body, whole)


def stream_head(*, chunked=False, **headers):
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream; charset=utf-8"]
    lines += ["Transfer-Encoding: chunked" if chunked else "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def following(request):
    """Return the number of the first event that this request asks for."""
    return int(request.headers.get("last-event-id", 0)) + 1


def events_between(first, last=LAST):
    return [event_text(number, *EVENTS[number - 1]) for number in range(first, last + 1)]
