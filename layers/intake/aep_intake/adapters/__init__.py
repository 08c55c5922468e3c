"""The outside world, one class per external system."""
