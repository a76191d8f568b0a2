"""How often may somebody try, and what counts as the same somebody? On a clock that the test turns by hand."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from wampauth import claims, forwarded
from wampauth.settings import Settings
from wampauth.throttle import Throttle, counted_address

HERE, THERE = "192.0.2.1", "198.51.100.1"


class Tries:
    """A throttle on a clock, with the default settings but for those given."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.throttle = Throttle(self.clock, Settings(**settings))

    def failures(self, subject: str, host: str, tries: int = 200) -> int:
        """How many of so many failing attempts are let through to the check, all made now."""
        return sum(self.throttle.take(subject, host) == 0 for _ in range(tries))

    @property
    def buckets(self) -> int:
        return len(self.throttle._full_again)


def test_ten_at_once_and_then_one_a_second() -> None:
    tries = Tries()
    assert tries.failures("alice", HERE) == 10
    for _ in range(5):
        tries.clock.advance(1)
        assert tries.failures("alice", HERE) == 1
    tries.clock.advance(4.5)
    assert tries.failures("alice", HERE) == 4
    tries.clock.advance(0.5)
    assert tries.failures("alice", HERE) == 1


def test_tokens_come_back_up_to_the_full_number_and_no_further() -> None:
    tries = Tries()
    tries.failures("alice", HERE)
    tries.clock.advance(1_000_000)
    assert tries.failures("alice", HERE) == 10


def test_who_is_throttled_learns_when_to_come_back_and_pays_nothing_for_asking() -> None:
    tries = Tries(failures_at_once=1, failures_per_second=0.1)
    assert tries.throttle.take("alice", HERE) == 0
    waits = [tries.throttle.take("alice", HERE) for _ in range(50)]
    assert waits == pytest.approx([10.0] * 50)
    tries.clock.advance(waits[0] / 2)
    assert tries.throttle.take("alice", HERE) == pytest.approx(waits[0] / 2)
    tries.clock.advance(waits[0] / 2)
    assert tries.throttle.take("alice", HERE) == 0


def test_an_address_has_ten_times_as_many_whoever_it_claims_to_be() -> None:
    tries = Tries()
    assert sum(tries.failures(f"user{number}", HERE, 5) for number in range(100)) == 100
    tries.clock.advance(1)
    assert sum(tries.failures(f"user{number}", HERE, 5) for number in range(100, 200)) == 10


@pytest.mark.parametrize("per_second", [0.1, 0.3, 1.0, 7.0])
def test_the_numbers_are_exact_on_a_clock_that_counts_from_1970(per_second: float) -> None:
    clock = Clock()
    clock.advance(1_795_000_000.123456)
    throttle = Throttle(clock, Settings(failures_per_second=per_second))
    assert sum(throttle.take("alice", HERE) == 0 for _ in range(50)) == 10
    assert sum(throttle.take(f"user{number}", HERE) == 0 for number in range(200)) == 90


def test_somebody_else_at_another_address_is_not_locked_out() -> None:
    tries = Tries()
    for host in range(2, 200):
        tries.failures("alice", f"192.0.2.{host}")
    assert tries.throttle.take("alice", HERE) == 0
    assert tries.failures("bob", THERE) == 10


def test_success_gives_the_pair_its_tokens_back() -> None:
    tries = Tries()
    for _ in range(20):
        assert tries.failures("alice", HERE, 9) == 9  # an honest client that mistypes ...
        assert tries.throttle.take("alice", HERE) == 0  # ... and gets it right at last
        tries.throttle.give_back("alice", HERE)
        tries.clock.advance(0.9)  # seconds, for the address' own tokens


def test_success_does_not_refill_the_address() -> None:
    """Otherwise one account of one's own would do to guess at all the others."""
    tries = Tries()
    let_through = 0
    for number in range(100):
        let_through += tries.failures(f"victim{number}", HERE, 5)
        if tries.throttle.take("mallory", HERE) == 0:
            tries.throttle.give_back("mallory", HERE)
    assert let_through == 100


def test_success_does_not_refill_somebody_elses_pair() -> None:
    tries = Tries()
    assert tries.failures("alice", HERE) == 10
    for _ in range(10):
        tries.throttle.take("mallory", HERE)
        tries.throttle.give_back("mallory", HERE)
    assert tries.throttle.take("alice", HERE) > 0


def test_an_address_holds_no_more_than_its_full_number_after_many_successes() -> None:
    tries = Tries()
    for _ in range(1000):
        tries.throttle.give_back("alice", HERE)
    assert sum(tries.failures(f"user{number}", HERE, 5) for number in range(100)) == 100


def test_memory_is_bounded_and_what_is_oldest_goes_first() -> None:
    tries = Tries()  # 100,000 entries
    assert tries.failures("alice", HERE) == 10
    for number in range(60_000):  # two entries each
        tries.throttle.take("alice", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert tries.buckets == 100_000
    assert tries.throttle.take("alice", HERE) == 0  # forgotten, and so full again
    recent = 59_999
    host = f"10.{recent >> 16}.{recent >> 8 & 255}.{recent & 255}"
    assert tries.failures("alice", host) == 9  # remembered


def test_memory_is_for_those_who_failed_lately() -> None:
    """In a year millions fail, each once in a while; as soon as a bucket is full again, it needn't be remembered."""
    tries = Tries()  # a bucket is full again after at most 10 seconds
    for number in range(5_000):
        tries.throttle.take(f"user{number}", f"10.0.{number >> 8}.{number & 255}")
        tries.clock.advance(0.1)
    assert tries.buckets < 2 * 2 * 100
    assert tries.failures("user4999", "10.0.19.135") == 9  # who failed a moment ago is


def test_after_a_flood_its_buckets_go() -> None:
    tries = Tries()
    for number in range(20_000):
        tries.throttle.take("alice", f"10.0.{number >> 8}.{number & 255}")
    assert tries.buckets == 40_000
    tries.clock.advance(60)
    for _ in range(20_000):
        tries.throttle.take("bob", HERE)
        tries.clock.advance(1)
    assert tries.buckets == 2


def test_one_address_cannot_push_the_others_out_at_once() -> None:
    """What is throttled is not remembered, so a flood from one address adds no more than its tokens."""
    tries = Tries()
    for number in range(10_000):
        tries.throttle.take(f"user{number}", HERE)
    assert tries.buckets == 101


def test_what_is_in_use_is_not_what_is_oldest() -> None:
    tries = Tries(throttle_entries=100)
    tries.failures("alice", HERE)
    for number in range(1000):
        tries.throttle.take("bob", f"198.51.{number >> 8}.{number & 255}")
        assert tries.throttle.take("alice", HERE) > 0  # goes on trying, and so stays throttled
    assert tries.buckets == 100


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:0:ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:0DB8:0000::0001", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("::1", "127.0.0.1", False),
        ("unix", "unix", True),
        ("unix", "unknown", False),
    ],
)
def test_which_addresses_count_as_one(one: str, other: str, same: bool) -> None:
    assert (counted_address(one) == counted_address(other)) is same
    tries = Tries()
    tries.failures("alice", one)
    assert (tries.throttle.take("alice", other) > 0) is same


# -- whose address it is

PROXY, INNER_PROXY = "10.0.0.1", "10.0.0.2"
TRUSTED = (PROXY, INNER_PROXY)


def host(peer: object, forwarded: object = None, trusted: tuple[str, ...] = TRUSTED) -> str:
    """The address that counts, for what the transport says."""
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    return claims.origin({"transport": {"peer": peer, "http_headers_received": headers}}, trusted).address


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        ("tcp4:192.0.2.1:5000", "192.0.2.1"),
        ("tcp6:2001:db8::1:5000", "2001:db8::1"),
        ("tcp6:::1:5000", "::1"),
        ("tcp:192.0.2.1:5000", "192.0.2.1"),
        ("unix:/run/x.sock", "unix"),
        ("unix", "unix"),
        ("process:4711", "process"),
        (None, "unknown"),
        ("", "unknown"),
    ],
)
def test_the_peer_in_all_its_forms(peer: object, found: str) -> None:
    assert host(peer) == found


DIRECT = f"tcp4:{HERE}:5000"
PROXIED = f"tcp4:{PROXY}:5000"


@pytest.mark.parametrize("forwarded", [THERE, f"{THERE}, {PROXY}", "", "nonsense", "127.0.0.1"])
def test_nobody_is_believed_by_default(forwarded: str) -> None:
    assert host(DIRECT, forwarded, ()) == HERE
    assert host(PROXIED, forwarded, ()) == PROXY


@pytest.mark.parametrize("forwarded", [THERE, f"{THERE}, {PROXY}", f"{PROXY}"])
def test_a_client_that_is_no_trusted_proxy_is_not_believed(forwarded: str) -> None:
    assert host(DIRECT, forwarded) == HERE


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        (HERE, HERE),
        (f"  {HERE} ", HERE),
        (f"{THERE}, {HERE}", HERE),  # the proxy adds on the right; what stands left of it the client has written
        (f"127.0.0.1,{HERE}", HERE),
        (f"{HERE}, {INNER_PROXY}", HERE),  # two proxies in a row
        (f"{THERE}, {HERE}, {INNER_PROXY}", HERE),
        (f"{INNER_PROXY}, {HERE}, {INNER_PROXY}", HERE),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:0DB8:0::1", "2001:db8::1"),
        (PROXY, PROXY),
        ("", PROXY),
        (None, PROXY),
    ],
)
def test_a_trusted_proxy_vouches_for_the_address_that_it_adds(forwarded: object, found: str) -> None:
    assert host(PROXIED, forwarded) == found


HOPS = [  # how proxies write it: in X-Forwarded-For or in the "for" of Forwarded
    (HERE, HERE),
    (f"{HERE}:5000", HERE),
    (f'"{HERE}"', HERE),
    (f'"{HERE}:5000"', HERE),
    ("2001:db8::1", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("[2001:DB8:0::1]:5000", "2001:db8::1"),
    ('"[2001:db8::1]:5000"', "2001:db8::1"),
    ('"[2001:db8::1]"', "2001:db8::1"),
    (f"::ffff:{HERE}", HERE),
    (f"[::ffff:{HERE}]:5000", HERE),
    ("fe80::1%eth0", "fe80::1"),
    ("_hidden", f"_hidden behind {PROXY}"),
    ('"_SEVKISEK:_80"', f"_sevkisek behind {PROXY}"),
    ("unknown", f"unknown behind {PROXY}"),
    ("Unknown", f"unknown behind {PROXY}"),
    ("", f"unreadable behind {PROXY}"),
    ("-", f"unreadable behind {PROXY}"),
    ("client.example.com", f"unreadable behind {PROXY}"),
    ("192.0.2.256", f"unreadable behind {PROXY}"),
    ("192.0.2.1:", f"unreadable behind {PROXY}"),
    ("[192.0.2.1", f"unreadable behind {PROXY}"),
    ("a" * 100_000, f"unreadable behind {PROXY}"),
    ("_" + "a" * 100, f"unreadable behind {PROXY}"),
]


@pytest.mark.parametrize(("hop", "found"), HOPS)
@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("x-forwarded-for", "{}"),
        ("x-forwarded-for", f"{THERE}, {{}}"),  # two headers of one name are joined like this
        ("x-forwarded-for", f"127.0.0.1,{{}} , {INNER_PROXY}:80"),
        ("x-forwarded-for", 'for="evil, {}'),
        ("forwarded", "for={}"),
        ("forwarded", "For={};proto=https;by=203.0.113.43"),
        ("forwarded", f"for={THERE}, proto=https ; for = {{}}"),
        ("forwarded", f'for={{}}, for="{INNER_PROXY}:80";host="a"'),
        ("forwarded", 'for="evil, for={}'),
        ("x-real-ip", "{}"),
    ],
)
def test_each_form_in_which_a_proxy_tells_an_address(header: str, form: str, hop: str, found: str) -> None:
    """What isn't an address is counted apart, and not as the proxy's own, where all others would share its tokens.
    It isn't skipped either: what stands left of it is the client's own word, so that it could choose its address."""
    if hop == "" and form == "{}":
        found = PROXY  # nothing was told
    assert behind({header: form.format(hop)}).replace(INNER_PROXY, PROXY) == found


def behind(headers: dict[str, str]) -> str:
    return claims.origin({"transport": {"peer": PROXIED, "http_headers_received": headers}}, TRUSTED).address


@pytest.mark.parametrize("value", ["proto=https", "by=192.0.2.9", f"xfor={HERE}", "for", f"{HERE}"])
def test_an_element_of_forwarded_that_names_nobody(value: str) -> None:
    assert behind({"forwarded": value}) == f"unreadable behind {PROXY}"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-forwarded-for": HERE, "x-real-ip": HERE, "forwarded": f"for={HERE}"}, HERE),
        ({"x-forwarded-for": f"{HERE}, {INNER_PROXY}", "x-real-ip": INNER_PROXY}, HERE),  # nginx behind nginx
        ({"x-forwarded-for": HERE, "forwarded": f"for={THERE}"}, f"contradictory behind {PROXY}"),
        ({"x-forwarded-for": HERE, "x-real-ip": THERE}, f"contradictory behind {PROXY}"),
        ({"x-forwarded-for": HERE, "x-real-ip": "nonsense"}, f"contradictory behind {PROXY}"),
        ({"x-forwarded-for": PROXY, "x-real-ip": PROXY}, PROXY),
    ],
)
def test_a_header_that_the_proxy_does_not_write_is_the_clients_own(headers: dict[str, str], found: str) -> None:
    """It could choose its address, if it were believed; and it doesn't share the tokens of honest clients."""
    assert behind(headers) == found


@pytest.mark.parametrize("peer", [f"tcp6:::ffff:{PROXY}:5000", f"tcp4:{PROXY}:5000", f"tcp:{PROXY}:5000"])
def test_a_proxy_is_known_in_each_form(peer: str) -> None:
    """At a socket for IPv6, IPv4 comes like this."""
    assert host(peer, HERE) == HERE


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"x-forwarded-for": "nonsense"}, "unreadable"),
        ({"x-forwarded-for": HERE, "x-real-ip": THERE}, "contradictory"),
        ({}, "doesn't say whose"),
    ],
)
def test_what_a_proxy_does_not_tell_is_an_error_in_the_log_once(
    headers: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarded, "_told", set())
    lines: list[str] = []
    monkeypatch.setattr(forwarded.log, "error", lambda text, **fields: lines.append(text.format(**fields)))
    for _ in range(3):
        behind(headers)
    assert len(lines) == 1
    assert told in lines[0]
    assert PROXY in lines[0]
    assert "nonsense" not in lines[0]


@pytest.mark.parametrize("header", ["nonsense", "unknown", "_him"])
def test_one_guesser_behind_a_proxy_locks_nobody_out(header: str) -> None:
    """Neither those whose address is told, nor the proxy itself, whatever the guesser's own looks like."""
    tries = Tries()
    assert tries.failures("alice", behind({"x-forwarded-for": header})) == 10
    assert tries.failures("alice", behind({"x-forwarded-for": HERE})) == 10
    assert tries.failures("alice", PROXY) == 10
