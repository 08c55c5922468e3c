"""Routing tables: what is wrong with one, what becomes of a key, how many batches it makes."""
