"""The check of a problem response."""

from service.schemas.problem_response import ProblemResponse

URL = "/v1/transcriptions"


def assert_problem(response, status, code, *, param=None):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = ProblemResponse.model_validate(response.json())
    assert (problem.status, problem.code, problem.param) == (status, code, param)
    assert problem.request_id == response.headers["x-request-id"]
    assert problem.detail
    assert "Traceback" not in response.text
    return problem
