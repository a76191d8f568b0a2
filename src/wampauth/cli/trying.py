"""What would a client show that tries to log in, and what keeps it out?"""

from dataclasses import dataclass

from wampauth.cli.refused import BINDING, TLS

GOOD = "good"  # the reason that is none: what is shown is right
MISSED = {TLS: "TLS", BINDING: "channel binding"}  # how the reasons of the audit are called here


@dataclass(frozen=True)
class Reason:
    """One cause.

    :ivar name: for programs.
    :ivar text: a sentence for the operator.
    :ivar is_certain: nobody gets in as long as it is so; else it depends on how the client comes.
    """

    name: str
    text: str
    is_certain: bool = True


@dataclass(frozen=True)
class Attempt:
    """What the client would show.

    :ivar authid: None: it says no name, and shows what nobody is known by.
    :ivar pubkey: in hexadecimal.
    """

    authid: str | None
    ticket: str | None = None
    pubkey: str | None = None
    realm: str | None = None

    @property
    def who(self) -> str | None:
        """By whom or what it is found in the audit."""
        return self.authid if self.authid is not None else self.pubkey

    @property
    def method(self) -> str | None:
        """By which it would try; None: nothing is shown."""
        if self.ticket is not None:
            return "ticket"
        return "cryptosign" if self.pubkey is not None else None
