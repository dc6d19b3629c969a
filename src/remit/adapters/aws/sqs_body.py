"""The body of a message in SQS, for workers and for functions, which load no SDK to read it."""

from datetime import datetime

import msgspec

from remit.domain.change import UNREADABLE, Message, Topic

_message = msgspec.json.Decoder(Message)


def read_message(body: str, sqs_id: str, at: datetime) -> Message:
    """The message in a body, or one that stands for a body that cannot be read."""
    try:
        return _message.decode(body)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return Message(id=sqs_id, topic=Topic.WORK, kind=UNREADABLE, created_at=at)
