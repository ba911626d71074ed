"""A complete unit in a folder and in an S3, with keys of another program."""

import contextlib

import pytest

from service.bulk.bulk_plan import BulkPlan
from service.bulk.listing import check_page, list_recordings
from service.bulk.sweeping import sweep
from service.bulk.unit_worker import UnitWorker
from service.errors import StorageUnavailableError
from service.storage.objects import open_objects
from tests.unit.service.bulk.plans import Ear, plan_in
from tests.unit.service.storage.s3_at_hand import local_s3

KEYS = ["a.wav", "50% größer #1?.wav", "x/[live] & 'loud'+~.wav", "x/..hidden.wav", "tmp/b.wav"]


def under(url, name):
    """Return the URL of a prefix in a storage, with the same query."""
    place, mark, query = url.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{query}"


@pytest.fixture(params=["folder", "s3"])
def plan(request, tmp_path, monkeypatch):
    with contextlib.ExitStack() as stack:
        if request.param == "folder":
            yield plan_in(tmp_path)
        else:
            url = stack.enter_context(local_s3(monkeypatch)).url
            yield plan_in(tmp_path, input_url=under(url, "in"), output_url=under(url, "out"))


async def keys_in(url):
    objects = open_objects(url, any_key=True)
    return {stored.key async for stored in objects.list_prefix("")}


async def test_found_keys_come_back_as_results_and_are_not_left_then(plan: BulkPlan):
    inputs = open_objects(plan.input_url, any_key=True)
    outputs = open_objects(plan.output_url, any_key=True)
    for key in [*KEYS, "cover.jpg"]:
        await inputs.put(key, b"x")
    listed = list(list_recordings(plan))
    assert set(listed) == set(KEYS)
    outcome = await UnitWorker(plan, inputs, outputs, Ear(), in_flight=3).do(listed)
    assert outcome.done == len(KEYS)
    await sweep(plan)
    assert await keys_in(plan.output_url) == {f"{key}.mid" for key in KEYS}
    assert not any((await check_page(outputs, plan, listed, 2)).units)


async def test_a_key_cannot_leave_its_folder(tmp_path):
    (tmp_path / "secret").write_bytes(b"x")
    objects = open_objects(f"file://{tmp_path}/in", any_key=True)
    with pytest.raises((StorageUnavailableError, ValueError)):
        await objects.get("../secret")
