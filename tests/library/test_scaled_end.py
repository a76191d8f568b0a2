"""How does a node of six processes end? Without a traceback, whatever happens just then. (The router itself tells in a
line of each connection between them that it loses.)
"""

import json
import os
import signal
import threading
from contextlib import suppress

import psutil
import pytest
from conftest import CHOSEN, Bundle, MakeBundle, wait_for
from test_node import start_node
from test_scaled import workers

from wampauth.testing import RawClient
from wampauth.testing.node import START_TIMEOUT

STORM = 8  # clients that come again and again


@pytest.mark.slow
@pytest.mark.parametrize("meanwhile", ["storm", "store", "router", "authentication", "proxy1", "authenticator1"])
def test_it_ends_in_order(make_bundle: MakeBundle, meanwhile: str) -> None:
    """In the midst of a storm of logins; while the store is away, too; while one of its processes is frozen, too."""
    bundle = make_bundle("scaled.yaml", start=False, refusal_delay=0.05)
    node = bundle.start()
    wait_for(lambda: len(workers(bundle)) == 6, START_TIMEOUT)
    over, admitted = threading.Event(), threading.Semaphore(0)

    def come() -> None:
        while not over.is_set():
            with suppress(Exception), RawClient(bundle.url) as client:
                client.login_ticket("client1", CHOSEN)
                admitted.release()

    threads = [threading.Thread(target=come) for _ in range(STORM)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5 * STORM):
            assert admitted.acquire(timeout=START_TIMEOUT)
        if meanwhile == "store":
            bundle.store.rename(bundle.store.with_name("gone.db"))
            wait_for(lambda: "the store is away" in bundle.log)
        elif meanwhile != "storm":
            workers(bundle)[meanwhile].send_signal(signal.SIGSTOP)
        told = len(bundle.log)
    finally:
        node.stop()
        over.set()
        for thread in threads:
            thread.join()
    ended = bundle.log[told:]
    assert "Traceback" not in ended, ended
    if meanwhile != "store":
        assert "store is away" not in ended and "operators can't ask" not in ended, ended


@pytest.mark.slow
@pytest.mark.parametrize("begun", [1, 3, 5])
def test_it_ends_in_order_while_it_starts(make_bundle: MakeBundle, begun: int) -> None:
    """As soon as so many of its processes are there; and told so as ``timeout`` does it, which tells all of them."""
    bundle = make_bundle("scaled.yaml", start=False)
    (bundle.directory / "sockets").mkdir(0o700)
    start = start_node(bundle, "--directory", str(bundle.directory), "--config", "scaled.yaml")
    family = wait_for(lambda: of_node(bundle, begun), START_TIMEOUT)
    os.killpg(start.pid, signal.SIGTERM)
    output, _ = start.communicate(timeout=START_TIMEOUT)
    assert start.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in output and "Could not start" not in output, output
    assert psutil.wait_procs(family, START_TIMEOUT)[1] == []


def of_node(bundle: Bundle, begun: int) -> list[psutil.Process]:
    """All processes of the node, once so many of its workers run code of ours; none before."""
    with suppress(OSError, ValueError, psutil.NoSuchProcess):
        controller = psutil.Process(json.loads((bundle.directory / "node.pid").read_text())["pid"])
        found = controller.children()
        if len(found) == begun and all(os.getpgid(worker.pid) == worker.pid for worker in found):
            return [controller, *found]
    return []
