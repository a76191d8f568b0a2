"""Is a public key understood in every form in which it is pasted, at every place where one is?"""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from wampauth import cli, names, pubkeys

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key()
RAW = PUBLIC.public_bytes(Encoding.Raw, PublicFormat.Raw)
HEX = RAW.hex()
LINE = PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
BASE64, URLSAFE = base64.b64encode(RAW).decode(), base64.urlsafe_b64encode(RAW).decode()
PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
DER = base64.b64encode(PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
FORMS = {
    "hexadecimal": HEX,
    "0x, as a refusal shows it": "0x" + HEX,
    "0X, upper case": "0X" + HEX.upper(),
    "upper case": HEX.upper(),
    "blanks around": f" \t{HEX}  ",
    "CRLF behind": HEX + "\r\n",
    "a mark before": "\ufeff" + HEX,
    "OpenSSH": LINE,
    "OpenSSH with a comment": f"{LINE} alice@laptop of 'hers'",
    "OpenSSH, CRLF": f"{LINE} me@host\r\n",
    "authorized_keys": f"# my phone\n\n  {LINE} me@host\n# end",
    "options": f"no-pty {LINE}",
    "options in quotes": f'no-pty,command="echo \\"ssh-ed25519 AAAA\\" x",from="10.*, 192.*" {LINE} me@host',
    "known_hosts": f"db.example,10.0.0.1 {LINE}",
    "without its type": LINE.split()[1],
    "base64": BASE64,
    "base64, urlsafe": URLSAFE,
    "base64, unpadded": BASE64.rstrip("="),
    "base64, urlsafe and unpadded, CRLF": URLSAFE.rstrip("=") + "\r\n",
    "PEM": PEM,
    "PEM, CRLF": PEM.replace("\n", "\r\n"),
    "X.509 in base64": DER,
}
OPENSSH_PRIVATE = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
PKCS8 = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
SEED = bytes(range(32))
PRIVATES = {
    "OpenSSH": OPENSSH_PRIVATE,
    "OpenSSH, CRLF": "\r\n" + OPENSSH_PRIVATE.replace("\n", "\r\n"),
    "OpenSSH without its first line": "".join(OPENSSH_PRIVATE.splitlines()[1:-1]),
    "PKCS #8": PKCS8,
    "PKCS #8 without its first line": PKCS8.splitlines()[1],
    "PuTTY": "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\nAAAAIAAB\n",
    "both halves in hexadecimal": (SEED + RAW).hex(),
    "both halves in base64": base64.b64encode(SEED + RAW).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_key(form: str) -> None:
    assert pubkeys.public(FORMS[form]) == HEX


def test_base64_of_either_alphabet() -> None:
    """This key has digits that tell the alphabets apart."""
    known = next(key for key in _keys() if re.search(r"\+.*/|/.*\+", base64.b64encode(key).decode()))
    for form in base64.b64encode, base64.urlsafe_b64encode:
        assert pubkeys.public(form(known).decode()) == known.hex()


def _keys() -> Any:
    while True:
        yield Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@pytest.mark.parametrize("form", PRIVATES)
def test_a_private_key_is_refused_and_not_repeated(form: str) -> None:
    with pytest.raises(names.Malformed, match="this is a private key, which stays with its owner") as refusal:
        pubkeys.public(PRIVATES[form])
    assert refusal.value.__cause__ is None
    assert all(part not in str(refusal.value) for part in PRIVATES[form].split() if len(part) > 10)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "0x", "alice", "ssh-ed25519 AAAA", "ssh-ed25519 " + BASE64, HEX[:-1], HEX + "0"),
        *(f"0x0x{HEX}", HEX[:32] + " " + HEX[32:], BASE64 + "===", BASE64[:-2], BASE64 + "A", f'"{LINE}', "\0" * 64),
        *(
            f"{LINE}\n{LINE}",
            f"{HEX} {HEX}",
            PEM[:60],
            "-----BEGIN PUBLIC KEY-----",
            "é" * 64,
            "\udc80" * 64,
            '"' * 9999,
        ),
        *(base64.b64encode(bytes(32)).decode(), "0x" + "00" * 32),  # a point that accepts forged signatures
    ],
)
def test_what_is_no_public_key(text: str) -> None:
    with pytest.raises(names.Malformed) as refusal:
        pubkeys.public(text)
    assert len(text) < 9 or text not in str(refusal.value)


@given(st.one_of(st.text(), st.none(), st.integers(), st.text('ssh-ed25519 "\\\n0xA=/', max_size=200)))
def test_anything_is_a_key_or_malformed(text: Any) -> None:
    try:
        assert re.fullmatch("[0-9a-f]{64}", pubkeys.public(text))
    except names.Malformed as error:
        assert str(error).isprintable()


# -- where they are typed


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "principals.db"
    run(path, "add", "alice", "--realm", "devices", "--role", "device")
    return path


def run(store: Path, *args: str, input: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["--store", str(store), *args], input=input)


def keys(store: Path) -> list[str]:
    shown = json.loads(run(store, "show", "alice", "--json").stdout)
    return [credential["verifier"] for credential in shown["credentials"]]


def way(store: Path, name: str, text: str) -> Result:
    """Hand a public key over in one of the ways there are."""
    file = store.with_name("pasted")
    if name == "key":
        return run(store, "key", "alice", text)
    if name == "file":
        file.write_text(text, newline="")
        return run(store, "key", "alice", str(file))
    if name == "rotate":
        other = next(_keys()).hex()
        run(store, "key", "alice", other, "--label", "old")
        return run(store, "rotate", "alice", "old", text)
    credential = {"kind": "key", "verifier": text}
    record = {"authid": "bob", "realm": "devices", "role": "device", "credentials": [credential]}
    file.write_text(json.dumps(record))
    return run(store, "import", str(file))


WAYS = ("key", "file", "rotate", "import")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", WAYS)
def test_every_way_in_takes_every_form(store: Path, name: str, form: str) -> None:
    done = way(store, name, FORMS[form])
    assert done.exit_code == 0, done.stderr
    whose = "bob" if name == "import" else "alice"
    shown = json.loads(run(store, "show", whose, "--json").stdout)["credentials"]
    assert HEX in [credential["verifier"] for credential in shown]


@pytest.mark.parametrize("form", PRIVATES)
@pytest.mark.parametrize("name", WAYS)
def test_no_way_in_takes_or_repeats_a_private_key(store: Path, name: str, form: str) -> None:
    refused = way(store, name, PRIVATES[form])
    assert refused.exit_code == 1
    assert "private key, which stays with its owner" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert all(part not in refused.output for part in PRIVATES[form].split() if len(part) > 10)
    assert HEX not in keys(store)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_as_windows_writes_it(store: Path, tmp_path: Path, encoding: str) -> None:
    """Its editor puts a mark before the text, and its shell's ``>`` writes two bytes for each character."""
    file = tmp_path / "key.txt"
    file.write_text(f"{LINE} me@host\r\n", encoding=encoding, newline="")
    assert run(store, "key", "alice", str(file)).exit_code == 0
    assert keys(store) == [HEX]


@pytest.mark.parametrize("length", [32, 64])
def test_a_raw_private_file(store: Path, tmp_path: Path, length: int) -> None:
    file = tmp_path / "device.key"
    file.write_bytes((SEED + RAW)[:length])
    refused = run(store, "key", "alice", str(file))
    assert refused.exit_code == 1 and f"{file}: this is a private key" in refused.stderr


@pytest.mark.parametrize("name", ["client01.pub", "keys/missing.key", "x" * 200 + ".pub"])
def test_the_name_of_a_file_is_told_if_it_can_be_no_key(store: Path, name: str) -> None:
    refused = run(store, "key", "alice", name)
    assert refused.exit_code == 1 and refused.stderr.startswith(f"Error: {name}: No such file")
