"""Does a listener show a renewed certificate without a restart, and do sessions stay?

Measured so: a client whose authority signed only the new certificate gets in within seconds, while a session over the
old one goes on; in the hardened node, and at a proxy worker of the scaled one.
"""

import shutil
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
from conftest import Bundle, MakeBundle
from test_hardened import PORTER, add_porter, at, login_bound
from twisted.internet.ssl import Certificate, CertificateOptions, KeyPair

from wampauth import figures, served
from wampauth.probe.turns import trust
from wampauth.testing.wamp import SUBSCRIBE, SUBSCRIBED, WELCOME, RawClient
from wampauth.worker.renewal import EVERY, Renewing

PATIENCE = 20.0  # seconds


class Files:
    """A certificate and its key in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        self.authority = trustme.CA()

    def issue(self) -> None:
        """New ones, of a new authority."""
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost")
        self.put(self.certificate, issued.cert_chain_pems[0].bytes())
        self.put(self.key, issued.private_key_pem.bytes())

    @staticmethod
    def put(file: Path, content: bytes) -> None:
        """As tools do it: the file is another one."""
        fresh = file.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.rename(file)

    def options(self) -> CertificateOptions:
        """As the router reads them."""
        key = KeyPair.load(self.key.read_bytes(), 1).original
        return CertificateOptions(
            privateKey=key, certificate=Certificate.loadPEM(self.certificate.read_bytes()).original
        )


class Now:
    """A clock that is moved by hand, in seconds."""

    moment = 0.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.issue()
    return files


def test_the_files_are_looked_at_once_in_a_while(files: Files) -> None:
    now = Now()
    renewing = Renewing(files.options, [files.certificate, files.key], now)
    first = renewing.getContext()
    files.issue()
    assert renewing.getContext() is first
    now.moment += EVERY
    second = renewing.getContext()
    assert second is not first
    now.moment += EVERY
    assert renewing.getContext() is second


def test_half_of_a_renewal_is_not_shown(files: Files) -> None:
    """The certificate is there and its key isn't yet; then a file is cut short; then one is missing."""
    now = Now()
    renewing = Renewing(files.options, [files.certificate, files.key], now)
    first, key = renewing.getContext(), files.key.read_bytes()
    files.issue()
    new = files.key.read_bytes()
    for wrong in key, new[:100], None:
        files.put(files.key, wrong) if wrong else files.key.unlink()
        now.moment += EVERY
        assert renewing.getContext() is first
    files.put(files.key, new)
    now.moment += EVERY
    assert renewing.getContext() is not first


def test_the_end_of_what_is_shown_is_a_figure(files: Files) -> None:
    now = Now()
    renewing = Renewing(files.options, [files.certificate, files.key], now)
    assert renewing.ends == served.ends(served.load(files.certificate))
    ((labels, (said, *_)),) = figures.told()["certificate_end_seconds"].items()
    assert labels == (("file", "server.pem"),)
    assert said == renewing.ends


# Real nodes


def get_in(url: str, authority: Path) -> RawClient:
    """A client that trusts this authority alone, once the node shows what it has signed."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return RawClient(url, ssl=trust(authority))
        except ssl.SSLError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def renew(node: Bundle, folder: Path) -> Path:
    """Replace the node's certificate by one of another authority: its file."""
    fresh = Files(folder)
    fresh.issue()
    for file in fresh.certificate, fresh.key:
        Files.put(node.directory / "certs" / file.name, file.read_bytes())
    authority = folder / "authority.pem"
    fresh.authority.cert_pem.write_to_path(str(authority))
    return authority


def test_a_node_shows_a_renewed_certificate_and_sessions_stay(make_bundle: MakeBundle, tmp_path: Path) -> None:
    node = make_bundle("hardened.yaml", refusal_delay=0.05)
    add_porter(node)
    old = shutil.copy(node.ca, tmp_path / "old.pem")
    with at(node) as stays:
        assert login_bound(stays, PORTER)[0] == WELCOME
        authority = renew(node, tmp_path)
        with get_in(node.tls_url, authority) as new:
            assert login_bound(new, PORTER)[0] == WELCOME  # bound to the new certificate's connection
            assert stays.request(SUBSCRIBE, {}, "com.example.topic1")[0] == SUBSCRIBED
    with pytest.raises(ssl.SSLError):
        RawClient(node.tls_url, ssl=trust(Path(old)))


def test_a_proxy_shows_a_renewed_certificate(make_bundle: MakeBundle, tmp_path: Path) -> None:
    node = make_bundle("scaled.yaml", start=False)
    node.make_certificates()

    def with_tls(config: dict[str, Any]) -> None:
        for worker in config["workers"]:
            for transport in worker.get("transports", ()):
                if worker["type"] == "proxy" and transport["endpoint"]["type"] == "tcp":
                    tls = {"key": "certs/server.key", "certificate": "certs/server.pem"}
                    transport["endpoint"] |= {"port": node.tls_port, "tls": tls}

    node.edit_config(with_tls)
    running = node.start()
    try:
        with RawClient(node.tls_url, ssl=trust(node.ca)) as stays:
            authority = renew(node, tmp_path)
            get_in(node.tls_url, authority).close()
            assert stays.hello("realm1", "ticket", "client1")[0]
    finally:
        running.stop()
