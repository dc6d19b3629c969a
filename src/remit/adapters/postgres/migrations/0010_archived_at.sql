-- When each segment of the audit trail was archived: what is past its retention may be gone.

ALTER TABLE audit_segments ADD COLUMN archived_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE audit_segments ALTER COLUMN archived_at DROP DEFAULT;
