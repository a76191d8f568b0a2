"""What is probed? Each row by its name, in the order of the report."""

from wampauth.probe.report import About

CREDENTIAL = "--ticket-env or --key"

ROWS = {
    # guessing
    "guesses-connection": About(
        "30 wrong tickets, one after the other, on one connection; as many proofs on one challenge of a password",
        "A router doesn't count attempts: who may guess without an end will find a weak ticket or password.",
        "refusals.md",
    ),
    "guesses-hello": About(
        "30 times HELLO and a wrong ticket, on one connection",
        "After ABORT the connection stays open, so that each HELLO begins anew.",
        "refusals.md",
        method="ticket",
    ),
    "guesses-address": About(
        "30 connections from one address, a wrong ticket each",
        "A limit on each connection is none: the next connection costs nothing.",
        "refusals.md",
        method="ticket",
    ),
    "guesses-authids": About(
        "250 authids from one address, a wrong ticket each",
        "A common ticket tried on everybody finds the one who has it.",
        "refusals.md",
        method="ticket",
    ),
    "forwarded-for": About(
        "guesses beyond the limit, each with another X-Forwarded-For",
        "Who may choose the address that is counted isn't counted.",
        "tls.md",
        method="ticket",
    ),
    "true-ticket": About(
        "the true ticket after 30 wrong ones, on the same connection",
        "Guessing pays if the right guess gets in however many wrong ones came before it.",
        "refusals.md",
        ("--ticket-env",),
        method="ticket",
    ),
    "lock-out": About(
        "an honest login from another address, after the wrong ones",
        "If guesses lock a principal out, any stranger can do that to anybody.",
        "refusals.md",
        ("--ticket-env",),
        method="ticket",
    ),
    # what a no tells
    "known-answer": About(
        "an authid that exists and one that doesn't: their answers, and their challenges twice",
        "Different answers tell a stranger who exists.",
        "refusals.md",
    ),
    "known-time": About(
        "the same two: how long the answers take",
        "Different times tell a stranger who exists.",
        "refusals.md",
    ),
    "exception-text": About(
        "odd types and values that reach the authenticator",
        "The text of an exception tells about the code, and may hold what it was called with.",
        "refusals.md",
    ),
    "inner-names": About(
        "unknown realms, methods and messages: what the texts name",
        "Names of procedures, files and modules tell a stranger where to go on.",
        "wirings.md",
    ),
    "secret-echo": About(
        "any answer: is the ticket or the key in it?",
        "What is sent back ends in logs and on screens.",
        "refusals.md",
        (CREDENTIAL,),
    ),
    "version": About(
        "the opening handshake: does it name a version?",
        "A version tells a stranger which faults to try.",
        "strangers.md",
    ),
    # malformed
    "malformed-joins": About(
        "malformed HELLOs, AUTHENTICATEs and frames: does one join?",
        "An empty ticket or a missing authid must not be anybody's, nor let in whom nobody knows.",
        "checks.md",
    ),
    "malformed-hangs": About(
        "the same: does one get no answer?",
        "A client that isn't answered waits for ever, and so does its connection.",
        "wirings.md",
    ),
    "anonymous": About(
        "no method, and the method anonymous",
        "Who joins without a credential needs no other hole.",
        "wirings.md",
    ),
    # claims
    "claimed-realm": About(
        "the true credential, and a realm that isn't the principal's",
        "The realm in HELLO is a claim: taken as it comes, anybody joins anywhere.",
        "checks.md",
        (CREDENTIAL,),
    ),
    "claimed-authid": About(
        "the true credential, and an authid that isn't the principal's",
        "The authid in HELLO is a claim: taken as it comes, anybody is anybody.",
        "checks.md",
        (CREDENTIAL,),
    ),
    "claimed-role": About(
        "the true credential, and the role trusted",
        "The role is the authenticator's to give; trusted may do everything.",
        "checks.md",
        (CREDENTIAL,),
    ),
    # signatures
    "unknown-key": About(
        "a key made up now, with its right signature",
        "The key in HELLO is a claim: the answer must hold the stored one.",
        "checks.md",
        method="cryptosign",
    ),
    "small-order": About(
        "keys of small order, with the signature that fits all messages",
        "Such a key lets anybody sign.",
        "checks.md",
        method="cryptosign",
    ),
    "forged": About(
        "the true public key, with forged signatures: on a challenge each, and all on one",
        "A public key isn't a secret: only the signature proves anything.",
        "wire.md",
        ("--key",),
        method="cryptosign",
    ),
    "replayed": About(
        "the signature of one login in the next one",
        "A challenge that comes twice makes a signature that was overheard a password.",
        "wire.md",
        ("--key",),
        method="cryptosign",
    ),
    "after-goodbye": About(
        "the old signature after GOODBYE; a wrong ticket there",
        "Who joins again without being asked stays, though the credential was revoked.",
        "sessions.md",
        (CREDENTIAL,),
    ),
    "channel-binding": About(
        "the true key over TLS, without channel binding",
        "A server in between can pass a signature on, unless it is bound to the connection.",
        "tls.md",
        ("--key",),
        method="cryptosign",
    ),
    "clear-ticket": About(
        "whether tickets go through a network in clear",
        "A ticket that is read on the way is as good as the principal's own.",
        "tls.md",
        method="ticket",
    ),
    # waiting
    "idle-tcp": About(
        "TCP, and nothing said for 15 s",
        "Connections that say nothing fill a router up.",
        "strangers.md",
    ),
    "idle-headers": About(
        "a header of the opening handshake each second, for 15 s",
        "A slow handshake holds a connection for ever.",
        "strangers.md",
    ),
    "idle-websocket": About(
        "WebSocket, and no HELLO for 15 s",
        "The router has no login grace time of its own.",
        "strangers.md",
    ),
    "idle-challenge": About(
        "a CHALLENGE, and no answer for 15 s",
        "The router has no login grace time of its own.",
        "strangers.md",
    ),
    # frames
    "deep-nesting": About(
        "frames of up to 20,000 opening brackets, an honest handshake beside each",
        "JSON is read by recursion: one frame of a stranger can stop everybody.",
        "strangers.md",
    ),
    "oversized": About(
        "a HELLO of 1 MB",
        "What is read before the login is read for everybody who comes.",
        "strangers.md",
    ),
    "origin": About(
        "the opening handshake with a foreign Origin",
        "Any page that a user looks at can talk to the router from their browser.",
        "clients.md",
    ),
    # who has joined
    "meta-read": About(
        "wamp.session.list and others that look, as the joined role",
        "The meta API shows who else is here, with their addresses and headers.",
        "sessions.md",
        (CREDENTIAL,),
    ),
    "meta-kill": About(
        "wamp.session.kill and others that end, as the joined role",
        "Who may end sessions can put everybody out.",
        "sessions.md",
        (CREDENTIAL,),
    ),
    "any-uri": About(
        "a call, a topic and a procedure of names made up, as the joined role",
        "A role that may do everything can also stand in for the backend.",
        "sessions.md",
        (CREDENTIAL,),
    ),
    "prefix-all": About(
        "subscriptions to all there is, by prefix and wildcard",
        "Such a subscription hears everybody's events.",
        "sessions.md",
        (CREDENTIAL,),
    ),
    "prefix-topic": About(
        "a subscription by prefix to a topic that may be heard by name",
        "Who may hear a topic hears all below it: static rules ignore the match policy, and a prefix rule means it.",
        "joined.md",
        (CREDENTIAL, "--topic"),
    ),
    "forward-for": About(
        "a call with forward_for, which names another caller",
        "A procedure that asks who calls is told what the caller likes.",
        "sessions.md",
        (CREDENTIAL, "--procedure"),
    ),
}
