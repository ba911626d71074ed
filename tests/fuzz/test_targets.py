"""Every target with its seeds and once-breaking inputs; the long runs are in `tests.fuzz`."""

import re
import subprocess
import sys

import pytest

from tests.fuzz.targets import audio_reading, audio_structure, fuzzing, multipart, options

TARGETS = {
    "options": options, "multipart": multipart, "audio_structure": audio_structure,
    "audio_reading": audio_reading,
}  # fmt: skip
# Target, minimized input.
ONCE_BROKEN = [
    # What came before the first boundary was skipped in one piece and refused in two.
    (
        "multipart",
        b'\x01;boundary=B\n\r\x00--B\r\nContent-Disposition:;name="file"\r\n\r\n\r\n--B--',
    ),
]


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_break_nothing(name):
    for seed in TARGETS[name].seeds():
        TARGETS[name].check(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_an_empty_input_breaks_nothing(name):
    TARGETS[name].check(b"")


@pytest.mark.parametrize(("name", "data"), ONCE_BROKEN)
def test_an_input_that_once_broke_a_target_passes(name, data):
    TARGETS[name].check(data)


@pytest.mark.skipif(sys.platform != "linux", reason="atheris is Linux's")
@pytest.mark.parametrize("name", TARGETS)
def test_each_target_runs_alone(name, tmp_path):
    pytest.importorskip("atheris", reason="has no wheel for this Python")
    # Through a shell that forks again: libFuzzer limits peak memory (ru_maxrss), which a process
    # inherits from the one that starts it, and pytest's own peak may be over that limit.
    finished = subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh",
         sys.executable, "-m", f"tests.fuzz.targets.{name}", "-runs=200", "-seed=1",
         f"-artifact_prefix={tmp_path}/"],
        capture_output=True, text=True, errors="replace", timeout=400, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr[-2_000:]
    # A few more than asked for: libFuzzer ends after the mutations of one input.
    done = re.search(r"^Done (\d+) runs", finished.stderr, re.MULTILINE)
    assert done is not None, finished.stderr[-2_000:]
    assert int(done[1]) >= 200


def test_an_input_is_cut_down_to_what_breaks():
    def check(data):
        if b"a" in data and data.endswith(b"z"):
            raise fuzzing.Violation("both")

    assert fuzzing.smallest(check, b"xxaxxyyyaz") == b"az"
