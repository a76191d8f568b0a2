"""How often does Python look for garbage, and where?

A worker with the router's modules holds some 180,000 objects that stay for good. Left to itself, Python looks through
all of them again for each few hundred clients that come in: a fifth of a second each time, in which nobody else is
served, and in a storm a third of a login's CPU. Here it passes over what was there at the start, and looks less often
for what is new.
"""

import functools
import gc

APART = 5_000  # new objects from one look at the newest to the next; by itself 700, for which four clients suffice


@functools.cache
def settle() -> None:
    """From now on, what there is stays, and isn't looked at again. Only the first call counts: later, there are clients
    whose objects would stay as well. A threshold that somebody else has raised, or switched off, is left alone."""
    gc.collect()
    gc.freeze()
    newest, *older = gc.get_threshold()
    if 0 < newest < APART:
        gc.set_threshold(APART, *older)
