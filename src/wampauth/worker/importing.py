"""What does the router write when a module can't be imported?

Crossbar.io 26.10.1 writes the traceback into its log and shows it to its controller, with the text of the exception: of
a module that reads a secret and fails over it, the secret. Here the text is left out; what and where is told.
"""

import sys
from types import SimpleNamespace

from wampauth.told import load

MODULES = ("crossbar.worker", "crossbar.router.auth.pending")  # for components, and for factories


def tell_no_text(name: str) -> None:
    """Have a module of the router import so: it has just been loaded. Safe to call again."""
    vars(sys.modules[name])["importlib"] = SimpleNamespace(import_module=load)


def of_components() -> None:
    tell_no_text(MODULES[0])


def of_factories() -> None:
    tell_no_text(MODULES[1])
