-- A payment records the processor that has its money. Until now there was one.

ALTER TABLE payments ADD COLUMN processor text;
UPDATE payments SET processor = 'simulated' WHERE processor_reference IS NOT NULL;
