"""Are those found whom something concerns, and are the others forgotten in time?"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wampauth import Principal
from wampauth.live import SPARE, Live, LiveSessions


def live(number: int, expires: float | None = None, **given: Any) -> Live:
    known = {"authid": f"person-{number % 3}", "realm": "realm1", "role": "frontend", "credential": f"c{number}"}
    return Live(number, Principal(**{**known, **given}), "127.0.0.1", expires)


@pytest.fixture
def here() -> LiveSessions:
    return LiveSessions()


def test_those_with_a_credential_are_found_by_their_authid(here: LiveSessions) -> None:
    for number in range(6):
        here.add(live(number), confirmed=True)
    here.add(live(6, credential=None), confirmed=True)
    assert sorted(one.session for one in here.with_credential({"person-0", "nobody"})) == [0, 3]
    assert sorted(one.session for one in here.with_credential(None)) == [0, 1, 2, 3, 4, 5]


def test_who_leaves_is_forgotten(here: LiveSessions) -> None:
    for number in range(6):
        here.add(live(number), confirmed=number % 2 == 0)
    for number in range(6):
        assert here.remove(number) is not None
        assert here.remove(number) is None
    assert not (here._sessions or here._by_authid or here.unconfirmed)


def test_an_unconfirmed_session_does_not_run_out_by_itself(here: LiveSessions) -> None:
    """It is the store's turn."""
    newcomer = live(1, 10.0)
    here.add(newcomer, confirmed=False)
    assert here.run_out(20.0) == []
    here.confirm(newcomer, 10.0)
    assert here.run_out(20.0) == [newcomer]
    assert here.run_out(20.0) == []


def test_those_who_come_and_go_long_before_they_run_out_leave_nothing(here: LiveSessions) -> None:
    for number in range(10 * SPARE):
        here.add(live(number, 1e9 + number), confirmed=True)
        here.remove(number)
    assert len(here._expiries) <= SPARE


def test_an_expiry_that_is_put_off_again_and_again_leaves_nothing(here: LiveSessions) -> None:
    one = live(1, 0.0)
    here.add(one, confirmed=True)
    for moment in range(10 * SPARE):
        here.confirm(one, float(moment))
    assert len(here._expiries) <= SPARE + 2
    assert here.run_out(10 * SPARE - 2) == []
    assert here.run_out(10 * SPARE) == [one]


moments = st.none() | st.integers(0, 20).map(float)
steps = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 5), moments),
    st.tuples(st.just("confirm"), st.integers(0, 5), moments),
    st.tuples(st.just("remove"), st.integers(0, 5), st.none()),
    st.tuples(st.just("end"), st.integers(0, 5), st.none()),
    st.tuples(st.just("run out"), st.just(0), st.integers(0, 20).map(float)),
)


@given(st.lists(steps, max_size=60))
def test_whatever_happens_those_run_out_whose_time_is_up(happened: list[tuple[str, int, float | None]]) -> None:
    """Compared with a look at everybody. Who has run out is not confirmed any more, as the component does it."""
    here = LiveSessions()
    for what, number, moment in happened:
        known = here.get(number)
        if what == "add" and not known:
            here.add(live(number, moment), confirmed=True)
        elif what == "confirm" and known and not known.ended:
            here.confirm(known, moment)
        elif what == "remove":
            here.remove(number)
        elif what == "end" and known:
            known.ended = True
        elif what == "run out" and moment is not None:
            expected = {
                one
                for one in here._sessions.values()
                if not one.ended and one not in here.unconfirmed and one.expires is not None and one.expires <= moment
            }
            found = here.run_out(moment)
            assert set(found) == expected
            here.unconfirmed.update(found)
