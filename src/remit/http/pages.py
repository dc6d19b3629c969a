"""What the service's own server shows beside the API: a greeting, its documents, their page."""

from remit.http.responses import Response, json_response
from remit.http.route import Answer, Call, Route
from remit.ports.app import App


async def greeting(app: App, call: Call) -> Response:
    """What a person or a client finds at the address itself."""
    return json_response(
        {
            "service": "remit",
            "processor": app.processor.name,
            "modes": sorted(app.processor.modes),
            "documentation": "/docs",
            "openapi": "/openapi.json",
            "health": "/health",
        }
    )


async def openapi(app: App, call: Call) -> Response:
    # Imported here: a function that only takes payments does not describe them.
    from remit.http.openapi import document

    return json_response(document(app.settings, call.routes))


async def docs(app: App, call: Call) -> Response:
    from remit.http.docs_page import page
    from remit.http.openapi import document

    policy = ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
    html = page(document(app.settings, call.routes)).encode()
    return Response(200, html, (policy,), media_type="text/html; charset=utf-8")


ROUTES = (
    Route(
        method="GET",
        path="/",
        name="greeting",
        summary="What this is",
        handler=greeting,
        is_public=True,
        is_documented=False,
        answers={200: Answer("Where to go from here.", dict)},
    ),
    Route(
        method="GET",
        path="/openapi.json",
        name="openapi",
        summary="This document",
        handler=openapi,
        is_public=True,
        is_documented=False,
        answers={200: Answer("The OpenAPI document.", dict)},
    ),
    Route(
        method="GET",
        path="/docs",
        name="docs",
        summary="This document for people",
        handler=docs,
        is_public=True,
        is_documented=False,
        answers={200: Answer("A page.", str)},
    ),
)
