"""Decodes the body of a message in SQS. Functions need it too, and import no SDK for it."""

from datetime import datetime

import msgspec

from remit.domain.change import UNREADABLE, Message, Topic

_message = msgspec.json.Decoder(Message)


def read_message(body: str, sqs_id: str, at: datetime) -> Message:
    """The message in the body. For a body that cannot be decoded, a message of kind `unreadable`
    with the id that SQS gave it.
    """
    try:
        return _message.decode(body)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return Message(id=sqs_id, topic=Topic.WORK, kind=UNREADABLE, created_at=at)
