-- The work queue where there is no SQS, with SQS's rules: a received message is invisible for a
-- while, comes back unless deleted, and is a dead letter after its last allowed receive.

CREATE TABLE queue_messages (
    id         uuid PRIMARY KEY,
    message    jsonb NOT NULL,
    receives   integer NOT NULL DEFAULT 0,
    visible_at timestamptz NOT NULL DEFAULT now(),
    receipt    uuid,
    last_error text,
    dead_at    timestamptz
);
CREATE INDEX queue_visible ON queue_messages (visible_at) WHERE dead_at IS NULL;
CREATE INDEX queue_dead ON queue_messages (dead_at) WHERE dead_at IS NOT NULL;
