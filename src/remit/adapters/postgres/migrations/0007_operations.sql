-- One operation at a processor, from its instruction to its result. It is read and written as a
-- whole; the columns beside it find it.

-- Without these locks the version before could begin an operation after the check.
LOCK TABLE payments, refunds, outbox, queue_messages IN ACCESS EXCLUSIVE MODE;

DO $$
BEGIN
    IF EXISTS (SELECT FROM payments WHERE pending IS NOT NULL)
       OR EXISTS (SELECT FROM refunds WHERE due_at IS NOT NULL)
       -- A promised step whose message names no operation: no worker of this version takes it.
       OR EXISTS (SELECT FROM outbox WHERE message ->> 'kind' = 'process')
       OR EXISTS (
           SELECT FROM queue_messages WHERE message ->> 'kind' = 'process' AND dead_at IS NULL
       )
    THEN
        RAISE EXCEPTION 'operations are pending: let the version before finish them, then migrate';
    END IF;
END $$;

CREATE TABLE operations (
    id         uuid PRIMARY KEY,
    payment_id uuid NOT NULL,
    version    integer NOT NULL CHECK (version > 0),
    due_at     timestamptz,
    operation  json NOT NULL
);
CREATE INDEX operations_of_payment ON operations (payment_id);
CREATE INDEX operations_due ON operations (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE payments DROP COLUMN attempt;
DROP INDEX refunds_due;
ALTER TABLE refunds DROP COLUMN due_at;
