"""The documents' rule on security holds: every start of the image sets who may use it."""

import re

from tests.repository.tracked_files import ROOT


def test_every_start_of_the_image_has_keys_or_says_that_everybody_may():
    text = (ROOT / "deploy" / "README.md").read_text().replace("\\\n", " ")
    starts = [line for line in text.splitlines() if line.startswith("docker run")]
    servers = [line for line in starts if "mt3 keys" not in line]
    assert len(servers) >= 6
    for line in servers:
        assert "MT3_API_KEYS" in line or "MT3_ALLOW_ANONYMOUS=true" in line, line


def test_every_test_that_the_threat_model_names_is_there():
    chapter = (ROOT / "service" / "README.md").read_text().partition("\n## Security\n")[2]
    chapter = chapter.partition("\n## ")[0]
    named = set(re.findall(r"`(?:tests/)?([\w/]*test_\w+\.py|tests/[\w/]+)`", chapter))
    assert len(named) > 8
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    for name in named:
        assert any(
            file.endswith(f"/{name.removeprefix('tests/')}") or name in file for file in files
        ), name
