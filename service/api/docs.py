"""`/docs`: the API contract as a page on which each request can be tried.

Everything comes from this server. Swagger UI 5 is read from a Python package and not from a content
delivery network, so the page works without Internet access, and no other host can see who reads it
or change what it runs. The page has no inline script, so its policy can forbid them: this is
where people type API keys. Keys stay in the page's memory only.
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
"""Everything from this server, no inline scripts or styles."""
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
  delete contract.info.description;  // it explains $MT3_SERVER, which is replaced below
  contract.servers = [{ url: server }];
  for (const operation of Object.values(contract.paths).flatMap(Object.values)) {
    operation.description = (operation.description || "").replaceAll("$MT3_SERVER", server);
    // Options can be sent in the query or the form: the page offers each once, in the form.
    const sent = operation.requestBody && operation.requestBody.content;
    const form = sent && sent["multipart/form-data"];
    if (form) {
      operation.parameters = (operation.parameters || []).filter(
        (parameter) => !(parameter.name in form.schema.properties));
      // Without an example Swagger UI would fill in the maximum of each number.
      for (const field of Object.values(form.schema.properties)) field.example = "";
      for (const type of Object.keys(sent))
        if (type !== "multipart/form-data" && type !== "application/json") delete sent[type];
    }
    // The first media type is preselected.
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
      // Swagger UI sends empty form fields; drop them.
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
"""The files served, with their types: no path of a request reaches the file system."""
_DAY = {"Cache-Control": "public, max-age=86400"}


@router.get("")
async def get_docs(request: Request) -> Response:
    """Serve the page."""
    if sent_path(request.scope).endswith("/"):
        return RedirectResponse("../docs")  # the page's links are relative
    return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY})


@router.get("/start.js")
async def get_start() -> Response:
    """Serve the page's own script."""
    return Response(_START, media_type="text/javascript")


@router.get("/{name}")
def get_bundled(name: str) -> Response:
    """Serve a file of Swagger UI."""
    if name not in _BUNDLED:
        raise HTTPException(404)
    return Response(_read_bundled(name), media_type=_BUNDLED[name], headers=_DAY)


def _read_bundled(name: str) -> bytes:
    return (resources.files("fastapi_swagger.resources") / name).read_bytes()
