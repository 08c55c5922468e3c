"""The AWS services but for the ledger's."""
