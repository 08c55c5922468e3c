"""The content of files."""
