"""What must be looked at again, and when."""
