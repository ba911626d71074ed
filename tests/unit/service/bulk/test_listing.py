"""Recordings are found, and those that are not done are listed."""

import pytest

from mt3_model.errors import OptionError
from mt3_model.export.formats import ExportFormat
from service.bulk.bulk_plan import refuse_output_in_input, suitable_in_flight, url_of
from service.bulk.listing import check_page, find_passed_over, list_recordings, split_pages
from service.bulk.summary import Summary, read_state
from service.storage.objects import open_objects
from tests.unit.service.bulk.plans import plan_in, write


async def check(plan, keys, unit_size=2):
    return await check_page(open_objects(plan.output_url, any_key=True), plan, keys, unit_size)


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (("*.wav", "*.mp3"), {"a.wav", "live/B.WAV", "live/c.mp3"}),
        (("live/*",), {"live/B.WAV", "live/c.mp3", "live/notes.txt"}),
        (("*.ogg",), set()),
    ],
)
def test_patterns_are_of_the_whole_key_whatever_its_case(tmp_path, patterns, found):
    write(tmp_path / "in", "a.wav", "live/B.WAV", "live/c.mp3", "live/notes.txt")
    assert set(list_recordings(plan_in(tmp_path, patterns=patterns))) == found


def test_a_limit_ends_the_listing(tmp_path):
    write(tmp_path / "in", "a.wav", "b.wav", "c.wav", "d.txt")
    assert len(list(list_recordings(plan_in(tmp_path, limit=2)))) == 2


def test_pages_are_small_at_first_and_hold_all_in_order():
    keys = [str(number) for number in range(1_000)]
    pages = list(split_pages(iter(keys), 2))
    assert [len(page) for page in pages[:65]] == 64 * [2] + [20]
    assert [key for page in pages for key in page] == keys


def test_no_more_is_listed_than_is_asked_for():
    listed = iter(range(1_000))
    pages = split_pages(map(str, listed), 5)
    next(pages)
    assert next(listed) == 5


async def test_what_has_results_or_a_reason_is_not_left(tmp_path):
    plan = plan_in(tmp_path)
    write(tmp_path / "out", "a.wav.mid", "c.wav.error.json", "d.wav.json")
    page = await check(plan, ["a.wav", "b.wav", "c.wav", "d.wav"])
    assert (page.listed, page.skipped, page.failed_before) == (4, 1, 1)
    assert page.units == (("b.wav",), ("d.wav",))


async def test_a_retry_leaves_those_with_a_reason_to_do(tmp_path):
    plan = plan_in(tmp_path, retry_failed=True)
    write(tmp_path / "out", "a.wav.mid", "a.wav.error.json", "c.wav.error.json")
    page = await check(plan, ["a.wav", "c.wav"])
    assert (page.skipped, page.failed_before, page.units) == (1, 0, (("c.wav",),))


async def test_all_forms_must_be_there(tmp_path):
    plan = plan_in(tmp_path, forms=(ExportFormat.MIDI, ExportFormat.JSON))
    write(tmp_path / "out", "a.wav.mid", "b.wav.mid", "b.wav.json")
    assert (await check(plan, ["a.wav", "b.wav"])).units == (("a.wav",),)


async def test_a_page_has_as_many_units_whatever_is_done(tmp_path):
    plan = plan_in(tmp_path)
    keys = [f"{number}.wav" for number in range(5)]
    fresh = await check(plan, keys)
    write(tmp_path / "out", *(f"{key}.mid" for key in keys))
    assert len((await check(plan, keys)).units) == len(fresh.units) == 3


@pytest.mark.parametrize(
    "output", ["s3://b/in", "s3://b/in/", "s3://b/in/out", "s3://b/in?region=x"]
)
def test_an_output_among_the_inputs_is_refused(output):
    with pytest.raises(OptionError, match="is inside the input"):
        refuse_output_in_input("s3://b/in", output)


@pytest.mark.parametrize("output", ["s3://b/input", "s3://other/in", "s3://b/"])
def test_an_output_beside_the_inputs_is_fine(output):
    refuse_output_in_input("s3://b/in", output)


def test_a_folder_is_a_place_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert url_of("a b") == f"file://{tmp_path}/a%20b"
    assert url_of("gs://bucket/x") == "gs://bucket/x"


@pytest.mark.parametrize(("slots", "in_flight"), [(16, 4), (32, 4), (256, 27)])
def test_recordings_in_flight_fill_the_slots_one_and_a_half_times(slots, in_flight):
    # 1.5 * 256 slots * 2.048 s = 786 s of sound: 26.2 recordings of half a minute.
    assert suitable_in_flight(slots, 2.048) == in_flight


def test_the_state_is_what_is_there(tmp_path):
    plan = plan_in(tmp_path)
    write(tmp_path / "in", "a.wav", "b.wav", "c.wav", "d.wav")
    write(tmp_path / "out", "a.wav.mid", "b.wav.mid", "c.wav.error.json", "_begun/x/y", "e.mid")
    assert read_state(plan).to_text() == "2 done, 1 failed, 1 left of 4 recordings"


def test_a_summary_says_what_is_not_accounted_for():
    summary = Summary().plus({"listed": 5, "skipped": 1}).plus({"done": 2, "audio_seconds": 7_200})
    assert (summary.lost, summary.is_complete) == (2, False)
    assert "2 unaccounted for" in summary.to_text()
    whole = summary.plus({"done": 2}).after(3_600.0)
    assert whole.is_complete
    assert whole.to_text() == (
        "4 done, 0 failed, 1 skipped of 5 recordings;"
        " 2.00 hours of audio in 3600 s: 2.0 audio hours per hour"
    )


def test_objects_that_no_pattern_matches_are_counted_and_some_are_named(tmp_path):
    plan = plan_in(tmp_path)
    write(tmp_path / "in", "song.wav", "a", "b.txt", "c.doc", "d.xyz")
    passed_over = find_passed_over(plan)
    assert (passed_over.count, len(passed_over.examples)) == (4, 3)
    assert "song.wav" not in passed_over.to_text()
    assert passed_over.to_text().endswith("...)")
