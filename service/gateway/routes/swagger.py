"""The API reference for browsers: Swagger UI from this server, with a policy that allows no other sources."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from service.errors import RouteNotFound

router = APIRouter(include_in_schema=False)

# Swagger UI writes style attributes, draws its icons from data: URLs, and shows images in responses as blob: URLs.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>resnest-service</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="reference"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
"""
# Without a validator: Swagger UI would send the URL of the description to a validator on the Internet.
START: Final = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#reference", deepLinking: true, displayRequestDuration: true, validatorUrl: null,
});
"""
PACKAGE: Final = "fastapi_swagger.resources"  # Swagger UI as its project publishes it; nothing else of it is used
ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
CACHE_HEADERS: Final = {"Cache-Control": "public, max-age=3600"}


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


@router.get("/docs/{asset}")
async def asset(asset: str) -> Response:
    """Return a script, stylesheet or icon of the page."""
    if asset == "start.js":
        return Response(START, media_type="text/javascript", headers=CACHE_HEADERS)
    if asset not in ASSETS:
        raise RouteNotFound("The API reference has no such file.")
    return FileResponse(Path(str(files(PACKAGE) / asset)), media_type=ASSETS[asset], headers=CACHE_HEADERS)
