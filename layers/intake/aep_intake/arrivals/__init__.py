"""The way in: from a message or a request to an order."""
