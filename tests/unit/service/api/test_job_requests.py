"""Job requests: the hash that recognizes a repeated submission."""

import dataclasses

from mt3_model.notes.transcription import TranscriptionOptions
from service.api.jobs.job_requests import JobTerms

INPUTS = [["a.wav", "5186d10e"]]


def test_the_hash_of_a_request_without_postprocess_is_that_of_earlier_releases():
    # Written by the release before the option `postprocess`.
    expected = "43503777e5f8225b2eacfb6dbd95cee2ab0965dedc1d5b5e66e3014533a0265a"
    assert JobTerms(options=TranscriptionOptions(model="mt3")).body_hash(INPUTS) == expected


def test_each_quality_has_its_own_hash():
    options = TranscriptionOptions(model="mt3")
    high = dataclasses.replace(options, quality="high")
    assert JobTerms(options=high).body_hash(INPUTS) != JobTerms(options=options).body_hash(INPUTS)


def test_each_clean_up_has_its_own_hash():
    options = TranscriptionOptions(model="mt3")
    hashes = {
        JobTerms(options=dataclasses.replace(options, postprocess=steps)).body_hash(INPUTS)
        for steps in ("default", "none", "duplicates")
    }
    assert len(hashes) == 3


def test_named_instruments_are_part_of_the_hash():
    options = TranscriptionOptions(model="mt3")
    named = dataclasses.replace(options, instruments=("piano",))
    hashes = {JobTerms(options=each).body_hash(INPUTS) for each in (options, named)}
    assert len(hashes) == 2
