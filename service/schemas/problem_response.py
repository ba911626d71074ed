"""An error as the HTTP API answers with it."""

from pydantic import BaseModel, ConfigDict


class ProblemResponse(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    detail: str
    """What was found, what was expected, what to do."""
    code: str
    """Stable name of the kind of error."""
    request_id: str | None
    param: str | None = None
    """The option at fault, where one is."""
    state: str | None = None
    """Of the model, where it is not ready."""
