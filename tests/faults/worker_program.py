"""Work until killed: ``python -m tests.faults.worker_program URL FOLDER [SECONDS] [NAME]``.

The program works on the jobs of a database until SIGTERM or its death. A recording's text sets its
outcome: ``sleep S`` takes S seconds, ``poison`` kills the process as a fault in a native library
does. Each begin and each result that was stored is a line in ``FOLDER/begun.log`` and
``FOLDER/stored.log``, written with one call each, so that lines of several workers do not mix and
survive the kill.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from service.item_processing import ItemProcessor
from service.jobs.running.job_queue import JobQueue
from service.jobs.running.job_worker import WorkerOptions
from service.jobs.store.job_database import open_job_database
from service.observability.logging import configure_logging
from tests.unit.service.jobs.jobs_at_hand import open_in, written

OPTIONS = WorkerOptions(
    concurrency=8, polling_seconds=0.05, most_tries=4, retry_delays_seconds=(0.2, 0.5, 1.0)
)


def note(file, text):
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


async def main(url, folder, name):
    configure_logging("info", form="json")
    folder = Path(folder)
    objects = open_in(folder)

    async def transcribe(path, options, caller, on_length):
        kind, *argument = path.read_text().split()
        if kind == "poison":
            await asyncio.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(float(argument[0]))
        return written(options=options)

    async def fetch(reference, path):
        """Fetch an input as soon as the file ``served`` exists."""
        note(folder / "fetching.log", f"{reference} {time.time():.3f} {name}")
        while not (folder / "served").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        path.write_text("sleep 0")

    worker = ItemProcessor(objects, transcribe, fetchers={"url": fetch}, folder=folder)
    put = objects.put

    async def noted_put(key, content):
        await put(key, content)
        note(folder / "stored.log", f"{key} {time.time():.3f} {name}")

    objects.put = noted_put

    async def do(item, job, hooks):
        note(folder / "begun.log", f"{item.result_key} {time.time():.3f} {name}")
        return await worker.process(item, job, hooks)

    queue = JobQueue(open_job_database(url), objects, worker=OPTIONS)
    await queue.start(do)
    note(folder / "ready.log", f"{name} {time.time():.3f}")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await queue.close(grace_seconds=60.0)  # running items end, and are recorded


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
