"""The quota of a container bounds the cores, whichever way Linux shows it."""

import os

import pytest

from mt3_model.cores import usable_cores


@pytest.fixture
def eight(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("6400000 100000\n", 8),
        ("nonsense\n", 8),
    ],
)
@pytest.mark.usefixtures("eight")
def test_a_quota_of_version_2(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1\n", 8), ("300000\n", 3)])
@pytest.mark.usefixtures("eight")
def test_a_quota_of_version_1(tmp_path, quota, cores):
    folder = tmp_path / "cpu"
    folder.mkdir()
    (folder / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == cores


@pytest.mark.usefixtures("eight")
def test_without_control_groups_all_cores_are_usable(tmp_path):
    assert usable_cores(tmp_path / "missing") == 8
