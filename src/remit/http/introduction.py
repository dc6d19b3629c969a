"""What the OpenAPI document says before its operations, for people: Markdown, shown on its page."""

import msgspec

from remit.domain.errors import InvalidRequest
from remit.http.errors import CARD_ERROR, HTTP_ERRORS, MEANINGS, STATUSES
from remit.http.two_step.examples import DECLINED, TEST_CARDS, SimulatedCard

SIMULATED = "simulated"
"""The name of the processor that moves no money, and knows the test cards."""

_BEGIN = """
Remit takes a payment in two steps. `POST /validate` checks and stores it, `POST /process` charges
it. Amounts are decimal strings in major units, and are read exactly.
"""

_TRY = """
# Try it

Put a test key into **Authentication**, then press **Test Request** at *Validate a payment*. Copy
the `transaction_id` of the answer into the request of *Process a validated payment*. The key stays
in this page, and is forgotten when you leave it. `make run` prints one for a laptop, and
`remit keys create --merchant acme` makes more.
"""

_AUTHENTICATION = """
# Authentication

Every request needs an API key, but for `GET /health`. Send it in one of three ways:

| Way | Header |
|---|---|
| API key | `x-api-key: sk_test_…` |
| Bearer token | `Authorization: Bearer sk_test_…` |
| HTTP Basic, the key as user name and no password | `curl -u sk_test_…:` |

A key belongs to one merchant and one mode. Payments of any other are answered with 404.
"""

_IDEMPOTENCY = """
# Idempotency

Send an `Idempotency-Key` of your own, at most 255 characters, with a request that changes
something. A repeat gets the first outcome again, with the header `Idempotent-Replayed: true`, and
nothing is done twice. The same key with another request is refused with 422. A key is remembered
for at least 24 hours.
"""

_ERRORS = """
# Errors

Every error has one shape. `type` says what kind it is, `code` which one, `message` is for people.
`param` is there if a field is wrong, `decline_code` if the processor declined. Every response
carries `X-Request-Id`.
"""


def introduction(processor: str) -> str:
    """The chapters, with the test cards where the processor is the simulated one."""
    cards = _test_cards() if processor == SIMULATED else ""
    return f"{_BEGIN}{_TRY}{_AUTHENTICATION}{_IDEMPOTENCY}{cards}{_ERRORS}{_errors()}"


def _test_cards() -> str:
    rows = [(f"`{card.number}`", _answer(card)) for card in TEST_CARDS]
    return (
        "\n# Test cards\n\nThe processor is simulated: no money moves, and the card decides the "
        "answer. Any expiry date in the future and any security code will do.\n\n"
        + _table("Number", "`POST /process` answers", rows)
    )


def _answer(card: SimulatedCard) -> str:
    match card.status:
        case 200:
            return "200 `processed`"
        case 400:
            return f"nothing: `POST /validate` refuses it with 400 `{card.code}`"
        case status:
            return f"{status} `{card.code}`, `{card.decline_code}`"


def _errors() -> str:
    example = msgspec.json.format(msgspec.json.encode(DECLINED), indent=2).decode()
    rows = [
        (f"{status} `{kind}`", f"{MEANINGS[status]}<br>{', '.join(codes)}")
        for (status, kind), codes in sorted(_codes().items())
    ]
    return f"\n```json\n{example}\n```\n\n{_table('Status and type', 'When, and its codes', rows)}"


def _codes() -> dict[tuple[int, str], list[str]]:
    """The codes of each status and type."""
    codes: dict[tuple[int, str], list[str]] = {
        CARD_ERROR: ["the processor's own, such as `card_declined`"]
    }
    for error, place in STATUSES.items():
        known = f"`{error.code}`"
        if error is InvalidRequest:
            known = "`field_missing`, `field_invalid`, `field_unknown` and others"
        codes.setdefault(place, []).append(known)
    for code, http_error in HTTP_ERRORS.items():
        known_here = codes.setdefault((http_error.status, http_error.type), [])
        if f"`{code}`" not in known_here:
            known_here.append(f"`{code}`")
    return codes


def _table(first: str, second: str, rows: list[tuple[str, str]]) -> str:
    lines = [(first, second), ("---", "---"), *rows]
    return "".join(f"| {left} | {right} |\n" for left, right in lines)
