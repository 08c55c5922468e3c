"""`aep-intake`: what the people who run an intake type.

`command.py` is where it starts, `commands/` is what can be typed; everything else does it.
"""
