"""The examples of the contract are values of their models."""

from service.schemas.job_request import JOB_REQUEST_EXAMPLE, JobRequest
from service.schemas.job_response import JOB_EXAMPLE, JobResponse
from service.schemas.option_reading import read_options


def test_the_example_of_a_job_is_one():
    assert JobResponse.model_validate(JOB_EXAMPLE).model_dump(mode="json") == JOB_EXAMPLE


def test_the_example_of_a_submission_is_one():
    request = JobRequest.model_validate(JOB_REQUEST_EXAMPLE)
    assert request.options is not None
    assert read_options(request.options.items()).end == 60.0


def test_a_job_without_a_format_does_not_name_one():
    job = JobResponse.model_validate(JOB_EXAMPLE | {"response_format": None})
    assert "response_format" not in job.model_dump(mode="json")
