"""Adapters to AWS: SQS, SNS, S3, KMS, CloudWatch, ECS, and the logins to RDS and ElastiCache."""
