"""What the service's own server shows beside the API: a greeting, its documents, their page."""

from remit.http.responses import Response, http_error, json_response
from remit.http.route import Call, ResponseSpec, Route
from remit.ports.app import App


async def greeting(app: App, call: Call) -> Response:
    """Where a client finds what there is; a browser is sent to the page of it."""
    if "text/html" in (call.request.header("accept") or ""):
        return Response(302, b"", (("location", "docs"), ("vary", "accept")))
    return json_response(
        {
            "service": "remit",
            "processor": app.processor.name,
            "modes": sorted(app.processor.capabilities.modes),
            "documentation": "/docs",
            "openapi": "/openapi.json",
            "health": "/health",
        }
    )


async def openapi(app: App, call: Call) -> Response:
    # Imported here: a function that only takes payments does not describe them.
    from remit.http.openapi import document

    return json_response(document(call.routes, app.processor.name))


async def docs(app: App, call: Call) -> Response:
    from remit.http.docs_page import CONTENT_SECURITY_POLICY, page, script

    if (installed := script()) is None:
        return http_error(
            "route_unknown",
            call.request.request_id,
            "The documentation page is not installed here. What it would show is in /openapi.json.",
        )
    policy = ("content-security-policy", CONTENT_SECURITY_POLICY)
    html = page(installed.name).encode()
    return Response(200, html, (policy,), media_type="text/html; charset=utf-8")


async def docs_script(app: App, call: Call) -> Response:
    from remit.http.docs_page import FOR_EVER, script

    installed = script()
    if installed is None or call.params["script"] != installed.name:
        return http_error("route_unknown", call.request.request_id)
    return Response(
        200,
        b"",
        (("cache-control", FOR_EVER),),
        media_type="text/javascript; charset=utf-8",
        file=installed.file,
    )


ROUTES = (
    Route(
        method="GET",
        path="/",
        name="greeting",
        summary="What this is",
        tag=None,
        handler=greeting,
        is_public=True,
        responses={200: ResponseSpec("Where to go from here.", dict)},
    ),
    Route(
        method="GET",
        path="/openapi.json",
        name="openapi",
        summary="This document",
        tag=None,
        handler=openapi,
        is_public=True,
        responses={200: ResponseSpec("The OpenAPI document.", dict)},
    ),
    Route(
        method="GET",
        path="/docs",
        name="docs",
        summary="This document for people",
        tag=None,
        handler=docs,
        is_public=True,
        responses={200: ResponseSpec("A page.", str)},
    ),
    Route(
        method="GET",
        path="/docs/{script}",
        name="docs_script",
        summary="The script of that page",
        tag=None,
        handler=docs_script,
        is_public=True,
        responses={200: ResponseSpec("A script.", str)},
    ),
)
