"""Each function imports this before anything else of ours: it starts a tenth sooner.

What is made at import stays, so the garbage collector would run 40 times for nothing.
`Worker.prepare` switches it on again. Only functions may import this: in any other process nobody
would.
"""

import gc

gc.disable()
