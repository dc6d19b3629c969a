"""The store on DynamoDB: one table."""
