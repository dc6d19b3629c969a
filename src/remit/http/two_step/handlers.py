"""The handlers of the two-step endpoints and of `/health`, one function for each route."""

from remit.domain.errors import NotFound
from remit.domain.ids import is_id
from remit.domain.payment import Payment
from remit.domain.payment_summary import PaymentSummary
from remit.http.requests import prefers_async
from remit.http.responses import Response, json_response
from remit.http.route import Call
from remit.http.two_step.views import (
    page_response,
    payment_response,
    process_response,
    validate_response,
)
from remit.oversight import health as health_checks
from remit.payments import process as payment_steps
from remit.payments.validate import validate as validate_payment
from remit.ports.app import App
from remit.ports.store import PageQuery

DEFAULT_PAGE = 20


async def validate(app: App, call: Call) -> Response:
    result = await validate_payment(app, call.caller, call.body, call.scope)
    return validate_response(result, call.request.request_id)


async def process(app: App, call: Call) -> Response:
    is_async = prefers_async(call.request.header("prefer"))
    step = payment_steps.enqueue if is_async else payment_steps.process
    result = await step(app, call.caller, call.body, call.scope)
    return process_response(result, call.request.request_id)


async def show(app: App, call: Call) -> Response:
    payment_id = call.params["transaction_id"]
    payment = await _cached_payment(app, payment_id) if is_id(payment_id) else None
    owner = (call.caller.merchant_id, call.caller.mode)
    if payment is None or (payment.merchant_id, payment.mode) != owner:
        raise NotFound("payment", param="transaction_id")
    return payment_response(payment)


async def _cached_payment(app: App, payment_id: str) -> Payment | PaymentSummary | None:
    """The payment, of any merchant, from the cache or else from the store."""
    cached = await app.process_state.cache.payment(payment_id)
    if cached is not None:
        return cached
    payment = await app.store.payment(payment_id)
    if payment is not None:
        await app.process_state.cache.put(payment)
    return payment


async def list_payments(app: App, call: Call) -> Response:
    limit = call.query["limit"] or DEFAULT_PAGE
    query = PageQuery(
        merchant_id=call.caller.merchant_id,
        mode=call.caller.mode,
        limit=limit + 1,
        cursor=call.query["cursor"],
        state=call.query["status"],
        customer_id=call.query["customer_id"],
        reference=call.query["payment_id"],
    )
    return page_response(await app.database.reader.page(query), limit)


async def health(app: App, call: Call) -> Response:
    report = await health_checks.health(app)
    return json_response(report, 200 if report.status == "healthy" else 503)
