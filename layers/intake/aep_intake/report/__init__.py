"""Everything the intake reports: events, status, problems, logs and metrics."""
