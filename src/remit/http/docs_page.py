"""The documentation page: Scalar's API reference, over `/openapi.json`.

Its script comes with an installed package and is served by this service: the page sends no request
to any other host. Where the package is not installed there is no page.
"""

from functools import cache
from html import escape
from importlib import metadata
from typing import NamedTuple

import msgspec

PACKAGE = "flask-openapi-scalar"
_FILE_IN_PACKAGE = "flask_openapi_scalar/templates/scalar/js/scalar.standalone.js"

CONFIGURATION = {
    "url": "openapi.json",
    "telemetry": False,
    # Else fonts would come from Scalar's host.
    "withDefaultFonts": False,
    # Each of these would offer a service of Scalar's.
    "agent": {"disabled": True},
    "mcp": {"disabled": True},
    "hideClientButton": True,
    "showDeveloperTools": "never",
    # A key that is typed in is forgotten with the page.
    "persistAuth": False,
    "authentication": {"preferredSecurityScheme": "key"},
    "documentDownloadType": "json",
    "orderSchemaPropertiesBy": "preserve",
    "customCss": ".markdown td code { white-space: nowrap }",
}
"""Of Scalar's API reference: its own names."""

_DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "connect-src": "'self'",
    # The script writes its styles into the page.
    "style-src": "'unsafe-inline'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}

CONTENT_SECURITY_POLICY = "; ".join(f"{name} {source}" for name, source in _DIRECTIVES.items())

FOR_EVER = "public, max-age=31536000, immutable"
"""The script's address holds its version, so what is at it never changes."""


class InstalledScript(NamedTuple):
    """The installed script: the name that its address ends in, and its file."""

    name: str
    file: str


@cache
def script() -> InstalledScript | None:
    """The script of the installed package, or None where it is not installed."""
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    return InstalledScript(
        f"scalar-{package.version}.js", str(package.locate_file(_FILE_IN_PACKAGE))
    )


def page(script_name: str) -> str:
    """The page. Its addresses are relative, so it may stand behind any proxy."""
    configuration = escape(msgspec.json.encode(CONFIGURATION).decode())
    return _PAGE.format(configuration=configuration, script=escape(script_name))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Remit API</title>
<link rel="icon" href="data:,">
</head>
<body>
<noscript>This page needs JavaScript. What it shows is in
<a href="openapi.json">openapi.json</a>.</noscript>
<script id="api-reference" data-configuration="{configuration}"></script>
<script src="docs/{script}"></script>
</body>
</html>
"""
