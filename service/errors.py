"""Everything the service itself raises on purpose; `mt3_model/errors.py` has the library's.

    ServiceError
    ├── OverloadedError          too much is waiting; says when to come back
    ├── QuotaError               the caller has as much as its key allows; says when to come back
    ├── AuthenticationError      no key, or one that is not known
    ├── ScopeError               a key that does not open this
    ├── HostNotAllowedError      a Host that is not a name of this server
    ├── OriginNotAllowedError    a page of another site
    ├── KeysNotConfiguredError   from another machine, to a server without keys
    ├── MalformedTargetError     a request line that names no path of a server
    ├── HeadTooLargeError        more headers than any request needs
    ├── StreamNotFoundError      no such event stream, or not any more
    ├── EngineError              the device failed, or is given up
    ├── NotReadyError            the model is not loaded (yet, or any more)
    ├── ModelNotFoundError       a model that this server does not serve
    ├── NotAcceptableError       the Accept header names no form we can write
    ├── JobError                 a job cannot be had, or not that way
    │   ├── JobsDisabledError        this server keeps no jobs
    │   ├── JobNotFoundError         no such job or item of this caller, or not any more
    │   ├── JobUnreadableError       its row in the database cannot be read
    │   ├── JobConflictError         its state does not allow what was asked for
    │   ├── IdempotencyError         the key was used for another body
    │   ├── JobsUnavailableError     the database of the jobs cannot be reached
    │   └── DatabaseInUseError       another process holds the database; none can start beside it
    ├── ItemError                one recording of a job cannot be done (now); kept on the item
    ├── StorageError             recordings and results cannot be kept or had
    │   ├── StorageNotFoundError     no such object
    │   ├── StorageFullError         no room
    │   ├── StorageUnavailableError  it does not answer, or refuses us
    │   └── StorageMismatchError     it is not the storage that the database goes with
    └── UploadError              the request's body cannot be taken
        ├── UploadMalformedError     not the multipart form it says it is
        ├── UploadMangledError       a recording that curl's -d has changed, or text in its place
        ├── UploadEncodingError      not the compression that Content-Encoding says it is
        ├── UnsupportedEncodingError a Content-Encoding that is not decoded here
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


class HostNotAllowedError(ServiceError):
    """The request names a host that is not this server: a web page may have led it here."""


class OriginNotAllowedError(ServiceError):
    """A page of another site asks, and the server asks for no key that it would lack."""


class KeysNotConfiguredError(ServiceError):
    """The request came from another machine, and this server has no keys to ask for."""


class MalformedTargetError(ServiceError):
    """The request line names no path of a server."""


class HeadTooLargeError(ServiceError):
    """The request's path and headers are larger than any request needs."""


class StreamNotFoundError(ServiceError):
    """No event stream has that id for this caller: never, or not any more."""


class EngineError(ServiceError):
    """The device failed while it worked on the recording, or is given up."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


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


class JobError(ServiceError):
    """A job cannot be had, or not that way."""


class JobsDisabledError(JobError):
    """The deployment keeps no jobs."""


class JobNotFoundError(JobError):
    """The caller has no such job or item: never, or not any more."""


class JobUnreadableError(JobError):
    """The job's row in the database is damaged, or a later version of the service wrote it."""


class JobConflictError(JobError):
    """The job's state does not allow what was asked for; the message names the state."""


class IdempotencyError(JobError):
    """The idempotency key belongs to a job that was made from another body."""


class JobsUnavailableError(JobError):
    """The database of the jobs cannot be reached; nothing that was accepted is lost."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


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
    """Recordings and results cannot be kept or had."""


class StorageNotFoundError(StorageError):
    """No object has that key."""


class StorageFullError(StorageError):
    """The disk, or the account, has no room."""


class StorageUnavailableError(StorageError):
    """The object store does not answer, or refuses us; the log has its words."""

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StorageMismatchError(StorageError):
    """The storage does not belong to the database: one of the two was lost, or is another's."""


class UploadError(ServiceError):
    """The request's body cannot be taken."""


class UploadMalformedError(UploadError):
    """The body is not the multipart form that its Content-Type promises."""


class UploadMangledError(UploadError):
    """The body is a recording that the client's program has changed, or text in its place."""


class UploadEncodingError(UploadError):
    """The body is not compressed in the way that Content-Encoding says."""


class UnsupportedEncodingError(UploadError):
    """A Content-Encoding that is not decoded here."""


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
