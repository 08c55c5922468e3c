"""Where a file goes, and whether AEP can take it."""
