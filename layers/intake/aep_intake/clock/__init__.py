"""Due work and retries: when a worker must come back to something, and how it learns of it."""
