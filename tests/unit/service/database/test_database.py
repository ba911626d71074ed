"""A database closes all connections."""

import sqlite3

import pytest
import sqlalchemy as sa

from service.database.database import Database


def test_a_connection_in_use_at_the_end_is_closed_when_it_is_returned(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/jobs.db")
    connection = database.engine.connect()
    of_driver = connection.connection.driver_connection
    database.close()
    assert connection.scalar(sa.text("select 1")) == 1
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        of_driver.execute("select 1")
