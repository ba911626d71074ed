"""List the files of a model that has no checksums in the manifest, from its public bucket.

Google Cloud Storage lists a folder as pages of JSON objects with name, size and MD5 (base64). An
MD5 from the bucket proves that the transfer was correct, but not where the file came from.
Therefore the sha256 of every downloaded file is recorded beside the folder (`<model>.sha256sums`,
in the format of `sha256sum`), and later downloads of the same model must match it.
Source: cloud.google.com/storage/docs/json_api/v1/objects/list.
"""

import base64
import binascii
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from mt3_model.checkpoint.atomic_rename import write_atomically
from mt3_model.checkpoint.manifest import ManifestEntry, ManifestFile, check_relative_path
from mt3_model.errors import CheckpointContentError, DownloadError, DownloadInterruptedError

_MAX_PAGES = 100


def list_files(client: httpx2.Client, entry: ManifestEntry) -> tuple[ManifestFile, ...]:
    """Request the list of a model's files from its bucket.

    Raises:
        DownloadError: The listing cannot be read, is not that of a T5X folder, or has no MD5 for a
            file.
    """
    prefix = parse_qs(urlsplit(entry.listing_url).query).get("prefix", [""])[0]
    files: list[ManifestFile] = []
    page_token: str | None = None
    for _ in range(_MAX_PAGES):
        page = _read_page(client, entry.listing_url, page_token)
        for item in page.get("items", ()):
            name = str(item.get("name", "")).removeprefix(prefix)
            if name and not name.endswith("/"):  # consoles create empty "folder" objects
                files.append(_read_item(name, item, entry.listing_url))
        page_token = page.get("nextPageToken")
        if page_token is None:
            break
    if not any(file.path == "checkpoint" for file in files):
        raise DownloadError(
            f"{entry.listing_url} lists {len(files)} files and no 'checkpoint'; expected a T5X "
            f"folder. The model {entry.name!r} may have moved: fetch it by hand "
            "(checkpoints/README.md)"
        )
    return tuple(sorted(files, key=lambda file: file.path))


def read_checksums(file: Path) -> dict[str, str]:
    """Read a `sha256sum` file as path -> sha256; empty if there is no file."""
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    return {path: sha256 for sha256, path in (line.split("  ", 1) for line in lines if line)}


def write_checksums(file: Path, checksums: dict[str, str]) -> None:
    """Write a file that `read_checksums` and ``sha256sum --check`` read."""
    lines = [f"{sha256}  {path}\n" for path, sha256 in sorted(checksums.items())]
    with write_atomically(file) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _read_page(client: httpx2.Client, url: str, page_token: str | None) -> dict[str, Any]:
    parsed = httpx2.URL(url)
    if page_token is not None:
        parsed = parsed.copy_merge_params({"pageToken": page_token})
    try:
        page = client.get(parsed).raise_for_status().json()
    except (httpx2.HTTPError, ValueError) as error:
        raise DownloadInterruptedError(
            f"{url} gives no listing ({error}). The manifest has no file list for this model: "
            "try again, or fetch it by hand (checkpoints/README.md)"
        ) from error
    if not isinstance(page, dict):
        raise DownloadError(f"{url} gives a JSON {type(page).__name__}; expected an object")
    return page


def _read_item(name: str, item: dict[str, Any], url: str) -> ManifestFile:
    try:
        check_relative_path(name)
        md5 = base64.b64decode(item["md5Hash"], validate=True).hex()
        return ManifestFile(path=name, bytes=int(item["size"]), sha256=None, md5=md5)
    except CheckpointContentError as error:
        raise DownloadError(f"{url}: {error}") from error
    except (KeyError, ValueError, TypeError, binascii.Error) as error:
        raise DownloadError(
            f"{url} lists {name!r} without a size or an MD5 ({error!r}); expected both, "
            "as nothing else could verify the file"
        ) from error
