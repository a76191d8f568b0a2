"""Enrolment and passwords at a node of six processes: the proxies ask, and check the proofs."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import CHOSEN, Bundle, Config, MakeBundle
from nacl.signing import SigningKey
from passwords import CHECKS, PASSWORD, SECRET, Scram, cra_proof, login_cra, login_scram
from test_enrolment import cutting_line, device, lose_the_answer, shown, token_for
from test_example_certificates import Shop, forged
from websockets.exceptions import WebSocketException

from wampauth.testing import ABORT, CHALLENGE, GOODBYE, WELCOME, Message, RawClient
from wampauth.testing.wamp import CALL, ERROR, PUBLISH, pubkey, sign

pytest_plugins = ["postgres", "store_fixtures"]
SHOPS: list[Shop] = []
AT_ONCE = 3  # failures that a pair may make at once, at each of the two authenticators
ADDRESSES = itertools.count(1)
FUNCTIONS = ("ticket", "cryptosign")


@pytest.fixture(scope="module")
def scaled(make_bundle: MakeBundle) -> Iterator[Bundle]:
    settings = {"refusal_delay": 0.05, "failures_at_once": AT_ONCE, "failures_per_second": 0.001}
    bundle = make_bundle("scaled.yaml", start=False, decoy=["realm1", "frontend"], **settings)
    (bundle.directory / "ways.py").write_text(CHECKS)

    (bundle.directory / "certs").mkdir(mode=0o700)
    tls = {"key": "certs/server.key", "certificate": "certs/server.pem", "ca_certificates": ["certs/devices.pem"]}

    def edit(config: Config) -> None:
        components = [one for worker in config["workers"] for one in worker.get("components", ())]
        extra = next(one["extra"] for one in components if one["classname"].endswith("AuthenticatorSession"))
        for worker in config["workers"]:
            if "pythonpath" in worker["options"]:
                worker["options"]["pythonpath"].append(str(bundle.directory))
            for component in worker.get("components", ()):
                component["classname"] = component["classname"].replace("authenticator.", "ways.")
            for transport in worker.get("transports", ()) if worker["type"] == "proxy" else ():
                auth = transport["paths"]["ws"]["auth"]
                for method in "scram", "wampcra":
                    auth[method] = {**auth["ticket"], "authenticator": f"com.example.authenticate.{method}"}
            if worker["type"] == "proxy":
                (web,) = worker["transports"]
                ws = web["paths"]["ws"]
                web["paths"]["ws-function"] = {**ws, "auth": {name: by_function(name, extra) for name in FUNCTIONS}}
                by_tls = {"tls": {**ws["auth"]["ticket"], "authenticator": "com.example.authenticate.tls"}}
                endpoint = {**web["endpoint"], "port": bundle.tls_port, "tls": tls}
                worker["transports"].append({**web, "endpoint": endpoint, "paths": {"ws": {**ws, "auth": by_tls}}})

    bundle.edit_config(edit)
    bundle.wampauth("add", "alice", "--realm", "realm1", "--role", "frontend")
    bundle.wampauth("password", "alice", "--from-env", "PW", PW=PASSWORD)
    shop = Shop(bundle.directory / "certs")
    node = bundle.start()
    SHOPS.append(shop)
    yield bundle
    node.stop()


def by_function(name: str, config: Config) -> Config:
    return {"type": "function", "create": f"ways.create_{name}", "config": config}


def knock(scaled: Bundle, address: str = "") -> RawClient:
    """A client, who comes from an address of its own if none is given."""
    return RawClient(scaled.url, source_address=(address or f"127.0.3.{next(ADDRESSES)}", 0))


def test_who_knows_the_password_joins_and_stays(scaled: Bundle) -> None:
    with RawClient(scaled.url) as client:
        proof = Scram("alice", PASSWORD)
        welcome = client.authenticate(proof.proof(client.hello("realm1", "scram", "alice", proof.extra)))
        assert welcome[0] == WELCOME
        assert proof.trusts(welcome)
        with pytest.raises(TimeoutError):
            client.receive(timeout=1.5)
        scaled.wampauth("password", "alice", "--from-env", "PW", PW=PASSWORD)
        assert client.receive()[0::2] == [GOODBYE, "com.example.revoked"]
    with RawClient(scaled.url) as client:
        assert login_cra(client, "carol", SECRET)[0] == WELCOME


def test_strangers_are_challenged_alike_by_every_process(scaled: Bundle) -> None:
    seen: dict[str, set[str]] = {"alice": set(), "nobody": set()}
    for authid in [*seen] * 4:
        with knock(scaled) as client:
            challenge: Any = client.hello("realm1", "scram", authid, Scram(authid, "guess").extra)
            assert challenge[0] == CHALLENGE
            del challenge[2]["nonce"]
            seen[authid].add(json.dumps(challenge))
    assert [len(challenges) for challenges in seen.values()] == [1, 1]
    with knock(scaled) as client, knock(scaled) as other:
        assert login_scram(client, "alice", "guess") == login_scram(other, "nobody", "guess")


def test_a_challenge_takes_one_proof(scaled: Bundle) -> None:
    for method in "scram", "wampcra":
        with knock(scaled) as client:
            right = Scram("alice", PASSWORD)
            authid = "alice" if method == "scram" else "carol"
            challenge = client.hello("realm1", method, authid, right.extra)
            proof = right.proof(challenge) if method == "scram" else cra_proof(SECRET, challenge)
            assert [client.authenticate(one)[0] for one in ("A" * 44, proof)] == [ABORT] * 2


@dataclass
class Prover:
    """Who knows the secret of a method, from an address of their own.

    :ivar proof: that was right once.
    """

    scaled: Bundle
    method: str
    address: str
    proof: str = ""

    def challenge(self, client: RawClient) -> Message:
        self._scram = Scram("alice", PASSWORD)
        extra = {"scram": self._scram.extra, "cryptosign": {"pubkey": pubkey(self.scaled.device)}}.get(self.method, {})
        return client.hello(None, self.method, {"scram": "alice", "wampcra": "carol"}.get(self.method), extra)

    def prove(self, challenge: Message) -> str:
        if self.method == "cryptosign":
            return sign(self.scaled.device, challenge)
        return self._scram.proof(challenge) if self.method == "scram" else cra_proof(SECRET, challenge)

    def logs_in(self) -> Message:
        """The answer to a proof that is right, or to the HELLO if that isn't challenged."""
        with knock(self.scaled, self.address) as client:
            challenge = self.challenge(client)
            if challenge[0] != CHALLENGE:
                return challenge
            self.proof = self.prove(challenge)
            return client.authenticate(self.proof)

    def fails(self, proof: str, mallory: RawClient) -> None:
        """A proof that is wrong, though another client says that it was right."""
        with knock(self.scaled, self.address) as client:
            challenge = self.challenge(client)
            assert challenge[0] == CHALLENGE
            told = json.loads(challenge[2]["challenge"])["session"] if self.method == "wampcra" else 1
            for procedure in "com.example.authenticate.proven", f"com.example.authenticate.{self.method}":
                for kind, options in (CALL, {}), (PUBLISH, {"acknowledge": True}):
                    assert mallory.request(kind, options, procedure, [told, ""])[0] == ERROR
            assert client.authenticate(proof)[0] == ABORT


def test_who_proves_it_pays_nothing_and_who_does_not_runs_out(scaled: Bundle) -> None:
    """The authenticator that gave a challenge hears from the proxy of a right proof, and nothing from any client. Here
    are more logins in a row than both have tokens for, and then as many failures as they have."""
    methods = ("scram", "wampcra", "cryptosign")
    provers = [Prover(scaled, method, f"127.0.4.{number}") for number, method in enumerate(methods, 1)]
    for prover in provers:
        assert [prover.logs_in()[0] for _ in range(2 * AT_ONCE + 2)] == [WELCOME] * (2 * AT_ONCE + 2)
    with knock(scaled) as mallory:
        assert login_scram(mallory, "alice", PASSWORD)[0] == WELCOME
        for prover in provers:
            for proof in [prover.proof, "A" * 44] * AT_ONCE:
                prover.fails(proof, mallory)
    for prover in provers:
        _, details, reason = prover.logs_in()
        assert reason == "com.example.too_many_attempts"
        assert "too many failed attempts" in details["message"]


def test_a_device_enrols_though_its_answer_is_lost(scaled: Bundle, tmp_path: Any) -> None:
    lose_the_answer(scaled, tmp_path)


def test_a_device_enrols_and_stays(scaled: Bundle, tmp_path: Any) -> None:
    token, key = token_for(scaled, "stays"), SigningKey.generate()
    with RawClient(scaled.url) as client:
        client.hello("devices", "ticket", "stays", shown(key, token, "stays"))
        welcome = client.authenticate(token)
        assert welcome[0] == WELCOME
        with pytest.raises(TimeoutError):
            client.receive(timeout=1.5)
    assert device(scaled.port, tmp_path, "stays", token).returncode == 1  # it is spent


def test_functions_in_a_proxy_each_bring_the_settings(scaled: Bundle) -> None:
    key = SigningKey.generate()
    scaled.wampauth("add", "robot", "--realm", "devices", "--role", "device")
    scaled.wampauth("key", "robot", pubkey(key))
    url = f"{scaled.url}-function"
    with RawClient(url) as client, RawClient(url) as robot:
        assert client.login_ticket("client1", CHOSEN)[0] == WELCOME
        assert robot.login_key(key)[0] == WELCOME
        scaled.wampauth("revoke", "robot", "--yes")
        assert robot.receive()[0::2] == [GOODBYE, "com.example.revoked"]


def test_a_certificate_that_a_proxy_has_seen(scaled: Bundle) -> None:
    """The proxies end TLS, and tell the authenticators what was shown there, whatever a client says of it."""
    (shop,) = SHOPS
    pump, other = shop.issue("pump"), shop.issue("pump")
    scaled.wampauth("add", "pump", "--realm", "devices", "--role", "device")
    scaled.wampauth("cert", "pump", str(pump))
    for authid, realm in ("client1", None), ("pump", "realm1"), ("pump", "realm-auth"):
        with RawClient(scaled.tls_url, ssl=shop.context(pump)) as client:
            assert client.hello(realm, "tls", authid)[0::2] == [ABORT, "com.example.no_such_user"]
    with RawClient(scaled.tls_url, ssl=shop.context(other)) as client:
        made = forged(pump)
        answer = client.hello("devices", "tls", "pump", {"transport": made, **made}, transport=made, **made)
        assert answer[0::2] == [ABORT, "com.example.no_such_user"]
    for foreign in None, shop.issue("pump", shop.others):
        context = shop.context(foreign)
        with pytest.raises((OSError, WebSocketException)), RawClient(scaled.tls_url, ssl=context) as client:
            client.hello(None, "tls")
    with RawClient(scaled.url) as client:  # where nobody is asked for one
        assert client.hello("devices", "tls", "pump", forged(pump))[0] == ABORT
    with RawClient(scaled.tls_url, ssl=shop.context(pump)) as client:
        assert client.hello("devices", "tls", "pump")[0] == WELCOME
        with pytest.raises(TimeoutError):
            client.receive(timeout=1.5)
        scaled.wampauth("revoke", "pump", "--yes")
        assert client.receive()[0::2] == [GOODBYE, "com.example.revoked"]


def test_a_password_whose_answer_is_lost_is_tried_again(scaled: Bundle) -> None:
    for login, authid, secret in (login_scram, "alice", PASSWORD), (login_cra, "carol", SECRET):
        with cutting_line(scaled.port) as port, RawClient(f"ws://127.0.0.1:{port}/ws") as cut:
            lost = pytest.raises(Exception, match="close")
            with lost:
                login(cut, authid, secret)
        with RawClient(scaled.url) as client:
            assert login(client, authid, secret)[0] == WELCOME
