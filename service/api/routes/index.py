"""`/`: the list of routes, for a client that knows only the server's address."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

router = APIRouter(include_in_schema=False)
_VARY = {"Vary": "Accept"}


@router.get("/")
async def get_index(request: Request) -> Response:
    """List the routes as JSON; redirect a browser to `/docs`."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("docs", headers=_VARY)
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
    return JSONResponse(about, headers=_VARY)
