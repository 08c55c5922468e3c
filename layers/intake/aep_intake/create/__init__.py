"""One order, exactly one batch."""
