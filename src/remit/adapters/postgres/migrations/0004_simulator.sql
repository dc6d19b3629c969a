-- What the simulated processor answered, where the service has no file that its processes share.
-- It stands for an outside party: nothing of the service's own refers to it.

CREATE TABLE simulated_answers (
    key        text PRIMARY KEY,
    payment_id uuid NOT NULL,
    asked      json NOT NULL
);
CREATE INDEX simulated_answers_of_payment ON simulated_answers (payment_id);
