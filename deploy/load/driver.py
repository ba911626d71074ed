"""The steps of a load test, run by `run.py` in locust's own environment; writes JSON.

1. Callers in a closed loop (each sends when it is answered): 1, 2, 4... until twice as many bring
   no more throughput. The best step is the capacity.
2. Ten times as many callers as that took, who honour `Retry-After`.
3. Arrivals at ten times the capacity, whether or not anybody is answered, without retries: what a
   crowd does. When they stop, one more caller asks at once, is refused, and knocks four times a
   second: when is it let in, and when was it told to come?

A step ends when its time is up and every request in flight has been answered.
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
"""Twice the callers that bring less than this times the throughput bring nothing."""
_MOST_CALLERS = 64
_OVER = 10
_KNOCK_SECONDS = 0.25
_REFUSED = (429, 503)


def main() -> int:
    """Runs the steps; gives 0 when all could be run."""
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
    # They come as fast as ten times the capacity would: all in one moment would be a hundredfold.
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
    """Callers who send as soon as they are answered.

    Args:
        url: Of the service.
        callers: How many.
        seconds: After which none sends any more.
        name: For the table.
        spawn_rate: So many callers come each second; absent: all at once.
    """
    environment = Environment(
        user_classes=[Caller], host=url, stop_timeout=TIMEOUT_SECONDS, catch_exceptions=False
    )
    runner = environment.create_local_runner()
    ATTEMPTS.clear()
    began = time.time()
    runner.start(callers, spawn_rate=spawn_rate or callers)
    gevent.sleep(seconds)
    runner.stop()  # each ends what it is at, within stop_timeout
    runner.quit()
    return _describe(name, began, arrivals=None)


def _open_loop(url: str, rate: float, seconds: float) -> dict[str, Any]:
    """Requests at a fixed rate, and one caller afterwards who finds out what a promise is worth."""
    environment = Environment(user_classes=[Caller], host=url)
    ATTEMPTS.clear()
    began, count = time.time(), 0
    sent: list[gevent.Greenlet] = []
    while time.time() < began + seconds:
        sent.append(gevent.spawn(_arrive, environment, streams=count % 2 == 0))
        count += 1
        gevent.sleep(max(began + count / rate - time.time(), 0))
    promise = _knock(environment)
    gevent.joinall(sent, timeout=TIMEOUT_SECONDS + 10)
    hung = sum(not greenlet.ready() for greenlet in sent)
    step = _describe(f"{rate:.1f} arrivals/s (10x)", began, arrivals=rate)
    return step | {"hung": hung, "promise": promise}


def _arrive(environment: Environment, *, streams: bool) -> Attempt:
    """One request on a connection of its own."""
    events = environment.events.request
    with HttpSession(base_url=environment.host, request_event=events, user=None) as session:
        return attempt(session, streams=streams)


def _knock(environment: Environment) -> dict[str, float] | None:
    """Asks, and asks again without waiting, until let in; None where it is not refused at all."""
    began = asked = time.time()
    found = _arrive(environment, streams=False)
    promised = found.retry_after_seconds
    if promised is None:
        return None
    while found.status in _REFUSED and time.time() < began + TIMEOUT_SECONDS:
        gevent.sleep(_KNOCK_SECONDS)
        asked = time.time()
        found = _arrive(environment, streams=False)
    return {"promised_seconds": promised, "admitted_after_seconds": asked - began}


def _describe(name: str, began: float, *, arrivals: float | None) -> dict[str, Any]:
    """What a step's attempts amount to."""
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
        "promise": None,
    }


def _present(attempts: list[Attempt], name: str) -> list[float]:
    return [value for a in attempts if (value := getattr(a, name)) is not None]


def _percentiles(values: list[float]) -> dict[str, float] | None:
    """By nearest rank, so that each is a value that somebody had."""
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
