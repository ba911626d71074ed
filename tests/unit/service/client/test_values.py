"""Documents become values with the fields of the server's models, or are refused."""

import dataclasses
import inspect
import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

import service.client
from service.api.problems import PROBLEMS
from service.client import _job_models as jobs
from service.client import _models as models
from service.client._errors import UnexpectedAnswerError
from service.client._json import read_document
from service.client._models import Options, ResponseFormat
from service.client._retries import REQUEST_ERROR_CODES
from service.commands.result_plan import FORMAT_SUFFIXES
from service.schemas import (
    job_response,
    server_response,
    transcription_event,
    transcription_options,
    transcription_response,
)
from service.schemas.transcription_options import OPTION_NAMES
from tests.unit.service.client.documents import NOTES, TRANSCRIPTION


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (models.ModelProvenance, transcription_response.TranscriptionModel),
        (models.TranscriptionOptions, transcription_options.UsedOptions),
        (models.Track, transcription_response.TranscriptionTrack),
        (models.Note, transcription_response.TranscriptionNote),
        (models.TranscriptionWarning, transcription_response.WarningResponse),
        (models.Tempo, transcription_response.TempoResponse),
        (models.TimeSignature, transcription_response.TimeSignatureResponse),
        (models.Key, transcription_response.KeyResponse),
        (models.Usage, transcription_response.TranscriptionUsage),
        (models.Diagnostics, transcription_response.TranscriptionDiagnostics),
        (models.Transcription, transcription_response.TranscriptionResponse),
        (models.Health, server_response.HealthResponse),
        (models.Readiness, server_response.ReadyResponse),
        (models.ServedModel, server_response.ServedModel),
        (models.Instrument, server_response.Instrument),
        (models.Started, transcription_event.StartedEvent),
        (models.Progress, transcription_event.ProgressEvent),
        (models.Segment, transcription_event.SegmentEvent),
        (jobs.Job, job_response.JobResponse),
        (jobs.JobItem, job_response.JobItemResponse),
        (jobs.JobProgress, job_response.JobProgress),
        (jobs.JobLinks, job_response.JobLinks),
        (jobs.Failure, job_response.JobFailure),
        (jobs.Webhook, job_response.JobWebhook),
        (jobs.WebhookDelivery, job_response.WebhookDelivery),
    ],
)
def test_values_have_the_fields_of_the_answers(ours, theirs):
    kinds = get_type_hints(ours)
    assert set(kinds) == set(theirs.model_fields) - {"type"}
    for name, field in theirs.model_fields.items():
        if name != "type":
            may_be_null = type(None) in get_args(field.annotation)
            assert (type(None) in get_args(kinds[name])) == may_be_null, name


def test_options_and_forms_are_those_of_the_server():
    assert {*Options.__annotations__} == {*OPTION_NAMES} - {"response_format", "stream"}
    assert {*get_args(ResponseFormat)} == {*FORMAT_SUFFIXES}


def test_codes_at_fault_are_codes_of_the_server():
    assert {problem.code for problem in PROBLEMS.values()} >= REQUEST_ERROR_CODES


def test_a_document_becomes_its_value():
    note = read_document(models.Note, NOTES[0])
    assert dataclasses.asdict(note) == NOTES[0]
    whole = read_document(models.Transcription, TRANSCRIPTION)
    assert [dataclasses.asdict(note) for note in whole.notes] == NOTES
    assert whole.options.end is None


def test_fields_of_a_later_server_are_passed_over():
    assert read_document(models.Note, {**NOTES[0], "bend": [1]}).pitch == 60


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pitch": "60"}, r"the answer\.pitch is str; expected int"),
        ({"pitch": 60.5}, r"pitch is float; expected int"),
        ({"pitch": True}, r"pitch is bool; expected int"),
        ({"start_time": True}, r"start_time is bool; expected float"),
        ({"start_time": None}, r"start_time is null; expected float"),
        ({"is_drum": 0}, r"is_drum is int; expected bool"),
        ({"confidence": "high"}, r"confidence is str; expected float"),
    ],
)
def test_a_field_of_another_type_is_named(change, said):
    with pytest.raises(UnexpectedAnswerError, match=said):
        read_document(models.Note, {**NOTES[0], **change})


def test_a_missing_field_is_named_where_it_has_no_default():
    note = {name: value for name, value in NOTES[0].items() if name != "confidence"}
    assert read_document(models.Note, note).confidence is None
    with pytest.raises(UnexpectedAnswerError, match=r"the answer has no 'pitch'"):
        read_document(models.Note, {"start_time": 0, "end_time": 1})
    with pytest.raises(UnexpectedAnswerError, match=r"the answer\.notes\[1\] is null"):
        read_document(models.Transcription, {**TRANSCRIPTION, "notes": [NOTES[0], None]})
    with pytest.raises(UnexpectedAnswerError, match=r"the answer\.notes is int; expected a list"):
        read_document(models.Transcription, {**TRANSCRIPTION, "notes": 3})
    with pytest.raises(UnexpectedAnswerError, match=r"the answer\.model is str; expected an obj"):
        read_document(models.Transcription, {**TRANSCRIPTION, "model": "mt3"})


def test_exactly_the_public_names_are_exported():
    public = {
        name
        for name, value in vars(service.client).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert {*service.client.__all__} == public
    assert public == {
        "APIError", "AsyncClient", "Client", "Completed", "ConnectionFailedError", "Diagnostics",
        "Event", "Failure", "ForbiddenError", "Health", "Instrument", "InvalidRequestError", "Job",
        "JobEvent", "JobFailedError", "JobItem", "JobProgress", "MT3ClientError", "ModelProvenance",
        "NotFoundError", "Note", "Options", "Progress", "RateLimitedError", "Readiness",
        "Recording", "Recordings", "ResponseFormat", "Segment", "ServedModel", "ServerError",
        "ServerUnavailableError", "Started", "TooLargeError", "Track", "Transcription",
        "Key", "Tempo", "TimeSignature", "TranscriptionOptions", "TranscriptionWarning",
        "UnauthorizedError",
        "UnexpectedAnswerError", "Usage", "WaitTimeoutError", "Webhook", "WebhookDelivery",
        "WebhookEvent", "WebhookSignatureError", "verify_webhook",
    }  # fmt: skip


def test_the_client_imports_nothing_of_ours_and_httpx_alone():
    program = (
        "import sys\n"
        "import service.client\n"
        "ours = {m for m in sys.modules if m.startswith(('mt3_model', 'service.'))}\n"
        "ours = {m for m in ours if not m.startswith('service.client')}\n"
        "assert not ours, ours\n"
        "heavy = {'numpy', 'jax', 'pydantic', 'fastapi', 'tqdm', 'starlette'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
