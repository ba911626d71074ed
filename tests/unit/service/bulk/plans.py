"""A plan over two folders, and a substitute for the engine."""

from mt3_model.errors import AudioFormatError
from mt3_model.export.formats import ExportFormat
from mt3_model.notes.transcription import (
    TranscriptionOptions,
)
from service.bulk.bulk_plan import BulkPlan
from tests.unit.service.transcriptions import TRANSCRIPTION


def plan_in(folder, **changes):
    for name in ("in", "out"):
        (folder / name).mkdir(exist_ok=True)
    defaults = {
        "input_url": f"file://{folder}/in", "output_url": f"file://{folder}/out",
        "patterns": ("*.wav",), "options": TranscriptionOptions(), "forms": (ExportFormat.MIDI,),
        "run_id": "run",
    }  # fmt: skip
    return BulkPlan(**(defaults | changes))


def write(folder, *keys, content=b"x"):
    for key in keys:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


class Ear:
    """Transcribes all recordings except bad ones, and records those in progress."""

    def __init__(self):
        self.heard = []
        self.most_at_once = 0
        self.failing = {}
        """Errors still to raise, by content."""
        self._now = 0

    async def __call__(self, path, _):
        content = path.read_bytes()
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self.listen(content)
        finally:
            self._now -= 1
        return TRANSCRIPTION

    async def listen(self, content):
        self.heard.append(content)
        if content == b"bad":
            raise AudioFormatError("not audio")
        errors = self.failing.get(content, [])
        if errors:
            raise errors.pop(0)
