"""`mt3 transcribe` with a transcriber that needs no model."""

import dataclasses

from mt3_model.errors import AudioFormatError
from service.cli import main
from tests.unit.service.transcriptions import TRANSCRIPTION


class FakeTranscriber:
    """Transcribes every file but those named bad."""

    def __init__(self):
        self.asked = []
        self.error = AudioFormatError("not audio")

    @property
    def names(self):
        return [recording.name for recording, _ in self.asked]

    def transcribe(self, recording, options=None, *, limits=None, progress=None):
        self.limits = limits
        self.asked.append((recording, options))
        if recording.stem == "bad":
            raise self.error
        progress(1.0, None)
        progress(2.0, 2.0)
        return dataclasses.replace(TRANSCRIPTION, options=options)


def run(fake, *arguments):
    return main(["transcribe", *map(str, arguments)], load=lambda _: fake)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
