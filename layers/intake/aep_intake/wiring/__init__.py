"""What each function is made of."""
