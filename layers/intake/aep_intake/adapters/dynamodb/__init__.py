"""The ledger: one DynamoDB table."""
