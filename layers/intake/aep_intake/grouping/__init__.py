"""Many files, few orders."""
