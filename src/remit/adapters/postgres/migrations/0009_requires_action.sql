-- A payment whose payer has to act, as in 3-D Secure, still waits for its operation.

ALTER TABLE payments ADD COLUMN next_action json;
ALTER TABLE payments DROP CONSTRAINT payments_state_check;
ALTER TABLE payments ADD CONSTRAINT payments_state_check CHECK (state IN
    ('validated', 'authorized', 'captured', 'declined', 'unknown', 'requires_action', 'canceled'));
ALTER TABLE payments DROP CONSTRAINT operation_means_unknown;
ALTER TABLE payments ADD CONSTRAINT pending_means_open
    CHECK ((state IN ('unknown', 'requires_action')) = (pending IS NOT NULL));
