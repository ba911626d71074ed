"""Write the score as `demo.ogg`, and as `demo.mid`, its exact reference.

    python -m tests.demo.make_recording

Both are committed; run it after a change of the score or the synthesis.
"""

from pathlib import Path

import mido
import numpy as np
import soundfile

from tests.demo.score import BEATS_PER_MINUTE, Part, compose
from tests.demo.synthesis import SAMPLE_RATE, render

FOLDER = Path(__file__).parent
_TICKS_PER_BEAT = 480
_DRUM_CHANNEL = 9


def make_midi(parts: tuple[Part, ...]) -> mido.MidiFile:
    """Return the score as a Standard MIDI File, format 1, with one track for each part."""
    file = mido.MidiFile(type=1, ticks_per_beat=_TICKS_PER_BEAT)
    tempo = mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(BEATS_PER_MINUTE))
    file.tracks.append(mido.MidiTrack([tempo]))
    for channel, part in enumerate(parts):
        file.tracks.append(_make_track(part, _DRUM_CHANNEL if part.is_drum else channel))
    return file


def _make_track(part: Part, channel: int) -> mido.MidiTrack:
    # (tick, note-off before note-on, pitch, velocity)
    events: list[tuple[int, int, int, int]] = []
    for note in part.notes:
        start, length = note.start * _TICKS_PER_BEAT, note.length * _TICKS_PER_BEAT
        assert start.is_integer()
        assert length.is_integer()
        events.append((int(start), 1, note.pitch, note.velocity))
        events.append((int(start + length), 0, note.pitch, 0))
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=part.name)])
    track.append(mido.Message("program_change", channel=channel, program=part.program))
    now = 0
    for tick, is_on, pitch, velocity in sorted(events):
        kind = "note_on" if is_on else "note_off"
        track.append(
            mido.Message(kind, channel=channel, note=pitch, velocity=velocity, time=tick - now)
        )
        now = tick
    return track


def write_recording(sound: np.ndarray, file: Path) -> None:
    """Write `[N, 2]` samples as Ogg Vorbis, block by block."""
    with soundfile.SoundFile(
        file, "w", SAMPLE_RATE, sound.shape[1], format="OGG", subtype="VORBIS"
    ) as stream:
        # One large write overflows libvorbis's stack.
        for first in range(0, len(sound), SAMPLE_RATE):
            stream.write(sound[first : first + SAMPLE_RATE])


def main() -> None:
    """Write both files beside this one."""
    parts = compose()
    make_midi(parts).save(FOLDER / "demo.mid")
    write_recording(render(parts), FOLDER / "demo.ogg")


if __name__ == "__main__":
    main()
