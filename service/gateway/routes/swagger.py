"""The reference of the API for people: Swagger UI, from our own address and by a policy that lets nothing else in."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from service.errors import RouteNotFound

router = APIRouter(include_in_schema=False)

# Swagger UI writes style attributes, draws its icons from data: addresses and shows answered pictures as blob: ones.
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
# Without a validator: Swagger UI would send the description's address to one on the Internet.
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
KEPT: Final = {"Cache-Control": "public, max-age=3600"}


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Show the description in a browser."""
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


@router.get("/docs/{asset}")
async def asset(asset: str) -> Response:
    """Give a part of that page."""
    if asset == "start.js":
        return Response(START, media_type="text/javascript", headers=KEPT)
    if asset not in ASSETS:
        raise RouteNotFound("The reference has no such part.")
    return FileResponse(Path(str(files(PACKAGE) / asset)), media_type=ASSETS[asset], headers=KEPT)
