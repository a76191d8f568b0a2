"""What is changed in each process of a node before anything else runs?

Python imports the module of this name when it starts, if its folder is on the path. ``wampauth start`` and
``wampauth.testing.Node`` put it there, and Crossbar.io's controller passes its path on to all workers. Six things
that a stranger could use are taken away:

* ``py_ecc``, which Autobahn brings, raises Python's recursion limit to 100,000: a frame of 60,000 ``[`` then keeps a
  worker for a minute. Here it has been imported already, and the limit is Python's own again.
* Twisted's timers run on the wall clock: a step back of two hours would stall each of them, and with it what ends
  sessions, by two hours. Here they run on the monotonic clock.
* HTTP/2 would be offered over TLS wherever the package ``h2`` is installed. It bypasses the time-outs of HTTP/1.1, and
  WebSocket doesn't need it. Here Twisted finds it missing.
* What a message in CBOR may hold can keep a process for a quarter of a minute, or take all memory (``tags.py``).
* So can the body of an HTTP request, or fill the disk (``bodies.py``).
* The router takes as many proofs on one challenge as a client sends, so that passwords could be guessed without a limit
  (``proofs.py``). Here it takes one.

A listener shows a renewed certificate without a restart (``renewal.py``). Authenticators hear of proofs that were right
(``proven.py``).
A connection carries one session, and takes it along when it is closed (``welcomed.py``, at a proxy ``joining.py``);
while it is being closed, nobody else misses a message over it (``undelivered.py``). A call is answered by its callee
(``calls.py``).
A client behind a proxy is told why its session was ended (``goodbye.py``), and the router of one that came over TLS
(``announced.py``); the operator is told which Origins are refused.
What the router writes about strangers is bounded here, too (``logs.py``): a proxy loads nothing else of the library. So
is what it keeps of names that clients make up (``decided.py``).
And of a module that can't be imported it writes what has happened where, and not the text of the exception, which may
hold a secret (``importing.py``).
And a worker ends when its controller does, whatever ends that, and not before: one that hangs wouldn't notice, would
keep the ports, and there would be no node to stop any more.

This file is no place for what could be done elsewhere. ``wampauth.worker.missing`` tells whether it is in force.
"""

import ctypes
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

RECURSION_LIMIT = 1_000  # Python's own
WORKER = "crossbar.worker.main"  # in the arguments of a worker
CHANGED = {  # modules of the router, and what changes them
    "autobahn.wamp.serializer": [("wampauth.worker.tags", "refuse")],
    "autobahn.websocket.protocol": [("wampauth.origins", "tell_of_refused")],
    "crossbar.common.twisted.web": [("wampauth.worker.bodies", "bound")],
    "crossbar.common.twisted.endpoint": [("wampauth.worker.renewal", "renew_certificates")],
    "crossbar.router.auth": [
        ("wampauth.worker.proofs", "see_to_proofs"),
        ("wampauth.worker.importing", "of_factories"),
    ],
    "crossbar.router.dealer": [("wampauth.worker.calls", "see_to_calls")],
    "crossbar.router.protocol": [("wampauth.worker.welcomed", "refuse_the_smallest")],
    "crossbar.router.router": [
        ("wampauth.worker.decided", "keep_few"),
        ("wampauth.worker.undelivered", "pass_over"),
    ],
    "crossbar.router.session": [("wampauth.worker.welcomed", "let_in_once")],
    "crossbar.worker": [("wampauth.worker.importing", "of_components")],
    "crossbar.worker.proxy": [
        ("wampauth.worker.goodbye", "pass_on"),
        ("wampauth.worker.joining", "keep_to_one"),
        ("wampauth.worker.announced", "announce"),
        ("wampauth.worker.once", "connect_once"),
    ],
}
PR_SET_PDEATHSIG = 1  # <sys/prctl.h>


def run_the_next() -> None:
    """Run the ``sitecustomize`` that would have been imported if we weren't there."""
    here = Path(__file__).parent
    elsewhere = [folder for folder in sys.path if Path(folder).resolve() != here.resolve()]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", elsewhere)
    if spec and spec.loader:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def limit_recursion() -> None:
    """See that nobody has raised the limit, and that ``py_ecc`` doesn't do it later."""
    with suppress(ImportError):
        import py_ecc  # type: ignore[import-untyped]  # noqa: F401
    sys.setrecursionlimit(RECURSION_LIMIT)


def use_the_monotonic_clock() -> None:
    """Let all timers of a reactor that is imported from now on be right when the wall clock is changed."""
    from twisted.python import runtime

    runtime.seconds = time.monotonic
    runtime.Platform.seconds = staticmethod(time.monotonic)


def offer_no_http2() -> None:
    """Let Twisted find that what it needs for HTTP/2 isn't installed."""
    sys.modules["twisted.web._http2"] = None  # type: ignore[assignment]  # to import it is an ImportError


def date_access_logs() -> None:
    """Twisted dates the lines of an access log by the reactor's clock, which isn't the wall clock any more."""
    from twisted.web import http

    as_text = http.datetimeToLogString
    http.datetimeToLogString = lambda moment=None: as_text(time.time())


def change_the_router() -> None:
    """Each module that is to be changed as soon as it is there. A proxy has no other code of ours that could do it."""

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
            spec = importlib.machinery.PathFinder.find_spec(name, path) if name in CHANGED else None
            if spec is None or spec.loader is None:
                return None
            load = spec.loader.exec_module

            def load_and_change(module: Any) -> None:
                load(module)
                with suppress(ImportError):
                    for change, function in CHANGED[name]:
                        getattr(importlib.import_module(change), function)()

            spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
            return spec

    if WORKER in sys.orig_argv:
        sys.meta_path.insert(0, Finder())


def end_with_the_controller() -> None:
    """Let the controller end this worker in its turn: a signal to the whole process group, as ``timeout`` sends it,
    would end it first, and the controller would take that for a fault. If it is gone, let the kernel end this worker;
    only Linux can."""
    if WORKER not in sys.orig_argv:
        return
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_once() -> None:
    """Let a second SIGTERM be none: whoever tells a whole process group to end, and ``wampauth start`` in it, both tell
    the controller, and Twisted would write a traceback over the second."""
    if WORKER in sys.orig_argv:
        return
    from twisted.internet.base import ReactorBase

    told = ReactorBase.sigTerm

    def told_once(self: Any, *signal: Any) -> None:
        if not hasattr(self, "was_told_to_end"):
            self.was_told_to_end = True
            told(self, *signal)

    ReactorBase.sigTerm = told_once  # type: ignore[method-assign]


def have_many_files_open() -> None:
    """Let each worker have as many connections as the system allows. In a proxy, each client is two."""
    if WORKER in sys.orig_argv:
        from wampauth.worker import files

        files.raise_limit()


def bound_the_log() -> None:
    """See that nobody can fill the disk through the log of this worker."""
    if WORKER in sys.orig_argv:
        from wampauth import logs

        logs.bound()


def tell_that_it_is_alive() -> None:
    """Send beats to ``wampauth start``, which stops a node with a part that hangs."""
    from wampauth.worker import beat

    beat.begin()


run_the_next()
end_with_the_controller()
change_the_router()
limit_recursion()
with suppress(ImportError):  # a process of another kind, with other packages
    offer_no_http2()
    use_the_monotonic_clock()
    end_once()
    date_access_logs()
    bound_the_log()
    have_many_files_open()
if "WAMPAUTH_BEATS" in os.environ:
    with suppress(ImportError):  # this is another Python than ours
        tell_that_it_is_alive()
