"""One Adobe Experience Platform batch for every arrival: the code behind the functions."""

__version__ = "0.1.0"  # of everything: the one place
