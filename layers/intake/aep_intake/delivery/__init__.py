"""From a batch that was created to its end."""
