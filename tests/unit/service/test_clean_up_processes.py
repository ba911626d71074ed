"""Processes clean up as this process does, and are replaced when they die."""

import dataclasses

import psutil
import pytest

from mt3_model.notes.note import Note, NoteSequence
from mt3_model.notes.transcription import (
    ModelProvenance,
    Transcription,
    TranscriptionOptions,
    Usage,
)
from mt3_model.postprocessing.cleaning import clean_up_transcription
from service.clean_up_processes import CleanUpProcesses

BASS = 33
NOTES = tuple(
    Note(pitch=40 + i % 5, start_time=i / 2, end_time=i / 2 + 0.4, velocity=127, program=BASS)
    for i in range(20)
)
WRITTEN = Transcription(
    notes=NoteSequence(notes=NOTES, total_time=10.0),
    model=ModelProvenance(
        name="mt3", checkpoint_sha256="c0ffee", code_version="0", precision="float32"
    ),
    options=TranscriptionOptions(),
    duration_seconds=10.0,
    warnings=(),
    usage=Usage(audio_seconds=10.0, segments=5, tokens=100),
    invalid_events=0,
    dropped_events=0,
)
CLEANED = clean_up_transcription(WRITTEN, None)


def cleaners():
    return [
        child
        for child in psutil.Process().children()
        if "service.clean_up_processes" in child.cmdline()
    ]


@pytest.fixture
def processes():
    made = CleanUpProcesses(1)
    yield made
    made.close()
    assert cleaners() == []


def test_a_process_cleans_up_as_this_one_does_and_is_used_again(processes):
    assert CLEANED != WRITTEN
    assert processes.clean_up(WRITTEN, None) == CLEANED
    (first,) = cleaners()
    assert processes.clean_up(WRITTEN, None) == CLEANED
    assert cleaners() == [first]


def test_a_process_that_died_is_replaced(processes):
    processes.clean_up(WRITTEN, None)
    (first,) = cleaners()
    first.kill()
    first.wait()
    assert processes.clean_up(WRITTEN, None) == CLEANED
    assert processes.clean_up(WRITTEN, None) == CLEANED
    assert first not in cleaners()


def test_an_error_of_the_clean_up_is_raised_here(processes):
    options = dataclasses.replace(WRITTEN.options, postprocess="nothing such")
    with pytest.raises(Exception, match="nothing such"):
        processes.clean_up(dataclasses.replace(WRITTEN, options=options), None)
    assert processes.clean_up(WRITTEN, None) == CLEANED


def test_without_processes_this_one_cleans_up():
    none = CleanUpProcesses(0)
    assert none.clean_up(WRITTEN, None) == CLEANED
    assert cleaners() == []
    none.close()


def test_after_the_end_this_process_cleans_up(processes):
    processes.close()
    assert processes.clean_up(WRITTEN, None) == CLEANED
    processes.close()
