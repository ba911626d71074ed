"""One item, without a queue: its errors, and whether a retry may help."""

import pytest

from mt3_model.errors import (
    AudioEmptyError,
    AudioFormatError,
    AudioLimitError,
    AudioTrackError,
    DecoderKilledError,
    DecoderStartError,
    OptionError,
)
from mt3_model.export.record import from_record
from mt3_model.notes.transcription import TranscriptionOptions
from service.errors import (
    EngineError,
    ItemError,
    NotReadyError,
    OverloadedError,
    StorageFullError,
    StorageUnavailableError,
)
from service.item_processing import ItemProcessor
from service.jobs.job import Item, ItemSource, Job, JobState, Progress
from tests.unit.service.jobs.jobs_at_hand import open_in, transcription, written

JOB = Job(
    job_id="job_ab", tenant="anna", state=JobState.PROCESSING, options=TranscriptionOptions(),
    metadata={}, created_at=1.0, started_at=2.0, ended_at=None, expires_at=3.0, error=None,
    queue_position=None,
    progress=Progress(
        items_total=1, items_succeeded=0, items_failed=0, items_canceled=0, items_processing=1,
        audio_seconds_done=0.0, audio_seconds_total=None,
    ),
)  # fmt: skip


def item(kind="upload", reference="jobs/job_ab/inputs/000000"):
    return Item(
        job_id="job_ab", number=0, source=ItemSource(kind=kind, reference=reference), name=None,
        state=JobState.PROCESSING, attempts=1, audio_seconds=None, created_at=1.0, started_at=2.0,
        ended_at=None, error=None, warnings=(),
    )  # fmt: skip


async def transcribe(path, options, caller, on_length):
    return written(float(len(path.read_bytes())), options)


async def test_a_recording_becomes_a_result_and_leaves_no_file(tmp_path):
    objects = open_in(tmp_path)
    await objects.put(item().source.reference, b"12345")
    worker = ItemProcessor(objects, transcribe, folder=tmp_path / "objects" / "..")
    outcome = await worker.process(item(), JOB)
    assert outcome.audio_seconds == 5
    assert from_record(await objects.get(item().result_key)) == transcription(5.0)
    assert [p.name for p in tmp_path.iterdir()] == ["objects"]


@pytest.mark.parametrize(
    ("error", "code", "is_transient"),
    [
        (AudioFormatError("x"), "audio_undecodable", False),
        (AudioEmptyError("x"), "audio_empty", False),
        (AudioLimitError("x"), "audio_too_long", False),
        (AudioTrackError("x"), "audio_track_not_found", False),
        (OptionError("start", "x"), "invalid_option", False),
        (DecoderStartError("x"), "decoder_not_started", True),
        (DecoderKilledError("x"), "decoder_killed", True),
        (EngineError("x", retry_after_seconds=1), "engine_failure", True),
        (NotReadyError("x", state="loading", retry_after_seconds=1), "not_ready", True),
        (OverloadedError("x", retry_after_seconds=1), "overloaded", True),
        (StorageFullError("x"), "storage_full", True),
        (StorageUnavailableError("x"), "storage_unavailable", True),
        (OSError(28, "No space left on device"), "no_storage", True),
        (ItemError("x", code="url_refused"), "url_refused", False),
    ],
)
async def test_every_error_says_whether_to_try_again(tmp_path, error, code, is_transient):
    objects = open_in(tmp_path)
    await objects.put(item().source.reference, b"12345")

    async def fail(path, options, caller, on_length):
        raise error

    with pytest.raises(ItemError) as caught:
        await ItemProcessor(objects, fail, folder=tmp_path).process(item(), JOB)
    assert (caught.value.code, caught.value.is_transient) == (code, is_transient)
    assert not await objects.exists(item().result_key)
    assert not list(tmp_path.glob("mt3-item-*"))


async def test_an_upload_that_is_gone_is_not_tried_again(tmp_path):
    with pytest.raises(ItemError, match="upload") as caught:
        await ItemProcessor(open_in(tmp_path), transcribe).process(item(), JOB)
    assert (caught.value.code, caught.value.is_transient) == ("input_not_found", False)


async def test_other_sources_are_fetched_by_what_is_handed_in_or_refused(tmp_path):
    asked = []

    async def fetch(reference, path):
        asked.append(reference)
        path.write_bytes(b"123")

    objects = open_in(tmp_path)
    worker = ItemProcessor(objects, transcribe, fetchers={"url": fetch})
    outcome = await worker.process(item("url", "https://host/song.mp3"), JOB)
    assert (outcome.audio_seconds, asked) == (3, ["https://host/song.mp3"])
    await objects.delete(item().result_key)
    with pytest.raises(ItemError, match="object") as caught:
        await worker.process(item("object", "s3://theirs/song.mp3"), JOB)
    assert caught.value.code == "input_refused"
