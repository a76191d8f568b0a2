"""The contract of a store through which operators reach the nodes (``Reaching``): who is asked, and who hears what?"""

from wampauth.testing.contract.hooks import Hooks
from wampauth.testing.contract.reactor import do

HERE, THERE = "sessions@here:1:abcd", "logins@there:2:efgh"
LONG = '"' + "x" * 90_000 + '"'


class ReachingContract(Hooks):
    """The contract of ``Reaching``, as tests; it needs no other hooks."""

    def test_who_looks_for_requests_is_told_to_those_who_ask(self) -> None:
        for node in HERE, THERE, HERE:
            assert do(self._store.requests, node) == {}
        _, nodes = do(self._store.request, '{"do": "sessions"}')
        assert {HERE, THERE} <= set(nodes)

    def test_a_request_is_seen_by_all_until_it_is_withdrawn(self) -> None:
        (first, _), (second, _) = (do(self._store.request, text) for text in ('"one"', '"two"'))
        for node in HERE, THERE:
            assert do(self._store.requests, node) == {first: '"one"', second: '"two"'}
        do(self._store.withdraw, first, ())
        assert do(self._store.requests, HERE) == {second: '"two"'}

    def test_each_part_is_read_once_and_those_of_one_process_in_order(self) -> None:
        identifier, _ = do(self._store.request, '"?"')
        assert list(do(self._store.answers, identifier)) == []
        for number in range(12):
            for node in HERE, THERE:
                assert do(self._store.answer, identifier, node, number, str(number)) is True
        heard: list[tuple[str, str]] = []
        while parts := list(do(self._store.answers, identifier)):
            heard += parts
        for node in HERE, THERE:
            assert [text for who, text in heard if who == node] == [str(number) for number in range(12)]

    def test_long_answers_come_whole(self) -> None:
        identifier, _ = do(self._store.request, '"?"')
        do(self._store.answer, identifier, HERE, 0, LONG)
        assert [tuple(part) for part in do(self._store.answers, identifier)] == [(HERE, LONG)]

    def test_nobody_answers_what_was_withdrawn(self) -> None:
        identifier, _ = do(self._store.request, '"?"')
        do(self._store.answer, identifier, HERE, 0, '"too late"')
        do(self._store.withdraw, identifier, (HERE,))
        assert do(self._store.answer, identifier, HERE, 1, '"too late"') is False
        assert list(do(self._store.answers, identifier)) == []

    def test_who_is_gone_is_there_again_when_it_looks_again(self) -> None:
        do(self._store.requests, HERE)
        identifier, _ = do(self._store.request, '"?"')
        do(self._store.withdraw, identifier, (HERE,))
        do(self._store.requests, HERE)
        assert HERE in do(self._store.request, '"?"')[1]
