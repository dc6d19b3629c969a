"""One payment from validation to refund, over each store."""

from remit.delivery.relay import relay
from remit.domain.payment import State
from remit.oversight.audit.archiver import AuditArchiver
from remit.oversight.audit.verification import VerifiedTrail, verify
from remit.oversight.reconcile import reconcile
from remit.payments.process import ProcessRequest, process
from remit.payments.refund import refund
from remit.payments.results import Accepted, Rejected, Replayed
from remit.payments.validate import validate
from remit.ports.app import App
from tests.builders import caller, key_of, order


async def test_a_payment_is_validated_processed_and_refunded(app: App) -> None:
    validated = await validate(app, caller(), order("100.00"), key_of("validate", "key-1"))
    assert isinstance(validated, Accepted)
    assert validated.payment.state is State.VALIDATED

    request = ProcessRequest(validated.payment.id)
    processed = await process(app, caller(), request, key_of("process", "key-2"))
    assert isinstance(processed, Accepted)
    assert processed.payment.state is State.CAPTURED
    assert processed.payment.encrypted_card is None

    again = await process(app, caller(), request, key_of("process", "key-2"))
    assert again == Replayed(processed.payment)

    given_back = await refund(app, caller(), processed.payment.id, amount_minor=6_000)
    assert isinstance(given_back, Accepted)
    too_much = await refund(app, caller(), processed.payment.id, amount_minor=6_000)
    assert isinstance(too_much, Rejected)

    while await relay(app):
        pass
    archiver = AuditArchiver(app)
    while await archiver.archive():
        pass
    assert isinstance(await verify(app.audit.bucket), VerifiedTrail)
    assert [found async for found in reconcile(app)] == []
