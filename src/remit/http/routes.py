"""The table of routes.

Dispatch, the OpenAPI document, the documentation page, limits, idempotency, the audit of rejected
bodies, and the routes of API Gateway and of the load balancer are derived from it.
`docs/adding-an-endpoint.md` describes how to add a route.
"""

from types import MappingProxyType

from remit.http import pages
from remit.http.errors import MEANINGS
from remit.http.responses import ErrorResponse
from remit.http.route import QueryField, RequestHeader, ResponseSpec, Route, Tag
from remit.http.two_step import examples, handlers, requests
from remit.http.two_step.views import STATES_BY_STATUS, PageView, PaymentView, ValidatedView
from remit.oversight.health import Health
from remit.payments.process import ProcessRequest
from remit.payments.validate import PaymentRequest

_TEXT = MappingProxyType({"type": "string", "maxLength": 255})
_ID = MappingProxyType({"type": "string", "format": "uuid"})

PAYMENTS = Tag("Payments", "Validate a payment, process it, look at it.")
HEALTH = Tag("Health", "Whether the service and what it depends on are well.")

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/validate",
        name="validate",
        summary="Validate a payment",
        tag=PAYMENTS,
        description="Checks every field and stores the payment as `validated`.",
        handler=handlers.validate,
        function="validation",
        action="validate",
        body=PaymentRequest,
        decode=requests.read_payment_request,
        example=examples.PAYMENT_REQUEST,
        is_idempotent=True,
        responses={
            200: ResponseSpec("The payment is validated.", ValidatedView, examples.VALIDATED),
            400: ResponseSpec(MEANINGS[400], ErrorResponse, examples.AMOUNT_MISSING),
            409: ResponseSpec(
                "The `payment_id` names another payment already.",
                ErrorResponse,
                examples.REFERENCE_TAKEN,
            ),
        },
    ),
    Route(
        method="POST",
        path="/process",
        name="process",
        summary="Process a validated payment",
        tag=PAYMENTS,
        description="Charges the payment through the processor. Processing twice answers with the "
        "first outcome.",
        handler=handlers.process,
        function="processing",
        action="process",
        body=ProcessRequest,
        decode=requests.read_process_request,
        example=examples.PROCESS_REQUEST,
        headers=(
            RequestHeader(
                "Prefer", "`respond-async` leaves the work to the queue and answers 202.", _TEXT
            ),
        ),
        is_idempotent=True,
        responses={
            200: ResponseSpec("The money is captured.", PaymentView, examples.PROCESSED),
            202: ResponseSpec(
                "Accepted, or the processor has not answered yet.",
                PaymentView,
                examples.PROCESSING,
            ),
            400: ResponseSpec(MEANINGS[400], ErrorResponse, examples.TRANSACTION_ID_MISSING),
            402: ResponseSpec(
                "The processor declined; `decline_code` says why.", ErrorResponse, examples.DECLINED
            ),
            404: ResponseSpec(
                "No such payment of this merchant.", ErrorResponse, examples.NOT_FOUND
            ),
        },
    ),
    Route(
        method="GET",
        path="/payments",
        name="list_payments",
        summary="List payments, newest first",
        tag=PAYMENTS,
        handler=handlers.list_payments,
        function="processing",
        query=(
            QueryField(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": requests.MAX_PAGE, "default": 20},
                requests.read_limit,
                "How many at most.",
            ),
            QueryField(
                "cursor", _ID, requests.read_cursor, "`next_cursor` of the page before this one."
            ),
            QueryField(
                "status", {"type": "string", "enum": list(STATES_BY_STATUS)}, requests.read_status
            ),
            QueryField("customer_id", _TEXT, requests.read_text),
            QueryField("payment_id", _TEXT, requests.read_text),
        ),
        responses={
            200: ResponseSpec("One page.", PageView, examples.PAGE),
            400: ResponseSpec(MEANINGS[400], ErrorResponse, examples.LIMIT_INVALID),
        },
    ),
    Route(
        method="GET",
        path="/payments/{transaction_id}",
        name="show_payment",
        summary="Show one payment",
        tag=PAYMENTS,
        handler=handlers.show,
        function="processing",
        responses={
            200: ResponseSpec("The payment.", PaymentView, examples.PROCESSED),
            404: ResponseSpec(
                "No such payment of this merchant.", ErrorResponse, examples.NOT_FOUND
            ),
        },
    ),
    Route(
        method="GET",
        path="/health",
        name="health",
        summary="Is the service well",
        tag=HEALTH,
        handler=handlers.health,
        function="health",
        is_public=True,
        responses={
            200: ResponseSpec("Every dependency answers.", Health, examples.HEALTHY),
            503: ResponseSpec("Something is down, and which.", Health, examples.UNHEALTHY),
        },
    ),
    *pages.ROUTES,
)
