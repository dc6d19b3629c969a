-- Payments, their refunds, the books, the audit trail, idempotency, and what is still to be sent.
-- Column names are the field names of the service's own types: rows travel as JSON both ways.

CREATE TABLE payments (
    id                  uuid PRIMARY KEY,
    merchant_id         text NOT NULL,
    mode                text NOT NULL CHECK (mode IN ('test', 'live')),
    amount_minor        bigint NOT NULL CHECK (amount_minor > 0),
    currency            text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at          timestamptz NOT NULL,
    fingerprint         text NOT NULL,
    state               text NOT NULL CHECK (state IN
                            ('validated', 'authorized', 'captured', 'declined', 'unknown', 'canceled')),
    version             integer NOT NULL CHECK (version > 0),
    attempt             integer NOT NULL,
    customer_id         text,
    reference           text,
    metadata            jsonb,
    card                json,
    sealed_card         text,
    pending             json,
    authorized_minor    bigint NOT NULL,
    captured_minor      bigint NOT NULL,
    refunded_minor      bigint NOT NULL,
    failure             json,
    processor_reference text,
    processed_at        timestamptz,
    due_at              timestamptz,
    CONSTRAINT captured_within_authorized CHECK (captured_minor BETWEEN 0 AND authorized_minor),
    CONSTRAINT authorized_within_amount CHECK (authorized_minor BETWEEN 0 AND amount_minor),
    CONSTRAINT refunded_within_captured CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    CONSTRAINT asked_means_unknown CHECK ((state = 'unknown') = (pending IS NOT NULL))
);
-- One expression and not three columns: no other index can then be mistaken for the way to it.
CREATE UNIQUE INDEX payments_reference ON payments ((merchant_id || '/' || mode || '/' || reference))
    WHERE reference IS NOT NULL;
CREATE INDEX payments_newest ON payments (merchant_id, mode, id);
CREATE INDEX payments_customer ON payments (merchant_id, mode, customer_id, id)
    WHERE customer_id IS NOT NULL;
CREATE INDEX payments_due ON payments (due_at) WHERE due_at IS NOT NULL;

-- A change names the version that it replaces. One that no longer finds it fails its transaction.
CREATE FUNCTION require_all(missing bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF missing <> 0 THEN
        RAISE EXCEPTION '% rows have changed in the meantime', missing
            USING ERRCODE = 'serialization_failure';
    END IF;
END $$;

CREATE TABLE refunds (
    id           uuid PRIMARY KEY,
    payment_id   uuid NOT NULL REFERENCES payments,
    merchant_id  text NOT NULL,
    mode         text NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency     text NOT NULL,
    created_at   timestamptz NOT NULL,
    state        text NOT NULL CHECK (state IN ('pending', 'succeeded', 'failed')),
    version      integer NOT NULL CHECK (version > 0),
    failure      json,
    due_at       timestamptz
);
CREATE INDEX refunds_of_payment ON refunds (payment_id);
CREATE INDEX refunds_due ON refunds (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE postings (
    transaction_id uuid NOT NULL,
    line           smallint NOT NULL,
    payment_id     uuid NOT NULL,
    account        text NOT NULL,
    currency       text NOT NULL,
    amount_minor   bigint NOT NULL CHECK (amount_minor <> 0),
    at             timestamptz NOT NULL,
    PRIMARY KEY (transaction_id, line)
);
CREATE INDEX postings_of_payment ON postings (payment_id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME;
END $$;
CREATE TRIGGER postings_are_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Checked once per statement, over the rows it wrote.
CREATE FUNCTION refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM written GROUP BY transaction_id, currency HAVING sum(amount_minor) <> 0)
    THEN
        RAISE EXCEPTION 'postings of a ledger transaction do not sum to zero';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER postings_are_balanced AFTER INSERT ON postings
    REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_unbalanced();

CREATE TABLE audit_entries (
    id           uuid PRIMARY KEY,
    at           timestamptz NOT NULL,
    merchant_id  text NOT NULL,
    mode         text NOT NULL,
    actor        text NOT NULL,
    request_id   text NOT NULL,
    action       text NOT NULL,
    outcome      text NOT NULL,
    payment_id   uuid,
    refund_id    uuid,
    state        text,
    amount_minor bigint,
    currency     text,
    code         text,
    param        text
);
CREATE INDEX audit_of_payment ON audit_entries (payment_id) WHERE payment_id IS NOT NULL;

-- The entries that no segment of the archived trail holds yet, and the segments there are. An entry
-- itself never changes, so that sealing it costs one short row and not a second copy of a long one.
CREATE TABLE audit_unsealed (
    id uuid PRIMARY KEY
);
CREATE TABLE audit_segments (
    segment bigint PRIMARY KEY,
    entries integer NOT NULL
);

CREATE TABLE idempotency (
    merchant_id text NOT NULL,
    mode        text NOT NULL,
    operation   text NOT NULL,
    key         text NOT NULL,
    at          timestamptz NOT NULL,
    record      json NOT NULL,
    PRIMARY KEY (merchant_id, mode, operation, key)
);
CREATE INDEX idempotency_age ON idempotency (at);

CREATE TABLE outbox (
    id         uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    message    json NOT NULL
);

CREATE TABLE api_keys (
    id          uuid PRIMARY KEY,
    hash        text NOT NULL UNIQUE,
    merchant_id text NOT NULL,
    mode        text NOT NULL CHECK (mode IN ('test', 'live')),
    label       text NOT NULL,
    last4       text NOT NULL,
    created_at  timestamptz NOT NULL,
    revoked_at  timestamptz
);
