"""A reverse proxy that serves a server below a path prefix, and nothing else."""

import contextlib
import http.client
import http.server
import threading
import urllib.parse

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "server", "date"}


@contextlib.contextmanager
def prefixed(address, prefix):
    """Yield the address, ending in the prefix, below which the server at `address` answers."""
    upstream = urllib.parse.urlsplit(address).netloc

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection(upstream)
            with contextlib.closing(connection), contextlib.suppress(ConnectionError):
                path = "/" + self.path.removeprefix(prefix)
                connection.request(self.command, path, body, dict(self.headers))
                self.answer(connection.getresponse())

        def do_POST(self):
            self.do_GET()

        def do_DELETE(self):
            self.do_GET()

        def answer(self, response):
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.end_headers()
            while piece := response.read1(65_536):  # events are passed on as they come
                self.wfile.write(piece)
                self.wfile.flush()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
