"""Orders in the engine: copied ones are what the engine itself writes."""

import pytest
import sqlalchemy as sa

from service.database.database import Database
from service.jobs.dbos_tasks import Order, WorkOrders, parse_order


@pytest.fixture
def database(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    yield database
    database.close()


def everything(connection, *, instead_of):
    """Every row of every table that names an order, with that order's id blotted out."""
    names = sa.inspect(connection).get_table_names()
    found = []
    for name in names:
        for row in connection.execute(sa.text(f"select * from {name}")).mappings():
            text = {k: str(v).replace(instead_of, "THE ORDER") for k, v in row.items()}
            if "THE ORDER" in "".join(text.values()):
                found.append((name, {k: v for k, v in text.items() if k not in VARIES}))
    return sorted(found, key=str)


VARIES = {"created_at", "updated_at", "retention_timestamp", "creator_xid"}


def test_a_copied_order_is_what_the_engine_would_have_written(database):
    orders = WorkOrders(database)
    first, placed, copied = (Order(job_id="job_ab", number=n, run=0) for n in (0, 1, 2))
    with database.engine.begin() as connection:
        orders.place(connection, first, tenant="anna", source_kind="upload")
        orders.place(connection, placed, tenant="anna", source_kind="upload")
        orders.place_alike(connection, first, [copied])
    with database.engine.begin() as connection:
        as_placed = everything(connection, instead_of=placed.order_id)
        as_copied = everything(connection, instead_of=copied.order_id)
    assert as_placed == as_copied
    assert len(as_placed) == 2
    assert orders.lost([first, placed, copied, Order(job_id="job_ab", number=3, run=0)]) == [
        Order(job_id="job_ab", number=3, run=0)
    ]
    orders.withdraw([copied])
    assert orders.lost([first, copied]) == [copied]
    orders.remove([first, placed, copied])
    with database.engine.begin() as connection:
        assert not everything(connection, instead_of="job_ab")
    orders.close()


def test_an_orders_id_says_which_it_is():
    order = Order(job_id="job_0a", number=1_234_567, run=12)
    assert parse_order(order.order_id) == order
