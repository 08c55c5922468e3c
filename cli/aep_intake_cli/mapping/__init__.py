"""From a file to a route with a map: what is guessed, and what would become of it."""
