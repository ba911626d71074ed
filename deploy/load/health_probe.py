"""`python health_probe.py URL`: request `/health` ten times a second and print the response times.

A separate process, so that the load test's own work is not measured. Each request uses a new
connection, as an orchestrator's probe does, and prints one line of JSON: `at` (time of sending,
seconds since 1970) and `seconds` (null without a response). Exits when standard input is closed.
"""

import http.client
import json
import sys
import threading
import time
import urllib.parse

INTERVAL_SECONDS = 0.1
_TIMEOUT_SECONDS = 10.0


def main() -> None:
    """Probe until standard input is closed."""
    address = urllib.parse.urlsplit(sys.argv[1])
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.wait(INTERVAL_SECONDS):
        at, began = time.time(), time.perf_counter()
        seconds: float | None = None
        connection = http.client.HTTPConnection(
            address.hostname or "127.0.0.1", address.port or 80, timeout=_TIMEOUT_SECONDS
        )
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                seconds = time.perf_counter() - began
        except OSError:
            pass
        finally:
            connection.close()
        print(json.dumps({"at": at, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
