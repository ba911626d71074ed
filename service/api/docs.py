"""`/docs`: the contract as a page on which each request can be tried, all of it from this server.

Swagger UI comes from a package and not from a content network, so that the page works on a machine
without Internet, and nobody else's server learns who reads it or could change what it runs. The
page has no script inside, which lets its policy forbid such: of all places, this is where people
type keys. The keys stay in the page's memory and are gone with it.

The bundled Swagger UI (4.15) reads OpenAPI 3.0 and refuses the number 3.1, which the contract has;
what the contract uses of 3.1 it shows all the same, so the page hands it the contract under 3.0's.
"""

from importlib import resources

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from service.api.request_normalization import sent_path

router = APIRouter(prefix="/docs", include_in_schema=False)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
"""Everything from this server alone, nothing written into the page."""
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mt3-service: API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
<body>
<div id="page"></div>
<noscript>Without JavaScript: <a href="openapi.json">the contract itself</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
_START = r""""use strict";
const server = new URL(".", location.href).href.replace(/\/$/, "");
fetch("openapi.json").then((response) => response.json()).then((contract) => {
  contract.openapi = "3.0.3";
  contract.info.description = contract.info.summary;
  contract.servers = [{ url: server }];
  for (const operation of Object.values(contract.paths).flatMap(Object.values)) {
    operation.description = (operation.description || "").replaceAll("$MT3_SERVER", server);
    // Options may come in the query or in the form: the page offers each once, in the form.
    const sent = operation.requestBody && operation.requestBody.content;
    const form = sent && sent["multipart/form-data"];
    if (form) {
      operation.parameters = (operation.parameters || []).filter(
        (parameter) => !(parameter.name in form.schema.properties));
      for (const type of Object.keys(sent))
        if (type !== "multipart/form-data" && type !== "application/json") delete sent[type];
    }
    // The first media type is the one that is tried unless another is chosen.
    const answer = operation.responses["200"] || {};
    const json = answer.content && answer.content["application/json"];
    if (json) answer.content = { "application/json": json, ...answer.content };
  }
  window.ui = SwaggerUIBundle({
    spec: contract,
    dom_id: "#page",
    deepLinking: true,
    docExpansion: "list",
    tryItOutEnabled: true,
    persistAuthorization: false,
    validatorUrl: null,
    requestInterceptor: (request) => {
      // Swagger UI sends the fields of a form that were left empty; here they are left out.
      if (request.body instanceof FormData)
        for (const name of new Set(request.body.keys()))
          if (request.body.getAll(name).every((value) => value === "")) request.body.delete(name);
      return request;
    },
  });
});
"""
_BUNDLED = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
"""Exactly these: no path of the request reaches the file system."""
_DAY = {"Cache-Control": "public, max-age=86400"}


@router.get("")
async def get_docs(request: Request) -> Response:
    """Gives the page."""
    if sent_path(request.scope).endswith("/"):
        return RedirectResponse("../docs")  # the page's links are relative
    return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY})


@router.get("/start.js")
async def get_start() -> Response:
    """Gives the page's own script."""
    return Response(_START, media_type="text/javascript")


@router.get("/{name}")
def get_bundled(name: str) -> Response:
    """Gives a file of Swagger UI."""
    if name not in _BUNDLED:
        raise HTTPException(404)
    return Response(_read_bundled(name), media_type=_BUNDLED[name], headers=_DAY)


def _read_bundled(name: str) -> bytes:
    # Found through the package's own folder: its name has Swagger UI's version in it.
    vendor = resources.files("swagger_ui_bundle") / "vendor"
    (folder,) = vendor.iterdir()
    return (folder / name).read_bytes()
