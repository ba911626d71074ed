"""`mt3 download` of the real checkpoint, from a mirror on this machine."""

import functools
import http.server
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from mt3_model.checkpoint.loading import load_checkpoint
from mt3_model.spec import MT3

PROGRAM = pathlib.Path(sys.executable).with_name("mt3")

pytestmark = pytest.mark.checkpoint


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture
def mirror(checkpoint_folder):
    handler = functools.partial(QuietHandler, directory=str(checkpoint_folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_published_checkpoint_comes_whole_from_a_mirror(mirror, checkpoint_folder, tmp_path):
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("MT3_")},
        "XDG_CACHE_HOME": str(tmp_path),
        "MT3_CHECKPOINT_MIRROR_URL": mirror,
    }
    done = subprocess.run(
        [PROGRAM, "download", "mt3"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folder = pathlib.Path(done.stdout.strip())
    assert folder.is_relative_to(tmp_path)
    expected = load_checkpoint(checkpoint_folder, MT3)
    assert load_checkpoint(folder, MT3).sha256 == expected.sha256
