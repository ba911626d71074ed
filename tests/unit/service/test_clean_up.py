"""The clean-up of the notes in the service: in streams, and the same as the library's."""

import asyncio
import dataclasses

import numpy as np
import pytest
import soundfile

from mt3_model.codec.event import Event, EventType
from mt3_model.codec.vocabulary import build_codec
from mt3_model.errors import OptionError
from mt3_model.notes.transcription import TranscriptionOptions
from mt3_model.spec import MT3
from mt3_model.transcribe import LocalTranscriber
from service.engine.fake_backend import FakeBackend
from service.transcription_events import FinalNotes, SegmentDone, Warned
from tests.unit.service.transcribing import MODEL, transcribing, write


async def events_of(transcriber, path, **options):
    return [event async for event in transcriber.stream(path, TranscriptionOptions(**options))]


async def test_a_clean_up_sends_the_final_notes_before_the_end(tmp_path):
    async with transcribing() as transcriber:
        path = write(tmp_path, 5.0)
        *events, final, completed = await events_of(transcriber, path)
        *_, uncleaned = await events_of(transcriber, path, postprocess="none")
    assert isinstance(final, FinalNotes)
    assert final.notes == completed.transcription.notes.notes
    assert len(final.tracks) == len(final.notes)
    provisional = [n for event in events if isinstance(event, SegmentDone) for n in event.notes]
    assert tuple(provisional) == uncleaned.transcription.notes.notes


class BassBackend(FakeBackend):
    """Generates the fake's notes as a bass, so that the clean-up moves them."""

    def generate(self, index):
        generated = super().generate(index)
        piano, bass = (Event(type=EventType.PROGRAM, value=program) for program in (0, 33))
        codec = build_codec(MT3.vocabulary)
        tokens = np.where(
            generated.tokens == codec.event_to_token(piano),
            codec.event_to_token(bass),
            generated.tokens,
        )
        return dataclasses.replace(generated, tokens=tokens.astype(np.int32))


async def test_the_clean_up_is_that_of_the_library(tmp_path):
    times = np.arange(9 * 16_000) / 16_000
    # 65.4 Hz: two octaves below the first segment's C4.
    sound = 0.3 * np.sign(np.sin(2 * np.pi * 65.4 * times))
    path = tmp_path / "a.wav"
    soundfile.write(path, sound.astype(np.float32), 16_000)
    options = TranscriptionOptions(start=0.5)
    local = LocalTranscriber(spec=MT3, backend=BassBackend(MT3, slots=2), model=MODEL)
    offline = await asyncio.to_thread(local.transcribe, path, options)
    async with transcribing(BassBackend(MT3, slots=2)) as transcriber:
        served = await transcriber.transcribe(path, options)
    assert served.notes == offline.notes
    assert offline.notes.notes[1].pitch == 36


async def test_an_unknown_clean_up_step_is_refused(tmp_path):
    async with transcribing() as transcriber:
        with pytest.raises(OptionError, match="expected default, none, or some of"):
            await events_of(transcriber, write(tmp_path, 1.0), postprocess="octave")


@pytest.mark.parametrize("postprocess", ["default", "none"])
async def test_named_instruments_are_those_of_the_library_in_streams_too(tmp_path, postprocess):
    path = write(tmp_path, 7.0)
    chosen = {"instruments": ("violin", "viola"), "postprocess": postprocess}
    local = LocalTranscriber(spec=MT3, backend=FakeBackend(MT3, slots=2), model=MODEL)
    offline = await asyncio.to_thread(local.transcribe, path, TranscriptionOptions(**chosen))
    async with transcribing(FakeBackend(MT3, slots=2)) as transcriber:
        *events, completed = await events_of(transcriber, path, **chosen)
    assert completed.transcription.notes == offline.notes
    assert completed.transcription.warnings == offline.warnings
    streamed = [n for event in events if isinstance(event, SegmentDone) for n in event.notes]
    assert len(streamed) == len(offline.notes.notes) == 4
    assert {(n.program, n.is_drum) for n in (*streamed, *offline.notes.notes)} == {(41, False)}
    warned = [event.warning.code for event in events if isinstance(event, Warned)]
    assert [w.code for w in offline.warnings] == warned == ["silent_audio", "instruments_merged"]
