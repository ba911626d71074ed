"""The decoding process returns the same samples and cannot break its parent."""

import gc
import math
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
import soundfile

from mt3_model.audio import isolation, process_messages, reading_process
from mt3_model.audio.process_messages import ReadingOptions
from mt3_model.audio.recording import AudioWarning, ReadingLimits, RecordingInfo, TimeRange
from mt3_model.errors import (
    AudioEmptyError,
    AudioError,
    AudioFormatError,
    AudioLimitError,
    DecoderKilledError,
    DecoderStartError,
    OptionError,
)
from tests.unit.audio.encoded_recordings import sine, write_film, write_kind, write_sound
from tests.unit.audio.in_process import read_recording

pytestmark = pytest.mark.slow

TARGET = 16_000
MEBIBYTE = 1 << 20


def open_it(path: pathlib.Path, **options) -> isolation.Recording:
    return isolation.open_recording(path, sample_rate=TARGET, **options)


def memory_bytes(pid: int, field: str) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1_024
    raise LookupError(field)


def fork_server() -> psutil.Process:
    (server,) = psutil.Process().children()
    return server


def children() -> set[int]:
    """The decoding processes: the children of the fork server."""
    return {child.pid for child in fork_server().children()}


def open_descriptors() -> list[str]:
    return sorted(each.name for each in pathlib.Path("/proc/self/fd").iterdir())


def child_of(recording: isolation.Recording) -> int:
    return recording._decoder._process.pid


@pytest.mark.parametrize("kind", ["wav", "wav_float", "flac", "mp3", "ogg", "m4a", "webm"])
def test_the_child_returns_the_samples_of_this_process(tmp_path, kind):
    path = write_kind(tmp_path / "song", kind, seconds=2.0)
    expected = read_recording(path).samples
    with open_it(path) as recording:
        found = np.concatenate([*recording.blocks()])
    np.testing.assert_array_equal(found, expected)
    assert recording.seconds == len(expected) / TARGET
    assert recording.info.channels == 2
    assert recording.warnings == ()


@pytest.mark.shared
def test_golden_files_pass_bit_for_bit(shared_folder):
    for path in sorted((shared_folder / "golden").glob("*.flac")):
        expected, rate = soundfile.read(path, dtype="float32")
        assert rate == TARGET
        with open_it(path) as recording:
            np.testing.assert_array_equal(np.concatenate([*recording.blocks()]), expected)


def test_a_range_and_warnings_pass_between_the_processes(tmp_path):
    samples = sine(3.0, TARGET, channels=1)
    samples[2 * TARGET] = np.nan
    path = write_sound(tmp_path / "song", samples, rate=TARGET, subtype="FLOAT")
    with open_it(path, start=1.0, end=2.5) as recording:
        found = np.concatenate([*recording.blocks()])
    samples[2 * TARGET] = 0
    np.testing.assert_array_equal(found, samples[TARGET : 5 * TARGET // 2, 0])
    assert recording.seconds == 1.5
    assert [(each.code, each.start) for each in recording.warnings] == [("non_finite_samples", 2.0)]


def test_errors_keep_their_class(tmp_path):
    def read(path, **options):
        with open_it(path, **options) as recording:
            return [*recording.blocks()]

    text = tmp_path / "song.wav"
    text.write_text("no sound")
    tone = write_sound(tmp_path / "tone", sine(1.0))
    with pytest.raises(AudioFormatError, match="text"):
        read(text)
    with pytest.raises(AudioFormatError, match="no sound in it"):
        read(write_film(tmp_path / "film"))
    with pytest.raises(AudioEmptyError, match=r"start is 1\.5 s"):
        read(tone, start=1.5)
    with pytest.raises(AudioLimitError, match=r"limit is 0\.5 s"):
        read(tone, limits=ReadingLimits(max_seconds=0.5))
    with pytest.raises(OptionError):
        read(tone, start=-1.0)
    with pytest.raises(AudioFormatError, match="No such file"):
        read(tmp_path / "missing")
    assert children() == set()


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [
        (signal.SIGSEGV, AudioFormatError, r"crashed.*SIGSEGV"),
        (signal.SIGKILL, DecoderKilledError, r"from outside.*try again"),
    ],
)
def test_a_crash_is_an_error_of_the_recording_and_a_kill_is_not(tmp_path, number, error, said):
    path = write_sound(tmp_path / "song", sine(60.0))
    with open_it(path) as recording:
        blocks = recording.blocks()
        next(blocks)
        os.kill(child_of(recording), number)
        with pytest.raises(error, match=said):
            list(blocks)
    assert children() == set()


def test_the_limit_of_processor_time_has_its_own_signal():
    """The limit sends a signal of its own, not the SIGKILL of a kill from outside."""
    program = (
        "from mt3_model.audio import reading_process\n"
        "from mt3_model.audio.recording import ReadingLimits, TimeRange\n"
        "reading_process._CPU_SECONDS = 1\n"
        "reading_process._limit_resources(reading_process.ReadingOptions(sample_rate=1, "
        "time_range=TimeRange(start=0, end=None), limits=ReadingLimits(max_seconds=1)))\n"
        "while True: pass\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], timeout=400, check=False)
    assert ended.returncode == -signal.SIGXCPU


def test_a_stalled_decoder_is_ended(tmp_path):
    path = write_sound(tmp_path / "song", sine(60.0))
    with open_it(path, limits=ReadingLimits(decode_timeout_seconds=2.0)) as recording:
        blocks = recording.blocks()
        next(blocks)
        os.kill(child_of(recording), signal.SIGSTOP)
        with pytest.raises(AudioFormatError, match="sent nothing for 2 s"):
            list(blocks)
    assert children() == set()


def test_a_slow_reader_is_not_a_stall(tmp_path):
    path = write_sound(tmp_path / "song", sine(20.0))
    limits = ReadingLimits(decode_timeout_seconds=2.0)
    with open_it(path, limits=limits) as stalled, open_it(path, limits=limits) as recording:
        blocks = recording.blocks()
        next(blocks)
        os.kill(child_of(stalled), signal.SIGSTOP)
        with pytest.raises(AudioFormatError, match="sent nothing for 2 s"):
            list(stalled.blocks())  # meanwhile, nobody reads the other
        assert sum(len(block) for block in blocks) > 18 * TARGET


def test_a_decoder_without_memory_is_an_audio_error(tmp_path):
    path = write_kind(tmp_path / "song", "m4a")
    with (
        pytest.raises(AudioFormatError),
        open_it(path, limits=ReadingLimits(max_memory_bytes=150 * MEBIBYTE)) as recording,
    ):
        list(recording.blocks())
    assert children() == set()


def test_leaving_early_ends_the_child_at_once(tmp_path):
    path = write_sound(tmp_path / "song", sine(60.0))
    with open_it(path) as recording:
        next(recording.blocks())
        pid = child_of(recording)
    assert not pathlib.Path(f"/proc/{pid}").exists()
    with pytest.raises(AudioFormatError, match="was closed"):
        next(recording.blocks())


def test_collecting_an_unclosed_recording_ends_its_child(tmp_path):
    recording = open_it(write_sound(tmp_path / "song", sine(60.0)))
    pid = child_of(recording)
    recording.itself = recording  # a cycle that only the collector finds, as after a failed task
    del recording
    gc.collect()
    assert not pathlib.Path(f"/proc/{pid}").exists()


def test_another_thread_may_close_it(tmp_path):
    path = write_sound(tmp_path / "song", sine(60.0))
    recording = open_it(path)
    blocks = recording.blocks()
    next(blocks)
    os.kill(child_of(recording), signal.SIGSTOP)
    closer = threading.Timer(0.3, recording.close)
    closer.start()
    with pytest.raises(AudioFormatError, match="was closed"):
        list(blocks)
    closer.join()
    assert children() == set()


def test_twenty_openings_leave_nothing_behind(tmp_path):
    path = write_sound(tmp_path / "song", sine(3.0))
    text = tmp_path / "text"
    text.write_text("no sound")
    with open_it(path) as recording:
        next(recording.blocks())
    gc.collect()
    before = open_descriptors()
    for _ in range(10):
        with open_it(path) as recording:
            next(recording.blocks())
        with pytest.raises(AudioFormatError):
            open_it(text)
    gc.collect()
    assert open_descriptors() == before
    assert children() == set()


def test_a_large_recording_needs_no_more_descriptors_than_a_small_one(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, (2 * TARGET, 4))
    small = write_sound(tmp_path / "small", noise[:100], rate=TARGET, kind="FLAC")
    large = write_sound(tmp_path / "large", noise, rate=TARGET, kind="FLAC", subtype="PCM_24")
    assert large.stat().st_size > 256 << 10  # such a file is opened again for each thread
    with open_it(small) as recording:  # starts the fork server
        list(recording.blocks())
    before = open_descriptors()

    def opens(path: pathlib.Path, descriptors: int) -> bool:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + descriptors, hard))
        try:
            with open_it(path) as recording:
                return bool(list(recording.blocks()))
        except DecoderStartError:
            return False
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    outcomes = [(opens(small, count), opens(large, count)) for count in range(12)]
    assert set(outcomes) == {(False, False), (True, True)}
    assert open_descriptors() == before


def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path):
    path = tmp_path / "song"
    noise = np.random.default_rng(0).standard_normal((60 * 8_000, 1)).astype(np.float32) / 10
    with soundfile.SoundFile(path, "w", 8_000, 1, format="FLAC", subtype="PCM_16") as file:
        for _ in range(60):
            file.write(noise)
    parent = memory_bytes(os.getpid(), "VmRSS")
    with open_it(path) as recording:
        peaks = [
            memory_bytes(child_of(recording), "VmHWM")
            for _ in recording.blocks()
            if round(recording.seconds) in {60, 3_500}
        ]
    assert recording.seconds == 3_600
    # The hour is 230 MB as float32 at 16 kHz; what grows is allocator noise.
    assert peaks[-1] - peaks[0] < 20 * MEBIBYTE
    assert peaks[-1] < 150 * MEBIBYTE
    assert memory_bytes(os.getpid(), "VmRSS") - parent < 50 * MEBIBYTE


def test_the_child_does_not_inherit_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("A_SECRET", "hidden")
    with open_it(write_sound(tmp_path / "song", sine(60.0))) as recording:
        blocks = recording.blocks()
        next(blocks)
        environment = pathlib.Path(f"/proc/{child_of(recording)}/environ").read_bytes()
        blocks.close()
    assert b"hidden" not in environment


def test_the_child_is_limited_and_cannot_gain_privileges(tmp_path):
    with open_it(write_sound(tmp_path / "song", sine(60.0))) as recording:
        blocks = recording.blocks()
        next(blocks)
        folder = pathlib.Path(f"/proc/{child_of(recording)}")
        limits = {
            line[:26].strip(): line[26:].split()[:2]
            for line in (folder / "limits").read_text().splitlines()
        }
        status = (folder / "status").read_text()
        blocks.close()
    assert limits["Max address space"] == [str(2 << 30)] * 2
    assert limits["Max cpu time"] == ["1920", "1925"]
    assert limits["Max file size"] == ["0"] * 2
    assert limits["Max open files"] == ["32"] * 2
    assert limits["Max core file size"] == ["0"] * 2
    assert "NoNewPrivs:\t1" in status


def test_all_recordings_share_one_fork_server(tmp_path):
    path = write_sound(tmp_path / "song", sine(60.0))
    with open_it(path) as first, open_it(path) as second:
        assert child_of(first) != child_of(second)
        assert children() == {child_of(first), child_of(second)}


def test_a_decoding_process_inherits_no_descriptor_of_others(tmp_path):
    path = write_sound(tmp_path / "song", sine(60.0))
    with open_it(path), open_it(path) as second:
        blocks = second.blocks()
        next(blocks)
        opened = pathlib.Path(f"/proc/{child_of(second)}/fd")
        # Input, output, errors, and the decoder's own views of the file.
        assert {str(each.readlink()).partition(":")[0] for each in opened.iterdir()} <= {
            "pipe", os.devnull, str(path),
        }  # fmt: skip


def test_a_request_to_end_is_left_to_the_parent(tmp_path):
    """The system sends it to all processes of a service, which finishes what runs."""
    path = write_sound(tmp_path / "song", sine(60.0))
    with open_it(path) as recording:
        for process in (fork_server(), *fork_server().children()):
            process.terminate()
        assert sum(len(block) for block in recording.blocks()) == 60 * TARGET


def test_a_fork_server_that_dies_takes_its_recordings_along_and_is_replaced(tmp_path):
    path = write_sound(tmp_path / "song", sine(60.0))
    with open_it(path) as recording:
        blocks = recording.blocks()
        next(blocks)
        before = fork_server()
        before.kill()
        with pytest.raises(DecoderKilledError, match="try again"):
            list(blocks)
    with open_it(path) as recording:
        assert sum(len(block) for block in recording.blocks()) == 60 * TARGET
    assert fork_server() != before
    assert children() == set()


def test_a_fork_server_that_died_meanwhile_is_replaced(tmp_path):
    path = write_sound(tmp_path / "song", sine(1.0))
    with open_it(path):
        before = fork_server()
    before.kill()
    with open_it(path) as recording:
        assert sum(len(block) for block in recording.blocks()) == TARGET
    assert fork_server() != before


def test_the_death_of_a_process_ends_its_fork_server_and_decoders(tmp_path):
    path = write_sound(tmp_path / "song", sine(60.0))
    program = (
        "import pathlib, sys\n"
        "from mt3_model.audio import isolation\n"
        "recording = isolation.open_recording(pathlib.Path(sys.argv[1]), sample_rate=16_000)\n"
        "print(recording.info.channels, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout.readline() == b"2\n"
        below = psutil.Process(parent.pid).children(recursive=True)
        assert len(below) == 2
        parent.kill()
    _, alive = psutil.wait_procs(below, timeout=400)
    assert alive == []


def test_a_fork_of_a_process_has_a_fork_server_of_its_own(tmp_path):
    """A library's user may fork workers after a first recording."""
    path = write_sound(tmp_path / "song", sine(1.0))
    program = (
        "import os, pathlib, sys\n"
        "from mt3_model.audio import isolation\n"
        "def read():\n"
        "    with isolation.open_recording(pathlib.Path(sys.argv[1]), sample_rate=16_000) as it:\n"
        "        return sum(len(block) for block in it.blocks())\n"
        "first = read()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    sys.exit(read() != first)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert read() == first\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(path)], check=True, timeout=400
    )


def test_options_survive_as_text():
    options = ReadingOptions(
        sample_rate=TARGET, time_range=TimeRange(start=1.25, end=None), limits=ReadingLimits()
    )
    assert ReadingOptions.from_argument(options.to_argument()) == options
    # 120 s, and a quarter of the 7,200 s allowed and of the 1.25 s before them.
    assert reading_process.cpu_seconds(options) == 1_920


@pytest.mark.parametrize("max_seconds", [math.inf, 1e308])
def test_a_recording_is_read_if_its_length_is_not_limited(tmp_path, max_seconds):
    path = write_kind(tmp_path / "song", "wav", seconds=0.5)
    limits = ReadingLimits(max_seconds=max_seconds)
    with open_it(path, limits=limits) as recording:
        assert sum(len(block) for block in recording.blocks()) > 0


def test_an_invalid_message_is_an_audio_error():
    with pytest.raises(AudioFormatError, match="invalid message"):
        process_messages.unpack_header(b"Z\x00\x00\x00\x00")
    with pytest.raises(AudioFormatError, match="invalid message"):
        process_messages.unpack_header(b"B\xff\xff\xff\xff")
    with pytest.raises(AudioFormatError, match="invalid message"):
        process_messages.unpack_block(b"123")
    for payload in (b"", b"[]", b"{}", b"\xff", b'{"sample_rate": "x"}'):
        with pytest.raises(AudioFormatError, match="invalid message"):
            process_messages.unpack_info(payload)
    for payload in (b"", b"7", b"[{}]", b'["x"]', b"\xff"):
        with pytest.raises(AudioFormatError, match="invalid message"):
            process_messages.unpack_end(payload)


def test_what_is_packed_is_unpacked():
    info = RecordingInfo(
        sample_rate=8_000, channels=1, duration_seconds=None, container="aac", codec="aac"
    )
    warning = AudioWarning(code="truncated_audio", message="breaks off", start=1.0)
    header = process_messages.HEADER.size
    assert process_messages.unpack_info(process_messages.pack_info(info)[header:]) == info
    assert process_messages.unpack_end(process_messages.pack_end((warning,))[header:]) == (warning,)
    error = process_messages.unpack_error(
        process_messages.pack_error(AudioLimitError("too long"))[header:]
    )
    assert isinstance(error, AudioLimitError)
    assert str(error) == "too long"
    assert isinstance(error, AudioError)


def test_a_recording_that_lives_until_the_interpreter_ends_leaves_no_error(tmp_path):
    path = write_sound(tmp_path / "song", sine(60.0))
    program = (
        "import pathlib, sys\n"
        "from mt3_model.audio import decoder_process, isolation\n"
        "recording = isolation.open_recording(pathlib.Path(sys.argv[1]), sample_rate=16_000)\n"
        # Freed only after this module's own imports are gone.
        "decoder_process.kept = recording\n"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program, path], check=True, capture_output=True, text=True
    )
    assert ended.stderr == ""


def test_the_fork_server_does_not_load_large_modules():
    """They would take half of its start, and memory in each of its children."""
    program = (
        "import sys, mt3_model.audio.fork_server\n"
        "assert not {'jaxtyping', 'jax', 'numba', 'librosa', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True)
