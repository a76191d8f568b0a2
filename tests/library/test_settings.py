"""What may stand in the configuration, and what stops the node? Nothing that is misspelt is passed over in silence."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wampauth.settings import Settings, SettingsError, require_private, split

VALID: dict[str, Any] = {
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
    "admission_key": "admission.key",
}


def test_without_any_the_defaults_hold() -> None:
    assert Settings.from_config({}) == Settings()


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


@pytest.mark.parametrize("guard", [None, [], "audit", 1, True])
def test_the_section_is_an_object(guard: Any) -> None:
    with pytest.raises(SettingsError, match="'guard' must be an object"):
        Settings.from_config(guard)


def test_what_is_not_ours_belongs_to_the_checks() -> None:
    extra = {"store": "x", "jwks": 1, "guard": {"shared": True}, "roles": {}, "cbdir": "/srv/.crossbar"}
    assert split(extra) == ({"store": "x", "jwks": 1}, {"guard": {"shared": True}, "roles": {}})
    assert split(None) == split({}) == ({}, {})


@pytest.mark.parametrize("name", Settings.__dataclass_fields__)
def test_what_is_meant_for_the_guard_is_not_left_to_the_checks(name: str) -> None:
    """They stood there in version 1, and ``require_tls`` must not be lost."""
    with pytest.raises(SettingsError, match=f"'{name}' belongs into the section 'guard'"):
        split({"store": "x", name: getattr(Settings(), name)})


@pytest.mark.parametrize("name", ["gaurd", "gard", "guards", "Guard", "GUARD", "gurad"])
def test_a_misspelt_guard_is_found(name: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown setting '{name}': the section for the guard is called 'guard'"):
        split({"store": "x", name: {"require_tls": True}})


@pytest.mark.parametrize("own", [{"role": "frontend"}, {"guild": {}}, {"guards": "a.json"}, {"http": {"deadline": 3}}])
def test_settings_of_the_checks_may_look_a_bit_like_ours(own: dict[str, Any]) -> None:
    assert split(own) == (own, {})


def test_proxies_are_kept_in_the_form_that_addresses_have() -> None:
    settings = Settings.from_config({"trusted_proxies": ["10.0.0.1", "2001:0DB8:0::1"]})
    assert settings.trusted_proxies == ("10.0.0.1", "2001:db8::1")


@pytest.mark.parametrize(
    "name", ["database", "audti", "Deadline", "refusal-delay", "", "log", "__class__", "from_config"]
)
def test_an_unknown_name_is_named_with_all_that_there_are(name: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_config({name: 1})
    assert f"unknown setting {name!r}" in str(error.value)
    for field in dataclasses.fields(Settings):
        assert field.name in str(error.value)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def fits(name: str, value: Any) -> bool:
    """Whether a setting may have that value, told anew and in other words than the library's."""
    if name in ("trusted_proxies", "plain_from", "private_files"):
        return isinstance(value, list) and all(isinstance(one, str) and fits_in(name, one) for one in value)
    kind = type(getattr(Settings(), name))
    if kind is float:
        lowest = 0 if name == "refusal_delay" else 5e-324
        return type(value) in (int, float) and lowest <= value < 1e9
    if kind is int:
        return type(value) is int and 0 < value < (16_385 if name == "longest_ticket" else 1e9)
    return type(value) is kind


def fits_in(name: str, one: str) -> bool:
    """Whether a list may have that member; addresses are left to the examples."""
    return {"plain_from": one in ("loopback", "unix"), "private_files": True}.get(name, False)


@given(name=st.sampled_from([field.name for field in dataclasses.fields(Settings)]), value=ANY)
@example("trusted_proxies", [""])
@example("trusted_proxies", ["localhost"])
@example("trusted_proxies", ["10.0.0.0/8"])
@example("trusted_proxies", ["10.0.0.1:80"])
@example("trusted_proxies", ["10.0.0"])
@example("plain_from", ["Loopback"])
@example("deadline", 0)
@example("deadline", 1e9)
@example("deadline", True)
@example("failures_at_once", 1.0)
@example("longest_ticket", 16_385)
@example("shared", 1)
def test_a_value_that_does_not_fit_is_refused_with_its_name_and_itself(name: str, value: Any) -> None:
    if fits(name, value):
        return
    with pytest.raises(SettingsError) as error:
        Settings.from_config({name: value})
    assert repr(name) in str(error.value)
    wrong = [one for one in value if isinstance(one, str) and not fits_in(name, one)] if isinstance(value, list) else []
    assert any(json.dumps(shown) in str(error.value) or str(shown) in str(error.value) for shown in [value, *wrong])


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
