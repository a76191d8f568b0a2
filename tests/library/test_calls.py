"""Who may answer a call, and what is left of one? At a node whose role may do all, by what the router allows."""

from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.exception import Disconnected
from conftest import CHOSEN, Bundle, Config, MakeBundle
from websockets.exceptions import ConnectionClosed

from wampauth.testing.wamp import CALL, ERROR, INVOCATION, REGISTER, REGISTERED, RESULT, WELCOME, YIELD, RawClient
from wampauth.worker import calls, undelivered

CANCEL = 49
SLOW = "com.example.slow"


@pytest.fixture(scope="module")
def running(make_bundle: MakeBundle) -> Iterator[Bundle]:
    bundle = make_bundle(start=False, refusal_delay=0.05)

    def allow_all(config: Config) -> None:
        (realm,) = (one for one in config["workers"][0]["realms"] if one["name"] == "realm1")
        (role,) = (one for one in realm["roles"] if one["name"] == "frontend")
        role["permissions"] = [{"uri": SLOW, "allow": {"call": True, "register": True}}]

    bundle.edit_config(allow_all)
    started = bundle.start()
    yield bundle
    started.stop()


@pytest.fixture
def three(running: Bundle) -> Iterator[list[RawClient]]:
    """A callee, a caller, and somebody else."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(running.url)) for _ in range(3)]
        for client in clients:
            assert client.login_ticket("client1", CHOSEN)[0] == WELCOME
        assert clients[0].request(REGISTER, {}, SLOW)[0] == REGISTERED
        yield clients


def invocation(callee: RawClient) -> int:
    kind, identifier, *_ = callee.receive()
    assert kind == INVOCATION
    return int(identifier)


def test_only_the_callee_answers(three: list[RawClient]) -> None:
    callee, caller, other = three
    caller.send(CALL, 7, {}, SLOW)
    asked = invocation(callee)
    other.send(ERROR, INVOCATION, asked, {}, "com.example.pay_again", ["to somebody else"])
    with pytest.raises(ConnectionClosed):
        other.receive()
    callee.send(YIELD, asked, {}, ["true"])
    assert caller.receive()[0::3] == [RESULT, ["true"]]
    caller.send(CALL, 8, {}, SLOW)
    callee.send(ERROR, INVOCATION, invocation(callee), {}, "com.example.no", ["its own"])
    assert caller.receive()[4:] == ["com.example.no", ["its own"]]


def test_an_answer_to_what_was_cancelled_by_who_has_gone(running: Bundle, three: list[RawClient]) -> None:
    callee, caller, other = three
    before = len(running.log)
    caller.send(CALL, 7, {}, SLOW)
    asked = invocation(callee)
    caller.send(CANCEL, 7, {"mode": "skip"})
    caller.close()
    other.send(CALL, 8, {}, SLOW)
    for one in asked, invocation(callee):
        callee.send(YIELD, one, {}, ["late"])
    assert other.receive()[0::3] == [RESULT, ["late"]]
    assert "Traceback" not in running.log[before:]


class Session:
    """As the router's, for one that only calls, or is called."""

    _authrole, _session_id = "frontend", 5
    _transport: Any = None


def test_a_callee_that_leaves_while_a_caller_hangs_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who registers the same again can: nothing is left of the first one. In the router's own class."""
    from crossbar.router.dealer import Dealer
    from crossbar.router.router import Router

    for name in "processInvocationError", "_remove_invoke_request", "detach":
        monkeypatch.setattr(Dealer, name, getattr(Dealer, name))
    monkeypatch.setattr(Router, "send", Router.send)
    undelivered.pass_over()
    calls.see_to_calls()

    def closed(_: Any) -> None:
        raise Disconnected("Attempt to send on a closed protocol")

    router = Router.__new__(Router)
    router._trace_traffic = router._is_traced = False
    router._message_stats, router._realm, router._store = {"sent": {}}, None, None
    caller, callee = Session(), Session()
    caller._transport = SimpleNamespace(send=closed)
    call = SimpleNamespace(request=7)
    asked = SimpleNamespace(id=1, caller=caller, callee=callee, caller_session_id=5, call=call, timeout_call=None)
    dealer = Dealer(router, SimpleNamespace())
    registration, *_ = dealer._registration_map.add_observer(callee, SLOW, extra=SimpleNamespace(invoke="single"))
    dealer._session_to_registrations[callee] = {registration}
    dealer._invocations, dealer._invocations_by_call = {1: asked}, {(5, 7): asked}
    dealer._callee_to_invocations, dealer._caller_to_invocations = {callee: [asked]}, {caller: [asked]}
    dealer.detach(callee)
    assert dealer._registration_map.get_observation(SLOW) is None
    assert not (dealer._invocations or dealer._callee_to_invocations or dealer._caller_to_invocations)
