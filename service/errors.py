"""The exceptions of the service; `mt3_model/errors.py` has the library's.

    ServiceError
    ├── RetryLaterError          a retry may succeed after a time; also a base of those with (*)
    │   ├── OverloadedError          too much is waiting
    │   ├── QuotaError               a limit of the key is reached
    │   ├── EngineError              the device failed, or is unhealthy
    │   └── NotReadyError            the model is not loaded, or the server is ending
    ├── AuthenticationError      no key, or an unknown one
    ├── ScopeError               the key lacks a scope
    ├── HostNotAllowedError      a Host that is not a name of this server
    ├── OriginNotAllowedError    a page of another site
    ├── KeysNotConfiguredError   from another machine, to a server without keys
    ├── MalformedTargetError     a request line that names no path of a server
    ├── HeadTooLargeError        more headers than any request needs
    ├── StreamNotFoundError      no such event stream, or it has expired
    ├── ModelNotFoundError       a model that this server does not serve
    ├── NotAcceptableError       the Accept header names no known format
    ├── JobError                 a job cannot be created, read or changed
    │   ├── JobsDisabledError        this server accepts no jobs
    │   ├── JobNotFoundError         no such job or item of this caller, or it was deleted
    │   ├── JobUnreadableError       its row in the database cannot be read
    │   ├── JobConflictError         its state does not allow the operation
    │   ├── IdempotencyError         the key was used for another body
    │   ├── JobsUnavailableError     (*) the database of the jobs cannot be reached
    │   └── DatabaseInUseError       another process has the database open
    ├── ItemError                one recording of a job cannot be done (now); stored with the item
    ├── StorageError             recordings and results cannot be stored or read
    │   ├── StorageNotFoundError     no such object
    │   ├── StorageFullError         no room
    │   ├── StorageUnavailableError  (*) it does not answer, or refuses
    │   └── StorageMismatchError     the storage does not belong to the database
    └── UploadError              the request's body cannot be accepted
        ├── UploadMalformedError     not the multipart form it says it is
        ├── UploadMangledError       a recording that curl's -d has changed, or text in its place
        ├── UploadEncodingError      not the compression that Content-Encoding says it is
        ├── UnsupportedEncodingError a Content-Encoding that is not supported
        ├── UploadEmptyError         no audio in it
        ├── UploadTooLargeError      more bytes than the limit that the message names
        ├── UploadTimeoutError       the client stopped sending
        ├── UploadAbortedError       the client disconnected while sending
        ├── UploadStorageError       the disk cannot hold it
        └── UnsupportedMediaTypeError   a Content-Type that cannot be audio

`service/api/problems.py` has the table of their HTTP statuses.
"""


class ServiceError(Exception):
    """Base class of the service's exceptions."""


class RetryLaterError(ServiceError):
    """A retry may succeed after ``retry_after_seconds``."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class OverloadedError(RetryLaterError):
    """The bounded queue is full; ``retry_after_seconds`` estimates when it has room."""


class QuotaError(RetryLaterError):
    """The caller has reached a limit of its key."""


class AuthenticationError(ServiceError):
    """The request has no valid key."""


class ScopeError(ServiceError):
    """The key lacks the required scope, which the message names."""


class HostNotAllowedError(ServiceError):
    """The Host header names another host: a web page may have sent the request here."""


class OriginNotAllowedError(ServiceError):
    """A page of another site sent the request to a server without keys."""


class KeysNotConfiguredError(ServiceError):
    """The request came from another machine to a server without keys."""


class MalformedTargetError(ServiceError):
    """The request line has no valid path."""


class HeadTooLargeError(ServiceError):
    """The request's path and headers are too large."""


class StreamNotFoundError(ServiceError):
    """The caller has no event stream with that id; it may have expired."""


class EngineError(RetryLaterError):
    """The device failed while it worked on the recording, or is unhealthy."""


class NotReadyError(RetryLaterError):
    """The model is not ready; ``state`` is the reason."""

    def __init__(self, message: str, *, state: str, retry_after_seconds: int) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.state = state


class ModelNotFoundError(ServiceError):
    """The requested model is not served; the message names those that are."""


class NotAcceptableError(ServiceError):
    """None of the media types in ``Accept`` can be written; the message names those that can."""


class JobError(ServiceError):
    """A job cannot be created, found or changed."""


class JobsDisabledError(JobError):
    """The deployment accepts no jobs."""


class JobNotFoundError(JobError):
    """The caller has no such job or item; it may have been deleted."""


class JobUnreadableError(JobError):
    """The job's row in the database is damaged, or a later version of the service wrote it."""


class JobConflictError(JobError):
    """The job's state does not allow the operation; the message names the state."""


class IdempotencyError(JobError):
    """The idempotency key was used for a job with another body."""


class JobsUnavailableError(JobError, RetryLaterError):
    """The database of the jobs cannot be reached; nothing that was accepted is lost."""


class DatabaseInUseError(JobError):
    """Another process has the jobs' SQLite database, which serves one process only."""


class ItemError(ServiceError):
    """One recording of a job cannot be done; ``code`` and the message are kept on the item.

    ``is_transient`` says whether trying again later may help: storage that does not answer, a
    device that failed; never a recording that cannot be read.
    """

    def __init__(self, message: str, *, code: str, is_transient: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_transient = is_transient


class StorageError(ServiceError):
    """Recordings and results cannot be stored or read."""


class StorageNotFoundError(StorageError):
    """There is no object with that key."""


class StorageFullError(StorageError):
    """The disk, or the account, has no space."""


class StorageUnavailableError(StorageError, RetryLaterError):
    """The object store does not answer, or refuses; the log has its message."""

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class StorageMismatchError(StorageError):
    """The storage does not belong to the database: one of them was lost or replaced."""


class UploadError(ServiceError):
    """The request's body cannot be accepted."""


class UploadMalformedError(UploadError):
    """The body is not the multipart form that its Content-Type promises."""


class UploadMangledError(UploadError):
    """The body is a recording that the client's program has changed, or text in its place."""


class UploadEncodingError(UploadError):
    """The body is not compressed in the way that Content-Encoding says."""


class UnsupportedEncodingError(UploadError):
    """A Content-Encoding that is not decoded here."""


class UploadEmptyError(UploadError):
    """The body contains no audio."""


class UploadTooLargeError(UploadError):
    """The body is larger than the limit, which the message names."""


class UploadTimeoutError(UploadError):
    """The client stopped sending before its body was complete."""


class UploadAbortedError(UploadError):
    """The client closed the connection before its body was complete."""


class UploadStorageError(UploadError):
    """The server's disk cannot hold the recording."""


class UnsupportedMediaTypeError(UploadError):
    """A Content-Type that cannot be audio."""
