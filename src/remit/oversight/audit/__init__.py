"""The archive of the audit trail in a bucket: how it is written, signed and verified."""
