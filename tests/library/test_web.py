"""Does the page show what happens on the wire, and keep secrets to itself? In a real browser, against a real node."""

import base64
import hashlib
import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, DOWN, DRIVER, ENTER, MISSING, TAB, Browser
from conftest import CHOSEN, HERE, WRONG, Bundle
from nacl.signing import SigningKey

from wampauth.testing.wamp import pubkey

HTML = (HERE / "examples" / "browser" / "index.html").read_text()
PATIENCE = 15.0  # seconds for something to appear on the page
THIS_MACHINE_ONLY = "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost"
HANDSHAKE = ["HELLO", "CHALLENGE", "AUTHENTICATE", "WELCOME"]
FRONTEND = {
    "call com.example.add2": "allowed",
    "register com.example.mul2": "denied",
    "publish to com.example.topic1": "allowed",
    "publish to com.foobar.topic1": "allowed",
    "publish to com.example.topic2": "denied",
    "publish to com.foobar.topic2": "denied",
}
DEVICE = dict.fromkeys(FRONTEND, "denied")

# Scripts that the tests run in the page.
ENTRIES = """
    const text = (item, part) => item.querySelector(part)?.textContent ?? "";
    return [...document.querySelectorAll("#log li:not(.none)")].map(item => ({
        title: item.querySelector("h3").firstChild.data, remark: text(item, "small"),
        meaning: text(item, "p"), wire: text(item, "pre"),
    }));
"""
CONTRASTS = """
    const luminance = color => color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
        .map(part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
        .reduce((sum, part, i) => sum + part * [.2126, .7152, .0722][i], 0);
    const behind = node => {
        const color = getComputedStyle(node).backgroundColor;
        return color === "rgba(0, 0, 0, 0)" ? behind(node.parentElement) : color;
    };
    return [...document.querySelectorAll("body *")].filter(node => node.checkVisibility())
        .filter(node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim())).map(node => {
            const [dark, light] = [getComputedStyle(node).color, behind(node)].map(luminance).sort((a, b) => a - b);
            return [node.textContent, (light + .05) / (dark + .05)];
        });
"""
TRESPASS = """
    const barred = [];
    document.addEventListener("securitypolicyviolation", event => barred.push(event.effectiveDirective));
    const script = document.createElement("script");
    script.textContent = "document.title = 'trespassed'";
    document.body.append(script);
    document.body.insertAdjacentHTML("beforeend", "<p style='color: red' onclick='1'>");
    document.body.insertAdjacentHTML("beforeend", "<img src='/nothing.png'>");
    await fetch("http://elsewhere.localhost/").catch(() => {});
    await new Promise(resolve => setTimeout(resolve));
    return [document.title, [...new Set(barred)].sort()];
"""

HASTY_ROUTER = """
    window.WebSocket = class {
        constructor() { setTimeout(() => this.onopen()); }
        close() {}
        send(text) {
            const answer = {1: [2, 7, {authid: "client1", authrole: "frontend"}], 48: args[0]}[JSON.parse(text)[0]];
            if (answer) setTimeout(() => this.onmessage({data: JSON.stringify(answer)}));
        }
    };
"""


class Page:
    """The page in the browser, as a user sees it."""

    def __init__(self, browser: Browser, port: int) -> None:
        self.browser = browser
        self.url = f"http://localhost:{port}/"
        self.transports = {f"ws://localhost:{port}/ws", f"ws://localhost:{port}/ws-function"}

    def until(self, expression: str) -> None:
        """Wait until an expression in JavaScript is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.browser.run(f"return {expression}"):
            assert time.monotonic() < deadline, f"{expression} is still false. The page:\n{self.text}"
            time.sleep(0.02)

    def until_it_says(self, text: str) -> None:
        self.until(f"document.body.innerText.includes({json.dumps(text)})")

    def until_one_may_log_in(self) -> None:
        self.until("document.getElementById('go').textContent === 'Log in'")

    @property
    def text(self) -> str:
        return str(self.browser.run("return document.body.innerText"))

    @property
    def entries(self) -> list[dict[str, str]]:
        """The log: of each entry the title, the remark beside it, what it means, and what was on the wire."""
        entries: list[dict[str, str]] = self.browser.run(ENTRIES)
        return entries

    @property
    def messages(self) -> list[str]:
        """The names of the messages in the log."""
        return [entry["title"] for entry in self.entries if entry["title"].isupper()]

    @property
    def attempts(self) -> dict[str, str]:
        """What was tried, and whether it was allowed."""
        return {entry["title"]: entry["remark"] for entry in self.entries if entry["title"] in FRONTEND}

    def log_in(self, authid: str, ticket: str, transport: str = "/ws") -> None:
        """Fill in the form for a ticket, and send it."""
        self.browser.click(f"option[value='{transport}']")
        self.browser.fill("[name=authid]", authid)
        self.browser.fill("[name=ticket]", ticket)
        self.browser.click("#go")

    def pick(self, file: Path) -> None:
        """Choose cryptosign, and a file with a key."""
        self.browser.click("[value=cryptosign]")
        self.browser.fill("[name=file]", str(file))

    def tab_to(self, selector: str) -> None:
        """Press the tab key until an element has the focus."""
        for _ in range(20):
            if self.browser.run("return document.activeElement.matches(arguments[0])", selector):
                return
            self.browser.press(TAB)
        raise AssertionError(f"the tab key doesn't lead to {selector}")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests here."""
    if not (CHROMIUM and DRIVER):
        pytest.skip(MISSING)
    with Browser(tmp_path_factory.mktemp("profile"), THIS_MACHINE_ONLY) as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, bundle: Bundle) -> Page:
    """The page, just opened."""
    browser.visit("about:blank")
    browser.log("browser")
    browser.log("performance")
    page = Page(browser, bundle.port)
    browser.visit(page.url)
    return page


@pytest.fixture
def page(visit: Page) -> Iterator[Page]:
    """The same; and whatever a test does, nothing may complain in the console, and nobody but the node be asked."""
    yield visit
    assert visit.browser.log("browser") == []
    asked = requests(visit.browser)
    assert visit.url in asked
    assert asked <= {visit.url, *visit.transports}


def requests(browser: Browser) -> set[str]:
    """What the browser has asked for, over HTTP and WebSocket, since the last time."""
    events = browser.log("performance")
    sent = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    opened = {event["params"]["url"] for event in events if event["method"] == "Network.webSocketCreated"}
    return {url for url in sent | opened if not url.startswith(("data:", "about:"))}


@pytest.mark.parametrize("tag", ["style", "script"])
def test_the_policy_names_the_hash_of_what_is_in_the_page(tag: str) -> None:
    (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", HTML, re.DOTALL)
    (allowed,) = re.findall(f"{tag}-src ([^;]*);", HTML)
    assert allowed == f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"


def test_the_policy_bars_everything_else(visit: Page) -> None:
    title, barred = visit.browser.run(TRESPASS)
    assert title == "A login, message by message"
    assert barred == ["connect-src", "img-src", "script-src-attr", "script-src-elem", "style-src-attr"]


@pytest.mark.parametrize("transport", ["/ws", "/ws-function"])
def test_good_ticket(page: Page, transport: str) -> None:
    page.log_in("client1", CHOSEN, transport)
    page.until_it_says("You are still in")
    assert page.messages == HANDSHAKE
    assert page.attempts == FRONTEND
    hello, challenge, authenticate, welcome = page.entries[:4]
    assert json.loads(hello["wire"])[2]["authmethods"] == ["ticket"]
    assert (hello["remark"], challenge["remark"]) == ("sent →", "← received")
    assert json.loads(authenticate["wire"]) == [5, "••••••••", {}]
    assert json.loads(welcome["wire"])[2]["authprovider"] == ("dynamic" if transport == "/ws" else "function")
    assert "as client1, in realm realm1, with role frontend" in welcome["meaning"]


@pytest.mark.parametrize(("authid", "ticket"), [("client1", WRONG), ("nobody", CHOSEN), ("<b>client1</b>", CHOSEN)])
def test_bad_ticket(page: Page, authid: str, ticket: str) -> None:
    page.log_in(authid, ticket)
    page.until_it_says("You are refused.")
    page.until_one_may_log_in()
    assert page.messages == ["HELLO", "CHALLENGE", "AUTHENTICATE", "ABORT"]
    text = f"could not authenticate session - invalid ticket for principal {authid}"
    assert json.loads(page.entries[3]["wire"]) == [3, {"message": text}, "com.example.invalid_ticket"]
    assert page.attempts == {}


def test_the_realm_is_claimed_if_it_is_filled_in(page: Page) -> None:
    page.browser.fill("[name=realm]", "devices")
    page.log_in("client1", CHOSEN)
    page.until_it_says("You are refused.")
    assert json.loads(page.entries[0]["wire"])[1] == "devices"


@pytest.mark.parametrize("ticket", [CHOSEN, WRONG])
def test_the_ticket_is_nowhere_but_in_its_field(page: Page, ticket: str) -> None:
    page.log_in("client1", ticket)
    page.until_it_says("You are still in" if ticket == CHOSEN else "You are refused.")
    places = (
        "document.documentElement.outerHTML, location.href, document.cookie, {...localStorage}, {...sessionStorage}"
    )
    assert ticket not in json.dumps(page.browser.run(f"return [{places}]"))
    fields = "[...document.querySelectorAll('input')].filter(field => field.value === arguments[0])"
    assert page.browser.run(f"return {fields}.map(field => field.type)", ticket) == ["password"]


@pytest.mark.parametrize("transport", ["/ws", "/ws-function"])
def test_good_key(page: Page, bundle: Bundle, transport: str) -> None:
    page.browser.click(f"option[value='{transport}']")
    page.pick(bundle.device_key_file())
    page.until_it_says(pubkey(bundle.device))
    page.browser.click("#go")
    page.until_it_says("You are still in")
    assert page.messages == HANDSHAKE
    assert page.attempts == DEVICE
    hello, challenge, authenticate, welcome = (json.loads(entry["wire"]) for entry in page.entries[:4])
    assert hello[2]["authextra"] == {"pubkey": pubkey(bundle.device), "channel_binding": None}
    assert authenticate[1].endswith(challenge[2]["challenge"])
    bundle.device.verify_key.verify(bytes.fromhex(authenticate[1]))
    assert (welcome[2]["authid"], welcome[2]["authrole"]) == ("client01@example.com", "device")
    assert bytes(bundle.device).hex() not in str(page.browser.run("return document.documentElement.outerHTML"))


def test_unknown_key(page: Page, tmp_path: Path) -> None:
    stranger = SigningKey.generate()
    (tmp_path / "stranger.key").write_bytes(bytes(stranger))
    page.pick(tmp_path / "stranger.key")
    page.until_it_says(pubkey(stranger))
    page.browser.click("#go")
    page.until_it_says("You are refused.")
    assert page.messages == ["HELLO", "ABORT"]
    text = f"no principal with matching public key 0x{pubkey(stranger)}"
    assert json.loads(page.entries[1]["wire"]) == [3, {"message": text}, "com.example.no_such_user"]


@pytest.mark.parametrize("content", [b"", b"\x07" * 31, b"-----BEGIN OPENSSH PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key(page: Page, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "no.key").write_bytes(content)
    page.pick(tmp_path / "no.key")
    page.until_it_says(f"no.key has {len(content)} bytes: a raw private key has 32.")
    page.browser.click("#go")
    assert page.browser.run("return document.querySelector('[name=file]').validity.customError")
    assert page.entries == []


def test_a_key_made_in_the_browser(page: Page, bundle: Bundle) -> None:
    """The command that the page shows registers it."""
    bundle.wampauth("add", "web'visitor", "--realm", "devices", "--role", "device")
    try:
        page.browser.click("[value=cryptosign]")
        page.browser.fill("[name=authid]", "web'visitor")
        page.browser.click("#make")
        page.until_it_says("wampauth key")
        command = shlex.split(page.browser.run("return document.querySelector('#key code:last-child').textContent"))
        assert command[0] == "wampauth"
        bundle.wampauth(*command[1:])
        page.browser.click("#go")
        page.until_it_says("You are still in")
        assert "as web'visitor, in realm devices" in page.entries[3]["meaning"]
    finally:
        bundle.wampauth("remove", "web'visitor", "--yes")


def test_a_browser_without_ed25519_is_told_so(page: Page) -> None:
    lacking = "async () => { throw new DOMException('Unrecognized name.', 'NotSupportedError'); }"
    page.browser.run(f"SubtleCrypto.prototype.generateKey = {lacking}")
    page.browser.click("[value=cryptosign]")
    page.browser.click("#make")
    page.until_it_says("This browser lacks Ed25519.")


def test_logging_out(page: Page) -> None:
    page.log_in("client1", CHOSEN)
    page.until_it_says("You are still in")
    page.browser.click("#go")
    page.until_one_may_log_in()
    assert page.messages == [*HANDSHAKE, "GOODBYE", "GOODBYE"]
    ours, theirs = page.entries[-2:]
    assert (ours["remark"], json.loads(ours["wire"])) == ("sent →", [6, {}, "wamp.close.normal"])
    assert (theirs["remark"], json.loads(theirs["wire"])[0]) == ("← received", 6)


def test_a_revoked_session_is_seen_to_end(page: Page, bundle: Bundle) -> None:
    bundle.wampauth("add", "guest", "--realm", "realm1", "--role", "frontend")
    try:
        page.log_in("guest", bundle.wampauth("ticket", "guest").stdout.strip())
        page.until_it_says("You are still in")
        bundle.wampauth(*shlex.split(page.entries[-1]["wire"])[1:], "--yes")
        page.until_one_may_log_in()
        assert page.messages == [*HANDSHAKE, "GOODBYE", "GOODBYE"]
        theirs, ours = page.entries[-2:]
        assert json.loads(theirs["wire"])[2] == "com.example.revoked"
        assert "was revoked" in theirs["meaning"]
        assert json.loads(ours["wire"])[2] == "wamp.close.goodbye_and_out"
    finally:
        bundle.wampauth("remove", "guest", "--yes")


@pytest.mark.parametrize("last", [[6, {}, "com.example.revoked"], [3, {}, "wamp.error.protocol_violation"]])
def test_an_end_in_the_middle_is_no_permission(page: Page, last: list[object]) -> None:
    page.browser.run("const args = arguments;" + HASTY_ROUTER, last)
    page.log_in("client1", CHOSEN)
    page.until_it_says("The session ended before all was tried.")
    page.until_one_may_log_in()
    assert page.attempts == {}


def test_a_ticket_by_keyboard_alone(page: Page) -> None:
    page.tab_to("[name=authid]")
    page.browser.press("client1" + TAB + CHOSEN + ENTER)
    page.until_it_says("You are still in")
    page.tab_to("#go")
    page.browser.press(ENTER)
    page.until_one_may_log_in()
    assert page.messages == [*HANDSHAKE, "GOODBYE", "GOODBYE"]


def test_a_key_by_keyboard_alone(page: Page) -> None:
    page.tab_to("[name=method]")
    page.browser.press(DOWN)
    page.tab_to("#make")
    page.browser.press(ENTER)
    page.until_it_says("wampauth key")
    page.tab_to("#go")
    page.browser.press(ENTER)
    page.until_it_says("You are refused.")


@pytest.mark.parametrize(
    ("method", "last"), [("ticket", ["Authid", "Ticket"]), ("cryptosign", ["Authid (optional)", "Private key file"])]
)
def test_every_field_has_a_label_and_the_log_is_read_out(page: Page, method: str, last: list[str]) -> None:
    page.browser.click(f"[value={method}]")
    fields = "[...document.querySelectorAll('input, select')].filter(field => field.checkVisibility())"
    labels = page.browser.run(f"return {fields}.map(field => field.labels[0]?.innerText.trim().split('\\n')[0])")
    methods = ["WAMP-ticket: a shared secret", "WAMP-cryptosign: a key pair"]
    assert labels == ["Transport", *methods, "Realm (optional)", *last]
    assert page.browser.run("return document.getElementById('log').closest('[aria-live=polite]').role") == "log"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_readable_on_a_phone_and_in_the_dark(page: Page, scheme: str, width: int) -> None:
    page.browser.emulate(width, 800, scheme)
    page.log_in("client1", CHOSEN)
    page.until_it_says("You are still in")
    assert page.browser.run("return document.documentElement.scrollWidth") <= width
    contrasts = page.browser.run(CONTRASTS)
    assert len(contrasts) > 30
    assert [text for text, contrast in contrasts if contrast < 4.5] == []  # WCAG 2.2, AA


def test_a_page_from_elsewhere_is_not_let_in(visit: Page) -> None:
    """The transports list the origins that they take pages from, and the page says so."""
    visit.browser.visit(visit.url.replace("localhost", "elsewhere.localhost"))
    visit.log_in("client1", CHOSEN)
    visit.until_it_says("do its allowed_origins list http://elsewhere.localhost:")
    assert visit.messages == []
