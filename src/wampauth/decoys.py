"""With what is a client challenged that is refused? Where a HELLO shows only a name, a no would tell which are known.

So nobody hears a no there: the router is told of somebody who has no password, and whatever proof the client sends is
wrong. The challenge has the form of a real one, and it is the same when it is asked for again.
"""

import secrets
from dataclasses import replace

from wampauth.admission import Admissions
from wampauth.claims import Claim, Principal, Refused
from wampauth.scram import KEY, salt_of, unknown, well_formed


class Decoys:
    """Makes up somebody who can't log in."""

    def __init__(self, place: tuple[str, ...], admissions: Admissions) -> None:
        """
        :param place: realm and role to give as theirs; the router must have them.
        :param admissions: their key makes salts, where the check doesn't say which there would be.
        """
        self._place, self._admissions = place, admissions

    def instead_of(self, claim: Claim, no: Refused) -> Principal:
        """Who is challenged in place of him who claims this.

        :raises names.Malformed: for a decoy that the router couldn't work with.
        """
        realm, role = self._place
        authid = str(claim.authid)
        like = well_formed(no.decoy or unknown(salt_of(authid, self._admissions.digest("salts"))))
        nobodys = replace(like, stored_key=secrets.token_hex(KEY), server_key=secrets.token_hex(KEY))
        return Principal(authid, realm, role, scram=nobodys, secret=secrets.token_hex(KEY))
