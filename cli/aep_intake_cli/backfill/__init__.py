"""Objects that came by no event, through the routes."""
