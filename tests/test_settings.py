"""What may stand in the configuration, and what stops the node? Nothing that is misspelt is passed over in silence."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from settings import Settings, SettingsError, require_private

CROSSBAR = Path(__file__).parent.parent / ".crossbar"
VALID: dict[str, Any] = {
    "database": "/srv/principals.db",
    "audit": "/var/log/audit.jsonl",
    "refusal_delay": 0.5,
    "deadline": 10,
    "failures_at_once": 3,
    "failures_per_second": 0.01,
    "address_factor": 100,
    "throttle_entries": 5,
    "shared": True,
    "require_tls": True,
    "require_channel_binding": True,
}


def test_without_any_the_defaults_hold() -> None:
    assert Settings.from_config(None) == Settings.from_config({}) == Settings()


def test_the_defaults_are_those_that_are_promised() -> None:
    settings = Settings()
    assert (settings.refusal_delay, settings.deadline) == (0.25, 5.0)
    assert (settings.failures_at_once, settings.failures_per_second, settings.address_factor) == (10, 1.0, 10)
    assert (settings.throttle_entries, settings.trusted_proxies) == (100_000, ())


@pytest.mark.parametrize(("name", "value"), VALID.items())
def test_each_can_be_set(name: str, value: Any) -> None:
    settings = Settings.from_config({name: value})
    assert getattr(settings, name) == value
    assert settings == dataclasses.replace(Settings(), **{name: value})


def test_no_refusal_delay_at_all_is_allowed() -> None:
    assert Settings.from_config({"refusal_delay": 0}).refusal_delay == 0


def test_what_the_router_adds_is_none_of_ours() -> None:
    assert Settings.from_config({"cbdir": "/srv/.crossbar"}) == Settings()


def test_proxies_are_kept_in_the_form_that_addresses_have() -> None:
    settings = Settings.from_config({"trusted_proxies": ["10.0.0.1", "2001:0DB8:0::1"]})
    assert settings.trusted_proxies == ("10.0.0.1", "2001:db8::1")


def test_both_wirings_with_the_same_configuration_share_one_door() -> None:
    """The door is kept by its settings, so equal ones must be equal, and have a hash."""
    one, other = (Settings.from_config({**VALID, "trusted_proxies": ["10.0.0.1"]}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("name", ["databse", "Deadline", "refusal-delay", "", "log", "__class__", "from_config"])
def test_an_unknown_name_is_named_with_all_that_there_are(name: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_config({name: 1})
    assert f"unknown setting {name!r}" in str(error.value)
    for field in dataclasses.fields(Settings):
        assert field.name in str(error.value)


NOT: dict[type, list[Any]] = {  # of each type
    float: ["1", None, True, [1], -1, -0.1, 1e9, float("inf"), float("nan")],
    int: ["1", None, True, [1], 1.0, 0.5, 0, -1, 10**10],
    str: [1, None, True, ["x"], {}],
    bool: [1, 0, None, "true", [True]],
    list: ["127.0.0.1", None, 1, [1], [None], [["x"]], {"a": 1}],
}
WRONG = [
    *((name, value) for name in ("refusal_delay", "deadline", "failures_per_second") for value in NOT[float]),
    *((name, 0) for name in ("deadline", "failures_per_second")),
    *((name, value) for name in ("failures_at_once", "address_factor", "throttle_entries") for value in NOT[int]),
    *((name, value) for name in ("database", "audit") for value in NOT[str]),
    *((name, value) for name in ("shared", "require_tls", "require_channel_binding") for value in NOT[bool]),
    *((name, value) for name in ("trusted_proxies", "plain_from", "private_files") for value in NOT[list]),
    *(("trusted_proxies", [value]) for value in ("", "localhost", "10.0.0.0/8", "10.0.0.1:80", "10.0.0", "::g")),
    *(("plain_from", [value]) for value in ("", "127.0.0.1", "Loopback", "any")),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_that_does_not_fit_is_refused_with_its_name_and_itself(name: str, value: Any) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_config({name: value})
    assert repr(name) in str(error.value)
    shown = value[0] if isinstance(value, list) and value and isinstance(value[0], str) else value
    assert json.dumps(shown) in str(error.value)


def sections(config: Any) -> list[dict[str, Any]]:
    """The authenticator's settings, wherever they stand in a part of a configuration."""
    if isinstance(config, list):
        return [found for part in config for found in sections(part)]
    if not isinstance(config, dict):
        return []
    named = {"config": config.get("create"), "extra": config.get("classname")}
    found = [config[where] for where, name in named.items() if str(name).startswith("authenticator.")]
    return found + [inner for part in config.values() for inner in sections(part)]


@pytest.mark.parametrize("file", sorted(CROSSBAR.glob("config*.json")), ids=lambda file: file.name)
def test_the_configurations_here_are_valid_and_each_process_has_one_door(file: Path) -> None:
    """One for both wirings, with one throttle: otherwise a guesser could go from one to the other."""
    workers = [sections(worker) for worker in json.loads(file.read_text())["workers"]]
    assert any(workers)
    for found in workers:
        assert len({Settings.from_config(section) for section in found}) <= 1


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_private_file_is_for_its_owner_alone(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "principals.db"
    file.touch(mode)
    file.chmod(mode)
    require_private(str(file))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666, 0o777])
def test_a_private_file_that_others_can_read_or_write_is_refused_with_advice(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "principals.db"
    file.touch()
    file.chmod(mode)
    with pytest.raises(SettingsError, match=rf"mode {mode:04o}\): `chmod 600 {file}`"):
        require_private(str(file))


def test_a_private_file_that_is_missing_is_the_systems_to_complain_about(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        require_private(str(tmp_path / "principals.db"))
