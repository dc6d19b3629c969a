"""One payment from validation to refund, over each store."""

from remit.audit import Sealer, Verified, verify
from remit.deliver import relay
from remit.doctor import examine
from remit.outcome import Accepted, Refused, Replayed
from remit.payment import State
from remit.ports import App
from remit.process import ProcessRequest, process
from remit.refund import refund
from remit.validate import validate
from tests.builders import caller, order


async def test_a_payment_is_validated_processed_and_refunded(app: App) -> None:
    validated = await validate(app, caller(), order("100.00"), "key-1")
    assert isinstance(validated, Accepted)
    assert validated.payment.state is State.VALIDATED

    request = ProcessRequest(validated.payment.id)
    processed = await process(app, caller(), request, "key-2")
    assert isinstance(processed, Accepted)
    assert processed.payment.state is State.CAPTURED
    assert processed.payment.sealed_card is None

    again = await process(app, caller(), request, "key-2")
    assert again == Replayed(processed.payment)

    given_back = await refund(app, caller(), processed.payment.id, amount_minor=6_000)
    assert isinstance(given_back, Accepted)
    too_much = await refund(app, caller(), processed.payment.id, amount_minor=6_000)
    assert isinstance(too_much, Refused)

    while await relay(app):
        pass
    sealer = Sealer(app)
    while await sealer.seal():
        pass
    assert isinstance(await verify(app.bucket), Verified)
    assert [found async for found in examine(app)] == []
