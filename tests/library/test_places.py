"""Does an address leave room for the others?"""

import random
from collections import Counter

import pytest

from wampauth.places import Places


@pytest.mark.parametrize("number", [2, 3, 16, 1000, 2000])
def test_one_address_has_half_of_them_and_another_gets_in(number: int) -> None:
    places = Places(number)
    assert sum(places.take("mallory") for _ in range(2 * number)) == (number + 1) // 2
    assert places.take("alice")


def test_four_addresses_cannot_take_them_all() -> None:
    places = Places(1000)
    for address in ["first", "second", "third", "fourth"]:
        while places.take(address):
            pass
    assert places.take("alice")


def test_what_is_left_can_be_taken_again() -> None:
    places, holding = Places(20), Counter[str]()
    dice = random.Random(1)
    for _ in range(10_000):
        address = dice.choice("abcdefgh")
        if dice.random() < 0.5 and holding[address]:
            places.leave(address)
            holding[address] -= 1
        elif places.take(address):
            holding[address] += 1
        assert len(places) == holding.total() <= 20
    for address, number in holding.items():
        for _ in range(number):
            places.leave(address)
    assert (len(places), len(places._holding)) == (0, 0)
