"""The PostgreSQL that these tests need."""

from tests.integration.jobs.postgresql import postgres, postgres_url

__all__ = ["postgres", "postgres_url"]
