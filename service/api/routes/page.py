"""`/`: the page for browsers, and the list of routes for other programs.

The page is built from `service/web` into `service/web/dist`, whose files are part of the package.
Everything it loads comes from this server: its content security policy allows nothing else, and no
inline script or style. Its links are relative, so it works below a path prefix of a proxy. Names
under `/assets` contain a hash of the file's content, so browsers may cache them forever.
"""

import functools
import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

DIST = Path(__file__).parents[2] / "web" / "dist"
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self';"
    " style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""`wasm-unsafe-eval` lets the synthesizer compile its Vorbis decoder; it does not allow `eval`."""
_PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""Types that must not depend on the machine's own table: a browser refuses others."""


@router.get("/")
def get_index(request: Request) -> Response:
    """Serve the page to a browser, and the list of routes as JSON to any other client."""
    if "text/html" in request.headers.get("accept", ""):
        return Response(_read("index.html"), media_type="text/html", headers=_PAGE_HEADERS)
    contract = request.app.openapi()
    routes = {
        f"{method.upper()} {path}": operation["summary"]
        for path, operations in contract["paths"].items()
        for method, operation in operations.items()
    }
    about = {
        "name": contract["info"]["title"],
        "version": contract["info"]["version"],
        "summary": contract["info"]["summary"],
        "docs": "/docs",
        "contract": "/openapi.json",
        "routes": routes,
    }
    return JSONResponse(about, headers={"Vary": "Accept"})


@router.get("/assets/{name}")
def get_asset(name: str) -> Response:
    """Serve a file of the page."""
    if name not in _asset_names():
        raise HTTPException(404)
    suffix = Path(name).suffix
    media_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(_read(f"assets/{name}"), media_type=media_type, headers=_IMMUTABLE)


@functools.cache
def _asset_names() -> frozenset[str]:
    """The names of the page's files, so that no path of a request reaches the file system."""
    return frozenset(file.name for file in (DIST / "assets").iterdir())


def _read(path: str) -> bytes:
    return (DIST / path).read_bytes()
