"""The PostgreSQL server of these tests."""

from tests.integration.jobs.postgresql import postgres, postgres_url

__all__ = ["postgres", "postgres_url"]
