-- The field's words: a card is encrypted, an entry archived, an operation has a previous state.

ALTER TABLE payments RENAME COLUMN sealed_card TO encrypted_card;
ALTER TABLE payments RENAME CONSTRAINT asked_means_unknown TO operation_means_unknown;
UPDATE payments
SET pending = (pending::jsonb - '{resume,promised}'::text[]) || jsonb_strip_nulls(jsonb_build_object(
        'previous_state', pending -> 'resume', 'queued', pending -> 'promised'))
WHERE pending IS NOT NULL;

ALTER TABLE audit_unsealed RENAME TO audit_unarchived;
UPDATE leases SET name = 'archive' WHERE name = 'seal';

ALTER TABLE health_verdicts RENAME TO health_states;
ALTER TABLE health_states RENAME COLUMN verdict TO state;

ALTER TABLE simulated_answers RENAME TO simulated_results;
ALTER TABLE simulated_results RENAME COLUMN asked TO instruction;
ALTER INDEX simulated_answers_of_payment RENAME TO simulated_results_of_payment;

UPDATE health_states
SET state = (state::jsonb - 'owed') || jsonb_build_object('unsent_alerts', state -> 'owed')
WHERE state -> 'owed' IS NOT NULL;
