"""The database ports on DynamoDB, in one table."""
