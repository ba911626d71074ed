"""`mt3 benchmark` with the real weights, on a few seconds."""

import json

import pytest

from service import cli

pytestmark = pytest.mark.checkpoint


def test_a_short_benchmark_measures_every_stage(checkpoint_folder, tmp_path, capsys):
    out = tmp_path / "figures.json"
    arguments = ["--seconds", "3", "--concurrency", "1,2", "--slots", "4", "--json", str(out)]
    assert cli.main(["benchmark", "--checkpoint", str(checkpoint_folder), *arguments]) == 0
    content = json.loads(out.read_text())
    assert len(content["model"]["checkpoint_sha256"]) == 64
    names = ["decode", "mel", "encode", "generate", "notes", "export"]
    assert [stage["name"] for stage in content["stages"]] == names
    assert all(stage["seconds"] > 0 for stage in content["stages"])
    stages = {stage["name"]: stage for stage in content["stages"]}
    assert stages["encode"]["units"] == 2
    # The piece is music to the model: more than a token for each of its notes, far from silence.
    assert stages["generate"]["units"] > 60
    assert stages["export"]["units"] > 15
    assert all(0 < row["slot_fill"] <= 1 for row in content["concurrency"])
    assert "tokens/s" in capsys.readouterr().out
