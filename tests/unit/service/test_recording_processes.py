"""Processes work on recordings as this process does, and are replaced when they die."""

import contextlib
import functools
import itertools
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
import soundfile

from mt3_model.audio.recording import ReadingLimits
from mt3_model.errors import AudioFormatError, DecoderKilledError, OptionError, ScorePagesError
from mt3_model.export.formats import ExportFormat, export
from mt3_model.export.record import from_record, to_record
from mt3_model.notes.transcription import TranscriptionOptions
from mt3_model.spec import MT3
from service.engine.fake_backend import FakeBackend
from service.recordings.processes import RecordingProcesses
from service.recordings.work import (
    Generation,
    LocalRecordingWork,
    PackedTokens,
    RecordingRequest,
)
from tests.unit.service.transcribing import MODEL, transcribing, write
from tests.waiting import until, wait_until

pytestmark = pytest.mark.slow

FAKE = FakeBackend(MT3)


def request(folder, seconds=9.0, **options):
    path = folder / f"{seconds}.wav"
    times = np.arange(round(seconds * 16_000)) / 16_000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * times).astype(np.float32), 16_000)
    return RecordingRequest(
        path=path, options=TranscriptionOptions(**options), spec=MT3, limits=ReadingLimits()
    )


def read_all(work, count=2):
    batches = iter(lambda: work.read(count).segments, ())
    return [*itertools.chain.from_iterable(batches)]


GENERATION = Generation(model=MODEL, queue_seconds=1.0, wall_seconds=2.0)


def add_tokens(work, segments):
    """Add the tokens of all segments, in two parts."""
    tokens = [FAKE.generate(segment.index) for segment in segments]
    work.add(PackedTokens.pack(tokens[:2]))
    work.add(PackedTokens.pack(tokens[2:]))


@contextlib.contextmanager
def generated_work(processes, folder):
    """The work on a recording whose segments have their tokens."""
    with contextlib.closing(processes.open_work(request(folder))) as work:
        work.open()
        add_tokens(work, read_all(work))
        yield work


def result_of(work):
    with contextlib.closing(work):
        info = work.open()
        segments = read_all(work)
        add_tokens(work, segments)
        return info, segments, work.conclude(GENERATION)


def same(one, other):
    """Return whether two results are equal, samples included."""
    for ours, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(ours.samples, theirs.samples)
        assert (ours.index, ours.frames) == (theirs.index, theirs.frames)
        assert ours.start_time == theirs.start_time
    return (one[0], one[2]) == (other[0], other[2])


def workers():
    return [
        child
        for child in psutil.Process().children()
        if "service.recordings.processes" in child.cmdline()
    ]


@pytest.fixture
def processes():
    made = RecordingProcesses(1)
    yield made
    made.close()
    assert workers() == []


@pytest.mark.parametrize("quality", ["standard", "high"])
def test_a_process_works_as_this_one_does_and_is_used_again(processes, tmp_path, quality):
    asked = request(tmp_path, quality=quality)
    here = result_of(LocalRecordingWork(asked))
    assert here[2].notes.notes
    assert here[2].velocity == "estimated"  # from the sound
    assert same(result_of(processes.open_work(asked)), here)
    (first,) = workers()
    assert same(result_of(processes.open_work(asked)), here)
    assert workers() == [first]


def test_a_process_writes_the_answer(processes, tmp_path):
    asked = request(tmp_path)
    expected = result_of(LocalRecordingWork(asked))[2]
    with contextlib.closing(processes.open_work(asked)) as work:
        work.open()
        add_tokens(work, read_all(work))
        midi = functools.partial(
            export, export_format=ExportFormat.MIDI, transcription_id="tr_1", created=0
        )
        assert work.write(GENERATION, midi).content == midi(expected)
        written = work.write(GENERATION, to_record)
    assert from_record(written.content) == expected
    assert written.notes == len(expected.notes.notes)
    assert (written.usage, written.warnings) == (expected.usage, expected.warnings)


@pytest.mark.parametrize("dies_after", ["open", "read", "conclude"])
def test_the_work_of_a_process_that_died_is_done_by_another(
    processes, tmp_path, dies_after, caplog
):
    asked = request(tmp_path)
    here = result_of(LocalRecordingWork(asked))
    (first,) = kill_after(dies_after, processes, asked, here)
    (second,) = workers()
    assert first != second
    assert same(result_of(processes.open_work(asked)), here)
    assert workers() == [second]
    (record,) = caplog.records
    assert record.message == "recording_process_died"
    assert record.event_fields == {"process": first.pid, "exit_status": -signal.SIGKILL}


def kill_worker():
    (worker,) = workers()
    worker.kill()
    return worker


def test_a_recording_on_which_two_processes_end_is_refused(processes, tmp_path):
    with contextlib.closing(processes.open_work(request(tmp_path))) as work:
        work.open()
        kill_worker()
        work.read(1)
        kill_worker()
        for _ in range(2):
            with pytest.raises(DecoderKilledError, match="try again"):
                work.read(1)
    assert workers() == []
    assert same(
        result_of(processes.open_work(request(tmp_path))),
        result_of(LocalRecordingWork(request(tmp_path))),
    )


@pytest.mark.parametrize("content", [b"", bytes(1 << 20)], ids=["short", "long"])
def test_a_process_that_hangs_is_replaced(tmp_path, content):
    # Longer than a process takes to start beside other tests.
    processes = RecordingProcesses(1, hung_seconds=3.0)
    with contextlib.closing(processes):
        with contextlib.closing(processes.open_work(request(tmp_path))) as work:
            work.open()
            add_tokens(work, read_all(work))
            (first,) = workers()
            first.suspend()
            # A long message cannot even be sent.
            written = work.write(GENERATION, functools.partial(constant, content))
            assert written.content == content
        (second,) = workers()
        assert first != second


def test_a_process_that_starts_slowly_is_waited_for(tmp_path, monkeypatch):
    start_with(f'sleep 5\nexec "{sys.executable}" "$@"', tmp_path, monkeypatch)
    with (
        contextlib.closing(RecordingProcesses(1, hung_seconds=2.0)) as processes,
        contextlib.closing(processes.open_work(request(tmp_path))) as work,
    ):
        assert work.open().channels == 1


def test_closing_does_not_wait_for_a_process_that_starts(tmp_path, monkeypatch):
    start_with('echo > "$0.begun"\nexec sleep 1000', tmp_path, monkeypatch)
    processes = RecordingProcesses(1)
    starting = threading.Thread(target=processes.start)
    starting.start()
    wait_until((tmp_path / "python.begun").exists)
    processes.close()
    starting.join()


def start_with(commands, folder, monkeypatch):
    """Run shell commands in place of Python, in processes that are started from now on."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{commands}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def constant(content, _transcription):
    return content


def test_a_signal_to_end_is_left_to_the_server(processes, tmp_path):
    asked = request(tmp_path)
    with contextlib.closing(processes.open_work(asked)) as work:
        info = work.open()
        (first,) = workers()
        for process in (first, *first.children()):
            process.terminate()
        segments = read_all(work)
        add_tokens(work, segments)
        concluded = work.conclude(GENERATION)
    assert same((info, segments, concluded), result_of(LocalRecordingWork(asked)))
    assert workers() == [first]


def test_the_processes_of_a_killed_server_end_quietly(tmp_path):
    asked = request(tmp_path, 60.0)
    done = subprocess.run(
        [sys.executable, "-c", KILLED_SERVER, asked.path], capture_output=True, check=False
    )  # returns when the recording process has closed standard error too
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b"opened twice\n"
    assert b"Traceback" not in done.stderr


KILLED_SERVER = """
import os, signal, sys, pathlib
from tests.unit.service.test_recording_processes import *

processes = RecordingProcesses(1)
asked = RecordingRequest(
    path=pathlib.Path(sys.argv[1]), options=TranscriptionOptions(), spec=MT3, limits=ReadingLimits()
)
processes.open_work(asked).open()
kill_worker()
work = processes.open_work(asked)  # in a process whose start was not waited for
work.open()
print("opened twice", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_does_not_start_is_an_error(processes, monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(ChildProcessError, match="MT3_RECORDING_PROCESSES"):
        processes.start()


def kill_after(dies_after, processes, asked, expected):
    """Work on a recording, and kill the process meanwhile."""

    def kill():
        killed.append(kill_worker())

    killed = []
    with contextlib.closing(processes.open_work(asked)) as work:
        info = work.open()
        if dies_after == "open":
            kill()
        segments = [*work.read(2).segments]
        if dies_after == "read":
            kill()
        segments += read_all(work)
        add_tokens(work, segments)
        if dies_after == "conclude":
            kill()
        assert same((info, segments, work.conclude(GENERATION)), expected)
    return killed


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [({}, AudioFormatError, "not audio"), ({"postprocess": "octave"}, OptionError, "octave")],
)
def test_an_error_of_the_work_is_raised_here(processes, tmp_path, options, error, message):
    asked = request(tmp_path, **options)
    if error is AudioFormatError:
        asked.path.write_bytes(b"no audio")
    with contextlib.closing(processes.open_work(asked)) as work:
        with pytest.raises(error, match=message) as caught:
            work.open()
        assert error is AudioFormatError or caught.value.parameter == "postprocess"
    assert len(workers()) == 1


def test_an_unforeseen_error_says_where_it_came_from(processes, tmp_path):
    with generated_work(processes, tmp_path) as work, pytest.raises(TypeError) as caught:
        work.write(GENERATION, len)
    assert "work.py" in caught.value.__notes__[0]


class DemandingError(Exception):
    """An error that pickle cannot restore."""

    def __init__(self, *, reason):
        super().__init__(reason)


def fail_demandingly(_transcription):
    raise DemandingError(reason="no ink")


def test_an_error_that_cannot_be_sent_is_sent_as_text(processes, tmp_path):
    with (
        generated_work(processes, tmp_path) as work,
        pytest.raises(RuntimeError, match="DemandingError: no ink"),
    ):
        work.write(GENERATION, fail_demandingly)
    assert len(workers()) == 1


def fail_for_a_reason(_transcription):
    raise ScorePagesError("no pages") from ValueError("no ink")


def test_the_cause_of_an_error_is_noted(processes, tmp_path):
    with (
        generated_work(processes, tmp_path) as work,
        pytest.raises(ScorePagesError) as caught,
    ):
        work.write(GENERATION, fail_for_a_reason)
    assert "ValueError: no ink" in caught.value.__notes__[0]


def decoders():
    return [
        process
        for worker in workers()
        for server in worker.children()
        for process in server.children()
    ]


async def test_closing_a_recording_ends_its_decoder(processes, tmp_path):
    work = processes.open_work(request(tmp_path, 600.0))
    work.open()
    assert len(decoders()) == 1
    work.close()
    work.close()
    await until(lambda: not decoders())


def test_without_processes_this_one_works(tmp_path):
    none = RecordingProcesses(0)
    none.start()
    asked = request(tmp_path)
    assert same(result_of(none.open_work(asked)), result_of(LocalRecordingWork(asked)))
    assert workers() == []
    none.close()


def test_after_the_end_this_process_works(processes, tmp_path):
    processes.start()
    processes.close()
    asked = request(tmp_path)
    assert same(result_of(processes.open_work(asked)), result_of(LocalRecordingWork(asked)))
    processes.close()


@pytest.mark.parametrize("is_open", [False, True])
def test_after_the_end_no_process_starts(processes, tmp_path, is_open):
    with contextlib.closing(processes.open_work(request(tmp_path))) as work:
        if is_open:
            work.open()
        processes.close()
        with pytest.raises(DecoderKilledError):
            work.read(1) if is_open else work.open()
    assert workers() == []


def test_recordings_are_shared_out(tmp_path):
    asked = request(tmp_path, 60.0)
    two = RecordingProcesses(2)
    two.start()
    with contextlib.ExitStack() as stack:
        stack.callback(two.close)
        for _ in range(4):
            work = stack.enter_context(contextlib.closing(two.open_work(asked)))
            work.open()
        assert sorted(len(worker.children()[0].children()) for worker in workers()) == [2, 2]


async def test_a_transcriber_gets_the_same_from_processes(processes, tmp_path):
    path = write(tmp_path, 9.0)
    async with transcribing() as here, transcribing(open_work=processes.open_work) as there:
        expected = await here.transcribe(path, TranscriptionOptions())
        served = await there.transcribe(path, TranscriptionOptions())
        written = await there.write(path, TranscriptionOptions(), write=to_record)
    assert served.notes == from_record(written.content).notes == expected.notes
    assert served.warnings == written.warnings == expected.warnings
