"""An error, as the HTTP API returns it."""

from pydantic import BaseModel, ConfigDict


class ProblemResponse(BaseModel):
    """An error, as a problem document of RFC 9457."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    detail: str
    """Explanation of the error: what was found, what was expected and what to do."""
    code: str
    """Stable name of the kind of error."""
    request_id: str | None
    param: str | None = None
    """The option or header at fault, if there is one."""
    state: str | None = None
    """State of the model, if it is not ready."""
