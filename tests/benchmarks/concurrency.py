"""How a running server does with several recordings at once; as JSON.

python -m tests.benchmarks.concurrency RECORDING [--address http://127.0.0.1:8000] [--callers 8]
"""

import argparse
import concurrent.futures
import json
import pathlib
import time

import httpx


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", type=pathlib.Path)
    parser.add_argument("--address", default="http://127.0.0.1:8000")
    parser.add_argument("--callers", type=int, default=8)
    arguments = parser.parse_args()
    content = arguments.recording.read_bytes()

    def call(_):
        began = time.perf_counter()
        response = httpx.post(
            f"{arguments.address}/v1/transcriptions",
            content=content,
            headers={"Content-Type": "application/octet-stream"},
            timeout=None,
        )
        response.raise_for_status()
        document = response.json()
        return time.perf_counter() - began, document["duration_seconds"], len(document["notes"])

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(arguments.callers) as callers:
        answers = list(callers.map(call, range(arguments.callers)))
    seconds = time.perf_counter() - began
    audio_seconds = sum(answer[1] for answer in answers)
    print(
        json.dumps(
            {
                "callers": arguments.callers,
                "audio_seconds": round(audio_seconds, 1),
                "seconds": round(seconds, 2),
                "times_real_time": round(audio_seconds / seconds, 2),
                "seconds_of_each": sorted(round(answer[0], 1) for answer in answers),
                "notes_of_each": sorted({answer[2] for answer in answers}),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
