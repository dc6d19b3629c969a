-- What the health monitor saw last: one row, so that an alert is sent once for each change.

CREATE TABLE health_verdicts (
    monitor text PRIMARY KEY CHECK (monitor = 'health'),
    version bigint NOT NULL,
    verdict json NOT NULL
);
