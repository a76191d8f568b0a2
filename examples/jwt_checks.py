"""Who may join? Whoever shows a JSON Web Token (JWT) of your identity provider as its ticket. Needs PyJWT and treq.

In the node's configuration, with ``guard: {longest_ticket: 4096}``, since such tokens are long::

    extra:
      issuer: "https://id.example.com/"                          # who makes the tokens: their claim "iss"
      audience: wamp                                             # whom they are made for: "aud"
      keys: "https://id.example.com/.well-known/jwks.json"       # the issuer's public keys
      realm: realm1
      groups: {admins: backend, staff: frontend}                 # a role for each group in the token: the first counts
"""

from typing import Any

import jwt
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredLock

from wampauth import Authenticator, Principal, Refused, TicketClaim
from wampauth.http import JsonService, ServiceError

ALGORITHM = "RS256"  # the one that we take, whatever a token says of itself
NEEDED = ["iss", "aud", "sub", "exp"]
LEEWAY = 30.0  # seconds that the issuer's clock may be ahead of ours
FRESH = 300.0  # seconds for which we don't ask for the keys again, unless a token names one that we don't know
AWAY = 3600.0  # seconds for which the keys that we have will do if the issuer can't be reached
PAUSE = 10.0  # seconds from one question to the next, whatever tokens name
PATIENCE = 3.0  # seconds for its answer


class Checks:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.issuer, self.audience, self.realm = settings["issuer"], settings["audience"], settings["realm"]
        self.groups = dict(settings["groups"])
        self.keys = KeySet(JsonService(settings["keys"]))

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        try:
            key = await self.keys.find(jwt.get_unverified_header(claim.ticket).get("kid"))
            token = jwt.decode(
                claim.ticket,
                key,
                algorithms=[ALGORITHM],
                issuer=self.issuer,
                audience=self.audience,
                leeway=LEEWAY,
                options={"require": NEEDED},
            )
        except jwt.InvalidTokenError as error:
            raise Refused(type(error).__name__) from None  # its text may quote what a stranger has written
        role = self.role(token.get("groups"))
        if role is None:
            raise Refused("in no group that has a role", authid=token["sub"])
        return Principal(token["sub"], self.realm, role, credential=token.get("jti"), expires=token["exp"])

    def role(self, groups: Any) -> str | None:
        member = groups if isinstance(groups, list) else [groups]  # in a text, "staff" would be in "staffroom"
        return next((role for group, role in self.groups.items() if group in member), None)


class KeySet:
    """The issuer's public keys, by their ids. A new one is noticed when a token names it, and one that is withdrawn
    after :data:`FRESH` seconds."""

    def __init__(self, service: Any, clock: Any = reactor) -> None:
        self._service, self._clock = service, clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._asked = float("-inf")  # seconds on the clock
        self._failure = ""  # of the last question
        self._turn = DeferredLock()

    async def find(self, kid: str | None) -> jwt.PyJWK:
        """
        :raises Refused: if the issuer has no such key.
        :raises ServiceError: if we can't tell.
        """
        if kid not in self._keys or self._age() > FRESH:
            async with self._turn:  # those who come now wait for the same answer
                if (kid not in self._keys or self._age() > FRESH) and self._clock.seconds() - self._asked >= PAUSE:
                    await self._ask()
        if kid in self._keys and self._age() <= AWAY:
            return self._keys[kid]
        if self._failure:
            raise ServiceError(f"the issuer's keys can't be had: {self._failure}")
        raise Refused("the issuer has no key of this id")

    def _age(self) -> float:
        return float(self._clock.seconds() - self._fetched)

    async def _ask(self) -> None:
        self._asked = self._clock.seconds()
        try:
            reply = await Deferred.fromCoroutine(self._service.get()).addTimeout(PATIENCE, self._clock)
            found = jwt.PyJWKSet.from_dict(reply.content()).keys
        except Exception as failure:
            is_told = isinstance(failure, ServiceError)  # other texts may quote what the issuer has sent
            self._failure = str(failure) if is_told else type(failure).__name__
            return
        usable = [key for key in found if key.algorithm_name == ALGORITHM and key.public_key_use in (None, "sig")]
        self._keys = {key.key_id: key for key in usable if key.key_id}
        self._fetched, self._failure = self._asked, ""


authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession = authenticator.component
Sessions = authenticator.sessions  # ends sessions when their token runs out
