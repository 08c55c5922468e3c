"""Each function imports this before anything else of ours: it starts a tenth sooner.

What is made at import stays, so whoever looks for garbage meanwhile looks in vain, 40 times.
`Worker.prepare` begins to look again.
"""

import gc

gc.disable()


def is_over() -> None:
    """From now on there may be garbage, but not among what is there already."""
    gc.freeze()
    gc.enable()
