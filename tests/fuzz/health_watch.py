"""`python -m tests.fuzz.health_watch URL`: request `/health` every 100 ms until its input ends.

It is a process of its own, so that it measures the server and not the load of the clients. Each
request uses a new connection, like the probe of an orchestrator. At the end it prints one line of
JSON: `asked`, `unanswered`, and in seconds `median`, `p99` and `worst`.
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.request

INTERVAL_SECONDS = 0.1


def main(url: str) -> None:
    """Request `/health` until standard input is closed."""
    latencies, unanswered = [], 0
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.wait(INTERVAL_SECONDS):
        began = time.perf_counter()
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
                answer.read()
        except OSError:
            unanswered += 1
        else:
            latencies.append(time.perf_counter() - began)
    latencies.sort()

    def quantile(share: float) -> float:
        return round(latencies[int(share * (len(latencies) - 1))], 4) if latencies else 0.0

    found = {"asked": len(latencies) + unanswered, "unanswered": unanswered}
    found |= {"median": quantile(0.5), "p99": quantile(0.99), "worst": quantile(1.0)}
    print(json.dumps(found))


@contextlib.contextmanager
def watching(url: str):
    """Watch `/health` during the context; fill the yielded dictionary at its end."""
    found: dict[str, float] = {}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.health_watch", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield found
        output, _ = process.communicate(timeout=30)
        found.update(json.loads(output))
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


if __name__ == "__main__":
    main(sys.argv[1])
