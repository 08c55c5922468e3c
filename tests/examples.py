"""How many examples a property is tried with."""

from hypothesis import settings

USUAL = 60  # where a test does not say; a profile changes it


def examples(number: int) -> int:
    """So many, or as large a part of them as the profile takes of the usual number."""
    return max(1, number * settings().max_examples // USUAL)
