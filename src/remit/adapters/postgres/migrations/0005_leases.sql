-- Which worker does what only one may do at a time: relay the outbox, seal the audit trail. A lease
-- is a row and not a lock of a session: a function's container freezes with its sessions, and this
-- runs out by itself.

CREATE TABLE leases (
    name       text PRIMARY KEY,
    holder     uuid NOT NULL,
    held_until timestamptz NOT NULL
);
