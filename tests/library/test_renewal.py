"""Does a listener show a renewed certificate without a restart, and do sessions stay?

Measured so: a client whose authority signed only the new certificate gets in within seconds, while a session over the
old one goes on; in the hardened node, and at a proxy worker of the scaled one.
"""

import errno
import shutil
import ssl
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from conftest import Bundle, MakeBundle
from crossbar.common.twisted import endpoint
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from test_hardened import PORTER, add_porter, at, login_bound
from twisted.internet.ssl import Certificate, CertificateOptions, KeyPair
from twisted.logger import Logger

from wampauth import figures, served
from wampauth.probe.turns import trust
from wampauth.testing.wamp import SUBSCRIBE, SUBSCRIBED, WELCOME, RawClient
from wampauth.worker.renewal import AGAIN, EVERY, Renewing, renew_certificates

PATIENCE = 20.0  # seconds
MOST = 65_536  # bytes of a handshake
as_the_router_makes_it = endpoint._create_tls_server_context


class Files:
    """A certificate and its key in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        self.authority = trustme.CA()

    def issue(self, ends: datetime | None = None) -> None:
        """New ones, of a new authority."""
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("localhost", not_after=ends)
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


def test_what_could_not_be_read_is_taken_when_it_can(files: Files) -> None:
    """Tools write files for themselves, and give them away afterwards: by that alone their content doesn't change."""
    now, is_ours = Now(), [True]

    def options() -> CertificateOptions:
        if not is_ours[-1]:
            raise PermissionError
        return files.options()

    renewing = Renewing(options, [files.certificate, files.key], now)
    first = renewing.getContext()
    files.issue()
    is_ours.append(False)
    now.moment += EVERY
    assert renewing.getContext() is first
    is_ours.append(True)
    files.key.chmod(0o640)
    now.moment += EVERY
    assert renewing.getContext() is not first


def test_what_could_not_be_taken_for_a_moment_is_tried_again(files: Files) -> None:
    """As when no file could be opened, in a flood: the files don't change before the next renewal."""
    now, faults = Now(), [OSError(errno.EMFILE, "Too many open files")] * 2

    def options() -> CertificateOptions:
        if now.moment and faults:
            raise faults.pop()
        return files.options()

    renewing = Renewing(options, [files.certificate, files.key], now)
    first = renewing.getContext()
    files.issue()
    now.moment += EVERY
    for _ in range(2):
        assert renewing.getContext() is first
        now.moment += AGAIN / 2
        assert renewing.getContext() is first
        now.moment += AGAIN / 2
    assert renewing.getContext() is not first


def test_one_that_has_run_out_is_not_taken(files: Files) -> None:
    now = Now()
    renewing = Renewing(files.options, [files.certificate, files.key], now)
    first = renewing.getContext()
    files.issue(datetime.now(UTC) - timedelta(days=1))
    now.moment += EVERY
    assert renewing.getContext() is first
    files.issue()
    now.moment += EVERY
    assert renewing.getContext() is not first


@pytest.mark.parametrize("where", ["certificate", "chain_certificates", "both"])
def test_the_whole_chain_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """As authorities hand it out, in one file: a client knows none of those in between. Each is shown once."""
    root = trustme.CA()
    issued = root.create_child_ca().create_child_ca().issue_cert("localhost")
    own, *between = [pem.bytes() for pem in issued.cert_chain_pems]
    (tmp_path / "server.key").write_bytes(issued.private_key_pem.bytes())
    config: dict[str, Any] = {"key": "server.key", "certificate": "server.pem"}
    whole = b"".join([own, *between])
    if where != "certificate":
        config["chain_certificates"] = ["between.pem", "server.pem"]
        (tmp_path / "between.pem").write_bytes(b"".join(reversed(between) if where == "both" else between))
    (tmp_path / "server.pem").write_bytes(own if where == "chain_certificates" else whole)
    monkeypatch.setattr(endpoint, "_create_tls_server_context", as_the_router_makes_it)
    renew_certificates()
    context = endpoint._create_tls_server_context(config, str(tmp_path), Logger())
    root.cert_pem.write_to_path(str(tmp_path / "root.pem"))
    shown = [one.to_cryptography() for one in context._options.extraCertChain]
    assert len(between) == 2 and shown == [load_pem_x509_certificate(one) for one in between]
    shake_hands(context.getContext(), trust(tmp_path / "root.pem"))


def shake_hands(server: SSL.Context, client: ssl.SSLContext) -> None:
    """In memory; raises what the client does."""
    there, here = SSL.Connection(server), (ssl.MemoryBIO(), ssl.MemoryBIO())
    there.set_accept_state()
    speaking = client.wrap_bio(*here, server_hostname="localhost")
    for shake in (speaking.do_handshake, there.do_handshake) * 3:
        with suppress(ssl.SSLWantReadError, SSL.WantReadError):
            shake()
        with suppress(SSL.WantReadError):
            here[0].write(there.bio_read(MOST))
        if here[1].pending:
            there.bio_write(here[1].read())
    assert speaking.version() == "TLSv1.3"


def test_the_end_of_what_is_shown_is_a_figure(files: Files) -> None:
    now = Now()
    renewing = Renewing(files.options, [files.certificate, files.key], now)
    assert renewing.ends == served.ends(served.load(files.certificate))
    ((labels, (said, *_)),) = figures.told()["certificate_end_seconds"].items()
    assert labels == (("file", "server.pem"),)
    assert said == renewing.ends
    files.issue(datetime.now(UTC) + timedelta(days=7))
    now.moment += EVERY
    (told,) = figures.told()["certificate_end_seconds"].values()  # though nobody has connected
    assert served.ends(served.load(files.certificate)) in told  # those of other tests may be there yet


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
