"""Everything the service itself raises on purpose; `mt3_model/errors.py` has the library's.

    ServiceError
    ├── OverloadedError          too much is waiting; says when to come back
    ├── QuotaError               the caller has as much as its key allows; says when to come back
    ├── AuthenticationError      no key, or one that is not known
    ├── ScopeError               a key that does not open this
    ├── StreamNotFoundError      no such event stream, or not any more
    ├── EngineError              the device failed, or is given up
    ├── DeadlineError            the time within which the answer was wanted has passed
    ├── NotReadyError            the model is not loaded (yet, or any more)
    ├── ModelNotFoundError       a model that this server does not serve
    ├── NotAcceptableError       the Accept header names no form we can write
    └── UploadError              the request's body cannot be taken
        ├── UploadMalformedError     not the multipart form it says it is
        ├── UploadEmptyError         no audio in it
        ├── UploadTooLargeError      more bytes than the limit that the message names
        ├── UploadTimeoutError       the client stopped sending
        ├── UploadAbortedError       the client went away while sending
        ├── UploadStorageError       the disk cannot hold it
        └── UnsupportedMediaTypeError   a Content-Type that cannot be audio

`service/api/problems.py` has the one table of their HTTP status.
"""


class ServiceError(Exception):
    """Anything the service raises on purpose."""


class OverloadedError(ServiceError):
    """The bounded queue is full."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QuotaError(ServiceError):
    """The caller has as much under way as it may."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class AuthenticationError(ServiceError):
    """The request holds no key, or one that is not known (any more)."""


class ScopeError(ServiceError):
    """The key does not open what was asked for; the message names the scope that does."""


class StreamNotFoundError(ServiceError):
    """No event stream has that id for this caller: never, or not any more."""


class EngineError(ServiceError):
    """The device failed while it worked on the recording, or is given up."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class DeadlineError(ServiceError):
    """The answer was not there in the time within which it was wanted."""


class NotReadyError(ServiceError):
    """No model to serve with; ``state`` says why."""

    def __init__(self, message: str, *, state: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.state = state
        self.retry_after_seconds = retry_after_seconds


class ModelNotFoundError(ServiceError):
    """The model asked for is not served here; the message names those that are."""


class NotAcceptableError(ServiceError):
    """None of the media types in ``Accept`` can be written; the message names those that can."""


class UploadError(ServiceError):
    """The request's body cannot be taken."""


class UploadMalformedError(UploadError):
    """The body is not the multipart form that its Content-Type promises."""


class UploadEmptyError(UploadError):
    """The body holds no audio."""


class UploadTooLargeError(UploadError):
    """The body is larger than the limit, which the message names."""


class UploadTimeoutError(UploadError):
    """The client stopped sending before its body was whole."""


class UploadAbortedError(UploadError):
    """The client closed the connection before its body was whole; nobody hears the answer."""


class UploadStorageError(UploadError):
    """The server's disk cannot hold the recording."""


class UnsupportedMediaTypeError(UploadError):
    """A Content-Type that cannot be audio."""
