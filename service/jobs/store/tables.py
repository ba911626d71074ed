"""The tables of jobs, items and webhooks, and the conversion of their rows.

They are in the same database as DBOS's tables, so that a job, its items and their tasks are written
in one transaction. Times are seconds since 1970 (UTC) as floats; documents are JSON text, which is
always read as a whole and never searched. `SCHEMA_VERSION` is written into the database. Code that
finds a later version refuses to start; code that finds an earlier one migrates the tables
(`service/jobs/store/migrations.py`).
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any, cast

import sqlalchemy as sa

from mt3_model.export.record import options_from_json
from mt3_model.export.strict_json import repair_json
from mt3_model.notes.transcription import TranscriptionOptions, TranscriptionWarning
from service.database.metadata import metadata
from service.errors import JobError
from service.jobs.job import Failure, Item, ItemSource, Job, JobState, Progress
from service.jobs.store.migrations import MIGRATIONS, Migration
from service.schemas.transcription_options import JobOptions
from service.webhooks.webhook import Webhook

SCHEMA_VERSION = 2
"""Raise it with every change of the tables, together with a step of `migrations.MIGRATIONS`, but
not for a new table that earlier code does not need: such a table is created if it is missing, and
the deployment can still be rolled back."""
versions = sa.Table("mt3_schema", metadata, sa.Column("version", sa.Integer, nullable=False))
jobs = sa.Table(
    "mt3_job",
    metadata,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("body_hash", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("started_at", sa.Float(53)),
    sa.Column("ended_at", sa.Float(53)),
    # Set again when the job ends: from then on it is kept for the retention time.
    sa.Column("expires_at", sa.Float(53), nullable=False),
    # As submitted. NULL: written by a process of version 1.
    sa.Column("retention_seconds", sa.Float(53)),
    # Set if the job was deleted while a worker was processing one of its items; only rows remain.
    sa.Column("deleted_at", sa.Float(53)),
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("response_format", sa.Text),
    sa.Column("metadata", sa.Text, nullable=False),
    # The progress of a job that has ended; before that it is counted.
    sa.Column("final_counts", sa.Text),
    sa.UniqueConstraint("tenant", "idempotency_key"),
    sa.Index("mt3_job_of_tenant", "tenant", "created_at", "job_id"),
    sa.Index("mt3_job_by_expiry", "expires_at"),
    sa.Index("mt3_job_by_state", "state", "created_at"),
)
items = sa.Table(
    "mt3_item",
    metadata,
    sa.Column("job_id", sa.Text, sa.ForeignKey("mt3_job.job_id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("source_kind", sa.Text, nullable=False),
    sa.Column("source_reference", sa.Text, nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("audio_seconds", sa.Float(53)),
    # The number of the valid task: raised with every new task of the item.
    sa.Column("run", sa.Integer, nullable=False, default=0),
    # Number of starts.
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    # Number of temporary failures since it was submitted or last retried by its owner.
    sa.Column("failed_tries", sa.Integer, nullable=False, default=0),
    # Starts in this queue without a proper end: the process died, perhaps because of this item.
    # Fetching does not count.
    sa.Column("open_starts", sa.Integer, nullable=False, default=0),
    # Time from which it may be started; between two attempts it is in the future. NULL: written by
    # a process of version 1.
    sa.Column("ready_at", sa.Float(53)),
    sa.Column("is_quarantined", sa.Boolean, nullable=False, default=False),
    sa.Column("started_at", sa.Float(53)),
    sa.Column("ended_at", sa.Float(53)),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("warnings", sa.Text),
    sa.Index("mt3_item_by_state", "job_id", "state", "audio_seconds"),
    sa.Index("mt3_item_by_ready", "job_id", "state", "ready_at"),
)
# One row: the deployment of this database (`service/jobs/store/storage_binding.py`).
deployments = sa.Table(
    "mt3_deployment",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    # The id that the storage has too; before `bound_at`, the id that it will get.
    sa.Column("deployment_id", sa.Text, nullable=False),
    # Whether the database was new: objects in the storage then do not belong to its jobs.
    sa.Column("began_empty", sa.Boolean, nullable=False),
    sa.Column("bound_at", sa.Float(53)),
)

# One row: the backlog, as one process last counted it for all.
backlogs = sa.Table(
    "mt3_backlog",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("counted_at", sa.Float(53), nullable=False),
    sa.Column("queued_items", sa.Integer, nullable=False),
    sa.Column("processing_items", sa.Integer, nullable=False),
    # NULL: no waiting item may be started.
    sa.Column("oldest_ready_at", sa.Float(53)),
)


def prepare_tables(connection: sa.Connection, now: float) -> None:
    """Create or migrate the tables, and check that they are complete.

    Args:
        connection: a connection in an exclusive transaction.
        now: seconds since 1970.

    Raises:
        JobError: the tables are of another version or incomplete.
    """
    create_tables(connection, now)
    check_tables(connection)


def create_tables(
    connection: sa.Connection, now: float, migrations: Mapping[int, Migration] = MIGRATIONS
) -> None:
    """Create missing tables, and migrate those of an earlier version.

    Args:
        connection: a connection in an exclusive transaction.
        now: the current time, seconds since 1970.
        migrations: version -> the step to the next version.

    Raises:
        JobError: the tables are of a later version, or of one without a migration.
    """
    versions.create(connection, checkfirst=True)
    found = connection.scalar(sa.select(versions.c.version))
    if found is None:
        metadata.create_all(connection)
        connection.execute(sa.insert(versions).values(version=SCHEMA_VERSION))
        _propose_deployment(connection, began_empty=True)
        return
    if found > SCHEMA_VERSION:
        raise JobError(
            f"the database's tables are of version {found}, this code's are {SCHEMA_VERSION}: a"
            " later version of the service has used it; run that version"
        )
    for version in range(found, SCHEMA_VERSION):
        if version not in migrations:
            raise JobError(
                f"the database's tables are of version {found}; expected {min(migrations)} to"
                f" {SCHEMA_VERSION}: migrate them with an earlier version of the service first"
            )
        migrations[version](connection, now)
    if found < SCHEMA_VERSION:
        connection.execute(sa.update(versions).values(version=SCHEMA_VERSION))
    metadata.create_all(connection)
    if connection.scalar(sa.select(deployments.c.id)) is None:
        _propose_deployment(connection, began_empty=False)


def _propose_deployment(connection: sa.Connection, *, began_empty: bool) -> None:
    connection.execute(
        sa.insert(deployments).values(id=0, deployment_id=uuid.uuid4().hex, began_empty=began_empty)
    )


def check_tables(connection: sa.Connection) -> None:
    """Check that the tables have our columns.

    Raises:
        JobError: a column is missing.
    """
    inspected = sa.inspect(connection)
    for name, table in metadata.tables.items():
        found = {column["name"] for column in inspected.get_columns(name)}
        missing = sorted(column.name for column in table.columns if column.name not in found)
        if missing:
            raise JobError(
                f"the database's table {name} lacks {', '.join(missing)}; expected the tables of"
                f" version {SCHEMA_VERSION}, as created by this service: restore a backup, or name"
                " another database"
            )


def kept_until(ended_at: float) -> sa.ColumnElement[float]:
    """Return when a job that ends now expires: not earlier than the time reported before.

    Args:
        ended_at: the time of the end, seconds since 1970.
    """
    kept = ended_at + jobs.c.retention_seconds
    return sa.case((kept > jobs.c.expires_at, kept), else_=jobs.c.expires_at)


def read_job(row: Mapping[str, Any], progress: Progress, error: Failure | None,
             queue_position: int | None, webhook: Webhook | None = None) -> Job:  # fmt: skip
    """Convert a row of ``mt3_job``, with its counts, to a `Job`.

    Raises:
        ValueError: the row's state or options cannot be read.
    """
    metadata, is_whole = _read_metadata(row["metadata"])
    return Job(
        job_id=row["job_id"],
        tenant=row["tenant"],
        state=JobState(row["state"]),
        progress=progress,
        options=_read_options(row["options"]),
        response_format=row["response_format"],
        metadata=metadata,
        is_metadata_damaged=not is_whole,
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        expires_at=row["expires_at"],
        error=error,
        queue_position=queue_position,
        webhook=webhook,
    )


def read_item(row: Mapping[str, Any], created_at: float) -> Item:
    """Convert a row of ``mt3_item`` to an `Item`."""
    failure = None
    if row["error_code"] is not None:
        failure = Failure(code=row["error_code"], message=row["error_message"])
    return Item(
        job_id=row["job_id"],
        number=row["number"],
        source=ItemSource(kind=row["source_kind"], reference=row["source_reference"]),
        name=row["name"],
        state=JobState(row["state"]),
        attempts=row["attempts"],
        audio_seconds=row["audio_seconds"],
        created_at=created_at,
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        error=failure,
        warnings=_read_warnings(row["warnings"]),
    )


def read_counts(text: str) -> Progress:
    """Convert a row's ``final_counts`` to a `Progress`."""
    return Progress(**repair_json(json.loads(text)))


def _read_metadata(text: str) -> tuple[dict[str, Any], bool]:
    """Read metadata; values that are not JSON become null.

    A text that is not JSON becomes an empty object.

    Returns:
        The metadata, and whether all of it could be read.
    """
    try:
        stored = json.loads(text)
        repaired = repair_json(stored)
    except (ValueError, RecursionError):
        return {}, False
    if not isinstance(repaired, dict):
        return {}, False
    return cast("dict[str, Any]", repaired), repaired == stored


def _read_options(text: str) -> TranscriptionOptions:
    try:
        options = options_from_json(json.loads(text))
        JobOptions.model_validate(options, from_attributes=True)
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the job's options cannot be read: {error}") from error
    return options


def _read_warnings(text: str | None) -> tuple[TranscriptionWarning, ...]:
    try:
        return tuple(TranscriptionWarning(**each) for each in repair_json(json.loads(text or "[]")))
    except (ValueError, TypeError, RecursionError):
        return (
            TranscriptionWarning(
                code="warnings_damaged", message="the item's warnings were stored damaged"
            ),
        )
