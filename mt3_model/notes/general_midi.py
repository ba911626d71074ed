"""The General MIDI names of programs, program families and percussion keys.

Source: MIDI Manufacturers Association, General MIDI System Level 1 (RP-003), tables 1 to 3;
programs are zero-based here, as in MIDI messages; the tables print them from 1.
"""

from collections.abc import Mapping
from types import MappingProxyType

PROGRAMS_PER_FAMILY = 8

_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Piano",
        (
            "Acoustic Grand Piano",
            "Bright Acoustic Piano",
            "Electric Grand Piano",
            "Honky-tonk Piano",
            "Electric Piano 1",
            "Electric Piano 2",
            "Harpsichord",
            "Clavinet",
        ),
    ),
    (
        "Chromatic Percussion",
        (
            "Celesta",
            "Glockenspiel",
            "Music Box",
            "Vibraphone",
            "Marimba",
            "Xylophone",
            "Tubular Bells",
            "Dulcimer",
        ),
    ),
    (
        "Organ",
        (
            "Drawbar Organ",
            "Percussive Organ",
            "Rock Organ",
            "Church Organ",
            "Reed Organ",
            "Accordion",
            "Harmonica",
            "Tango Accordion",
        ),
    ),
    (
        "Guitar",
        (
            "Acoustic Guitar (nylon)",
            "Acoustic Guitar (steel)",
            "Electric Guitar (jazz)",
            "Electric Guitar (clean)",
            "Electric Guitar (muted)",
            "Overdriven Guitar",
            "Distortion Guitar",
            "Guitar Harmonics",
        ),
    ),
    (
        "Bass",
        (
            "Acoustic Bass",
            "Electric Bass (finger)",
            "Electric Bass (pick)",
            "Fretless Bass",
            "Slap Bass 1",
            "Slap Bass 2",
            "Synth Bass 1",
            "Synth Bass 2",
        ),
    ),
    (
        "Strings",
        (
            "Violin",
            "Viola",
            "Cello",
            "Contrabass",
            "Tremolo Strings",
            "Pizzicato Strings",
            "Orchestral Harp",
            "Timpani",
        ),
    ),
    (
        "Ensemble",
        (
            "String Ensemble 1",
            "String Ensemble 2",
            "Synth Strings 1",
            "Synth Strings 2",
            "Choir Aahs",
            "Voice Oohs",
            "Synth Voice",
            "Orchestra Hit",
        ),
    ),
    (
        "Brass",
        (
            "Trumpet",
            "Trombone",
            "Tuba",
            "Muted Trumpet",
            "French Horn",
            "Brass Section",
            "Synth Brass 1",
            "Synth Brass 2",
        ),
    ),
    (
        "Reed",
        (
            "Soprano Sax",
            "Alto Sax",
            "Tenor Sax",
            "Baritone Sax",
            "Oboe",
            "English Horn",
            "Bassoon",
            "Clarinet",
        ),
    ),
    (
        "Pipe",
        (
            "Piccolo",
            "Flute",
            "Recorder",
            "Pan Flute",
            "Blown Bottle",
            "Shakuhachi",
            "Whistle",
            "Ocarina",
        ),
    ),
    (
        "Synth Lead",
        (
            "Lead 1 (square)",
            "Lead 2 (sawtooth)",
            "Lead 3 (calliope)",
            "Lead 4 (chiff)",
            "Lead 5 (charang)",
            "Lead 6 (voice)",
            "Lead 7 (fifths)",
            "Lead 8 (bass + lead)",
        ),
    ),
    (
        "Synth Pad",
        (
            "Pad 1 (new age)",
            "Pad 2 (warm)",
            "Pad 3 (polysynth)",
            "Pad 4 (choir)",
            "Pad 5 (bowed)",
            "Pad 6 (metallic)",
            "Pad 7 (halo)",
            "Pad 8 (sweep)",
        ),
    ),
    (
        "Synth Effects",
        (
            "FX 1 (rain)",
            "FX 2 (soundtrack)",
            "FX 3 (crystal)",
            "FX 4 (atmosphere)",
            "FX 5 (brightness)",
            "FX 6 (goblins)",
            "FX 7 (echoes)",
            "FX 8 (sci-fi)",
        ),
    ),
    (
        "Ethnic",
        (
            "Sitar",
            "Banjo",
            "Shamisen",
            "Koto",
            "Kalimba",
            "Bagpipe",
            "Fiddle",
            "Shanai",
        ),
    ),
    (
        "Percussive",
        (
            "Tinkle Bell",
            "Agogo",
            "Steel Drums",
            "Woodblock",
            "Taiko Drum",
            "Melodic Tom",
            "Synth Drum",
            "Reverse Cymbal",
        ),
    ),
    (
        "Sound Effects",
        (
            "Guitar Fret Noise",
            "Breath Noise",
            "Seashore",
            "Bird Tweet",
            "Telephone Ring",
            "Helicopter",
            "Applause",
            "Gunshot",
        ),
    ),
)

FAMILY_NAMES: tuple[str, ...] = tuple(family for family, _ in _FAMILIES)
"""The 16 families, indexed by ``program // 8``."""

PROGRAM_NAMES: tuple[str, ...] = tuple(name for _, names in _FAMILIES for name in names)
"""The 128 programs, indexed by program, 0-127."""

_FIRST_DRUM_KEY = 35
_DRUM_NAMES = (
    "Acoustic Bass Drum, Bass Drum 1, Side Stick, Acoustic Snare, Hand Clap, Electric Snare, "
    "Low Floor Tom, Closed Hi Hat, High Floor Tom, Pedal Hi Hat, Low Tom, Open Hi Hat, "
    "Low-Mid Tom, Hi-Mid Tom, Crash Cymbal 1, High Tom, Ride Cymbal 1, Chinese Cymbal, Ride Bell, "
    "Tambourine, Splash Cymbal, Cowbell, Crash Cymbal 2, Vibraslap, Ride Cymbal 2, Hi Bongo, "
    "Low Bongo, Mute Hi Conga, Open Hi Conga, Low Conga, High Timbale, Low Timbale, High Agogo, "
    "Low Agogo, Cabasa, Maracas, Short Whistle, Long Whistle, Short Guiro, Long Guiro, Claves, "
    "Hi Wood Block, Low Wood Block, Mute Cuica, Open Cuica, Mute Triangle, Open Triangle"
)
DRUM_NAMES: Mapping[int, str] = MappingProxyType(
    dict(enumerate(_DRUM_NAMES.split(", "), start=_FIRST_DRUM_KEY))
)
"""Percussion key, 35-81, -> name."""

DRUM_GROUPS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "kick": (35, 36),
        "snare": (37, 38, 39, 40),
        "hat": (42, 44, 46),
        "tom": (41, 43, 45, 47, 48, 50),
        "cymbal": (49, 51, 52, 53, 55, 57, 59),
    }
)
"""The percussion keys of a drum kit by kind."""


def family_name(program: int) -> str:
    """Return the General MIDI family of a program, 0-127."""
    return FAMILY_NAMES[program // PROGRAMS_PER_FAMILY]
