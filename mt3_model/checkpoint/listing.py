"""A bucket's public JSON listing -> the files of a model whose sums are not in the manifest.

Google Cloud Storage lists a folder as pages of objects with name, size and MD5 (base64). That
proves a transfer, not an origin: who controls the bucket controls the listing. So the sha256 of
what came is written beside the download (`<model>.sha256sums`, the format of `sha256sum`), and
a later download of the same model must match it.
Source: cloud.google.com/storage/docs/json_api/v1/objects/list.
"""

import base64
import binascii
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from mt3_model.checkpoint.manifest import ManifestEntry, ManifestFile, refuse_outside_path
from mt3_model.errors import CheckpointContentError, DownloadError, DownloadInterruptedError

_MOST_PAGES = 100


def list_files(client: httpx.Client, entry: ManifestEntry) -> tuple[ManifestFile, ...]:
    """Asks the bucket for the files of one model.

    Raises:
        DownloadError: No listing can be had, or it gives no way to verify a file.
    """
    prefix = parse_qs(urlsplit(entry.listing_url).query).get("prefix", [""])[0]
    files: list[ManifestFile] = []
    page_token: str | None = None
    for _ in range(_MOST_PAGES):
        page = _read_page(client, entry.listing_url, page_token)
        for item in page.get("items", ()):
            name = str(item.get("name", "")).removeprefix(prefix)
            if name and not name.endswith("/"):  # consoles make empty "folder" objects
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


def read_sums(file: Path) -> dict[str, str]:
    """Reads a `sha256sum` file: path -> sha256; empty where there is none."""
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    return {path: sha256 for sha256, path in (line.split("  ", 1) for line in lines if line)}


def write_sums(file: Path, sums: dict[str, str]) -> None:
    """Writes what `read_sums` reads, and ``sha256sum --check`` too."""
    partial = file.with_name(file.name + ".partial")
    lines = [f"{sha256}  {path}\n" for path, sha256 in sorted(sums.items())]
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(file)


def _read_page(client: httpx.Client, url: str, page_token: str | None) -> dict[str, Any]:
    parsed = httpx.URL(url)
    if page_token is not None:
        parsed = parsed.copy_merge_params({"pageToken": page_token})
    try:
        page = client.get(parsed).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise DownloadInterruptedError(
            f"{url} gives no listing ({error}). The manifest has no file list for this model: "
            "try again, or fetch it by hand (checkpoints/README.md)"
        ) from error
    if not isinstance(page, dict):
        raise DownloadError(f"{url} gives a JSON {type(page).__name__}; expected an object")
    return page


def _read_item(name: str, item: dict[str, Any], url: str) -> ManifestFile:
    try:
        refuse_outside_path(name)
        md5 = base64.b64decode(item["md5Hash"], validate=True).hex()
        return ManifestFile(path=name, bytes=int(item["size"]), sha256=None, md5=md5)
    except CheckpointContentError as error:
        raise DownloadError(f"{url}: {error}") from error
    except (KeyError, ValueError, TypeError, binascii.Error) as error:
        raise DownloadError(
            f"{url} lists {name!r} without a size or an MD5 ({error!r}); expected both, "
            "as nothing else could verify the file"
        ) from error
