"""Files of this machine, behind the ports that S3, SNS and KMS fill in AWS."""
