"""What we say: events, status, problems, metrics."""
