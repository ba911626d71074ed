"""The sources of the page's soundfont."""

import dataclasses
import hashlib
import http.server
import threading

import pytest

from mt3_model.checkpoint.fetching import FetchOptions
from mt3_model.errors import OptionError
from service import soundfont_file
from service.soundfont_file import FLUID_R3, SoundfontFile

CONTENT = b"RIFF....sfbk"


@pytest.fixture
def server():
    """A server that sends a soundfont, and the number of requests it had."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/font.sf3", requests
        running.shutdown()
        thread.join()


@pytest.fixture
def small_font(monkeypatch):
    digest = hashlib.sha256(CONTENT).hexdigest()
    font = dataclasses.replace(FLUID_R3, bytes=len(CONTENT), sha256=digest)
    monkeypatch.setattr(soundfont_file, "FLUID_R3", font)


@pytest.mark.usefixtures("small_font")
def test_it_is_downloaded_once_and_kept(tmp_path, server):
    url, requests = server
    for _ in range(2):
        found = SoundfontFile(None, offline=False, cache_folder=tmp_path, url=url).find()
        assert found == tmp_path / FLUID_R3.path
        assert found.read_bytes() == CONTENT
    assert len(requests) == 1


def test_a_download_with_another_checksum_is_not_used(tmp_path, server):
    url, _ = server
    options = FetchOptions(max_attempts=1)
    font = SoundfontFile(None, offline=False, cache_folder=tmp_path, url=url, options=options)
    assert font.find().name == "TimGM6mb.sf2"
    assert not (tmp_path / FLUID_R3.path).exists()


def test_offline_the_packaged_one_is_used(tmp_path):
    found = SoundfontFile(None, offline=True, cache_folder=tmp_path).find()
    assert found.name == "TimGM6mb.sf2"
    assert found.read_bytes()[:4] == b"RIFF"


def test_the_setting_comes_first(tmp_path):
    own = tmp_path / "own.sf2"
    own.write_bytes(CONTENT)
    assert SoundfontFile(own, offline=False, url="http://127.0.0.1:9/").find() == own


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "cannot be read"), (b"root:x:0:0", "is not a soundfont"), (b"", "is not a soundfont")],
)
def test_a_setting_that_names_no_soundfont_is_refused_at_once(tmp_path, content, expected):
    own = tmp_path / "own.sf2"
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(OptionError, match=expected):
        SoundfontFile(own, offline=True)
