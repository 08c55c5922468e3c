"""`aep-intake`: the operator's command.

`command.py` starts it, `commands/` holds what can be typed; the other modules do the work.
"""
