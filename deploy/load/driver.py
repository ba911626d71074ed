"""The steps of a load test, run by `run.py` in locust's own environment; writes JSON.

1. Closed loop: 1, 2, 4... callers, each sending its next request after the last response, until
   doubling their number no longer raises the throughput. The best step is the capacity.
2. Ten times as many callers, which obey `Retry-After`.
3. Open loop: requests arrive at ten times the capacity, without retries. When they stop, one more
   caller is refused and then retries four times a second, to compare the time of its acceptance
   with its `Retry-After`.

A step ends when its time is up and every request in flight has its response.
"""

# Locust patches the standard library for gevent, so it comes first.
import locust  # isort: skip

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from typing import Any

import gevent
from locust.clients import HttpSession
from locust.env import Environment
from locustfile import ATTEMPTS, SECONDS, TIMEOUT_SECONDS, Attempt, Caller, attempt

_NO_MORE = 1.1
"""If doubling the callers raises the throughput by less than this factor, it is saturated."""
_MOST_CALLERS = 64
_OVER = 10
_RETRY_SECONDS = 0.25
_REFUSED = (429, 503)


def main() -> int:
    """Run the steps; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--step-seconds", type=float, required=True)
    parser.add_argument("--json", type=pathlib.Path, required=True)
    parsed = parser.parse_args()
    steps: list[dict[str, Any]] = []
    best, best_callers, callers = 0.0, 1, 1
    while callers <= _MOST_CALLERS:
        step = _closed_loop(parsed.url, callers, parsed.step_seconds, name=f"{callers} callers")
        steps.append(step)
        throughput = step["audio_seconds_per_second"]
        is_saturated = throughput < _NO_MORE * best
        if throughput > best:
            best, best_callers = throughput, callers
        if is_saturated:
            break
        callers *= 2
    over = _OVER * best_callers
    rate = _OVER * best / SECONDS
    # Callers start at ten times the capacity's rate; all at once would be a hundred times.
    name = f"{over} callers (10x)"
    steps.append(_closed_loop(parsed.url, over, parsed.step_seconds, name=name, spawn_rate=rate))
    steps.append(_open_loop(parsed.url, rate, parsed.step_seconds))
    document = {
        "locust": locust.__version__,
        "recording_seconds": SECONDS,
        "capacity_audio_seconds_per_second": best,
        "capacity_callers": best_callers,
        "steps": steps,
    }
    parsed.json.write_text(json.dumps(document))
    return 0


def _closed_loop(
    url: str, callers: int, seconds: float, *, name: str, spawn_rate: float | None = None
) -> dict[str, Any]:
    """Run callers that each send a request as soon as the last one has its response.

    Args:
        url: the server's address.
        callers: the number of callers.
        seconds: the time after which no more requests are sent.
        name: the step's name in the table.
        spawn_rate: callers started per second; by default all at once.
    """
    environment = Environment(
        user_classes=[Caller], host=url, stop_timeout=TIMEOUT_SECONDS, catch_exceptions=False
    )
    runner = environment.create_local_runner()
    ATTEMPTS.clear()
    began = time.time()
    runner.start(callers, spawn_rate=spawn_rate or callers)
    gevent.sleep(seconds)
    runner.stop()  # requests in flight may finish within stop_timeout
    runner.quit()
    return _describe(name, began, arrivals=None)


def _open_loop(url: str, rate: float, seconds: float) -> dict[str, Any]:
    """Send requests at a fixed rate, then measure the accuracy of `Retry-After`."""
    environment = Environment(user_classes=[Caller], host=url)
    ATTEMPTS.clear()
    began, count = time.time(), 0
    sent: list[gevent.Greenlet] = []
    while time.time() < began + seconds:
        sent.append(gevent.spawn(_arrive, environment, streams=count % 2 == 0))
        count += 1
        gevent.sleep(max(began + count / rate - time.time(), 0))
    retry_after = _measure_retry_after(environment)
    gevent.joinall(sent, timeout=TIMEOUT_SECONDS + 10)
    hung = sum(not greenlet.ready() for greenlet in sent)
    step = _describe(f"{rate:.1f} arrivals/s (10x)", began, arrivals=rate)
    return step | {"hung": hung, "retry_after": retry_after}


def _arrive(environment: Environment, *, streams: bool) -> Attempt:
    """Send one request over a new connection."""
    events = environment.events.request
    with HttpSession(base_url=environment.host, request_event=events, user=None) as session:
        return attempt(session, streams=streams)


def _measure_retry_after(environment: Environment) -> dict[str, float] | None:
    """Retry a refused request until it is accepted; None if it was not refused."""
    began = sent = time.time()
    found = _arrive(environment, streams=False)
    retry_after = found.retry_after_seconds
    if retry_after is None:
        return None
    while found.status in _REFUSED and time.time() < began + TIMEOUT_SECONDS:
        gevent.sleep(_RETRY_SECONDS)
        sent = time.time()
        found = _arrive(environment, streams=False)
    return {"retry_after_seconds": retry_after, "accepted_after_seconds": sent - began}


def _describe(name: str, began: float, *, arrivals: float | None) -> dict[str, Any]:
    """Summarize a step's attempts."""
    attempts = list(ATTEMPTS)
    accepted = [a for a in attempts if a.status == 200 and a.error is None]  # noqa: PLR2004
    refused = [a for a in attempts if a.status in _REFUSED]
    failed = [a for a in attempts if a.error is not None]
    ended = max((a.at + a.seconds for a in accepted), default=time.time())
    retries = [a for a in attempts if a.is_retry and (a.status == 200 or a.status in _REFUSED)]  # noqa: PLR2004
    return {
        "name": name,
        "began": began,
        "ended": max((a.at + a.seconds for a in attempts), default=began),
        "arrivals_per_second": arrivals,
        "requests": len(attempts),
        "accepted": len(accepted),
        "refused": len(refused),
        "errors": [dataclasses.asdict(a) for a in failed[:20]],
        "failed": len(failed),
        "hung": sum(a.status == 0 and a.seconds >= TIMEOUT_SECONDS for a in attempts),
        "audio_seconds_per_second": SECONDS * len(accepted) / max(ended - began, 1e-6),
        "answers_per_second": len(attempts) / max(ended - began, 1e-6),
        "latency_seconds": _percentiles([a.seconds for a in accepted]),
        "first_note_seconds": _percentiles(_present(accepted, "first_note_seconds")),
        "queue_seconds": _percentiles(_present(accepted, "queue_seconds")),
        "refusal_seconds": _percentiles([a.seconds for a in refused]),
        "retry_after_seconds": _percentiles(_present(refused, "retry_after_seconds")),
        "refusals_without_retry_after": sum(a.retry_after_seconds is None for a in refused),
        "retries": len(retries),
        "retries_accepted": sum(a.status not in _REFUSED for a in retries),
        "retry_after": None,
    }


def _present(attempts: list[Attempt], name: str) -> list[float]:
    return [value for a in attempts if (value := getattr(a, name)) is not None]


def _percentiles(values: list[float]) -> dict[str, float] | None:
    """Return percentiles by nearest rank, so each is a measured value."""
    if not values:
        return None
    values = sorted(values)
    last = len(values) - 1
    return {
        name: values[min(int(share * len(values)), last)]
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }


if __name__ == "__main__":
    sys.exit(main())
