"""Was each login answered, and each session ended, as it must be? What isn't is a fault, told in a sentence.

A node that is down, and a store that is, excuse that nobody is let in, or that an end comes when they are back. Nothing
excuses that somebody wrong gets in.
"""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from truth import CLOCKS, Credential, Principal

PROMISE = 1.0  # seconds from when a credential no longer counts until its sessions have ended
BACK = 3.0  # seconds after which all is as ever when the store or the node is back
SLOW = 4.0  # seconds, about the deadline of the guard, after which a machine that is too busy is a reason
FORGOTTEN = 15.0  # seconds after which a session that should have ended isn't waited for any more
MOST = 200  # faults that are told one by one
STORE, NODE, CLOCK = "store", "node", "clock"
REFUSED = ("com.example.invalid_ticket", "com.example.no_such_user", "wamp.error.not_authorized")
THROTTLED = "com.example.too_many_attempts"
LOST = "lost"  # no answer, since the connection was, or couldn't be made
IN = "in"


@dataclass
class Outage:
    """Something was out of order: the store, the node, or the node's clock, which is ahead."""

    what: str
    why: str
    begin: float
    end: float = math.inf


@dataclass
class Login:
    """What one got who tried, with a credential or (None) without any that ever counted."""

    who: Principal
    credential: Credential | None
    since: float
    until: float
    outcome: str  # IN, LOST, or the refusal's URI
    role: str = ""
    named: tuple[str, str] = ("", "")  # as whom he was let in, and into which realm


@dataclass
class Ending:
    """How a session ended that its client hasn't left by itself.

    :ivar since: when its client began to log in.
    :ivar joined: when it heard that it is in.
    """

    who: Principal
    credential: Credential
    role: str
    since: float
    joined: float
    moment: float
    reason: str


@dataclass
class Verdicts:
    """What was seen so far.

    :ivar late: seconds for which sessions went on after the end of their credential, in ordinary times, and when the
        store or the node was back, by what has ended them.
    :ivar waits: for how long, between two moments, those who bring an end to a client had to wait for a core.
    """

    outages: list[Outage] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    late: dict[str, list[float]] = field(default_factory=lambda: {"ordinary": [], "back": [], "kicked": []})
    waits: list[tuple[float, float, float]] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)
    began: float = 0.0

    def fault(self, moment: float, sentence: str) -> None:
        self.counts["faults"] += 1
        if len(self.faults) < MOST:
            self.faults.append(f"{moment - self.began:.1f} s: {sentence}")

    def begins(self, what: str, why: str, moment: float) -> Outage:
        self.outages.append(Outage(what, why, moment))
        return self.outages[-1]

    def out(self, what: Collection[str], since: float, until: float) -> bool:
        """Whether one of these was out of order at some moment, or just before."""
        return any(
            one.what in what and one.begin <= until and one.end + BACK >= since for one in reversed(self.outages)
        )

    def expected(self, due: float) -> tuple[float, float]:
        """When was to be done what was due then: from when on the store and the node were there for long enough, and
        within how many seconds. An outage that began after that excuses nothing."""
        moment, limit = due, PROMISE
        for one in sorted(self.outages, key=lambda one: one.begin):
            if one.what in (STORE, NODE) and one.end + BACK >= due and one.begin <= moment + BACK:
                moment, limit = max(moment, one.end), BACK
        return moment, limit

    def missed(self, since: float, until: float) -> bool:
        """Whether the node may not have looked between these moments."""
        return self.expected(since)[0] + BACK > until

    def waited(self, since: float, until: float) -> float:
        """For how long they had to wait in that time, at most."""
        found = 0.0
        for begin, end, seconds in reversed(self.waits):
            if end < since:
                break
            found += seconds if begin <= until else 0.0
        return found

    # -- logins

    def login(self, login: Login) -> None:
        """Judge what became of an attempt."""
        self.counts[f"login: {login.outcome}"] += 1
        about = f"{login.who.authid} with {_described(login.credential)}"
        if login.outcome == IN:
            if not self._rightly_in(login):
                self.counts["wrong admissions"] += 1
                self.fault(login.until, f"WRONG ADMISSION of {about} as {login.named}, {login.role}")
        elif login.outcome in REFUSED or login.outcome == THROTTLED:
            if not self._rightly_refused(login):
                self.fault(login.until, f"{about} was refused wrongly: {login.outcome}")
        elif not self.out((NODE,) if login.outcome == LOST else (STORE, NODE), login.since, login.until):
            self._unanswered(login, about)

    def _unanswered(self, login: Login, about: str) -> None:
        """Nothing was out of order; but if they waited for a core for most of the time, nobody could answer."""
        took, waited = login.until - login.since, self.waited(login.since, login.until)
        said = f"{about} got no answer for no reason: {login.outcome} in {took:.1f} s"
        if took > SLOW and waited > took / 2:
            self.excused.append(f"{login.until - self.began:.1f} s: {said}, of which {waited:.1f} s")
        else:
            self.fault(login.until, said)

    def _rightly_in(self, login: Login) -> bool:
        who = login.who
        return login.named == (who.authid, who.realm) and who.may_be_admitted(
            login.credential, login.role, login.since, login.until
        )

    def _rightly_refused(self, login: Login) -> bool:
        return login.who.may_be_refused(login.credential, login.since, login.until) or self._runs_out_too_soon(
            login.credential, login.since, login.until
        )

    def _runs_out_too_soon(self, credential: Credential | None, since: float, until: float) -> bool:
        """Whether a clock that is ahead may have taken it to have run out."""
        return credential is not None and credential.expires < math.inf and self.out((CLOCK,), since, until)

    # -- ends

    def ending(self, ending: Ending) -> None:
        """Judge whether a session ended for a reason, and in time."""
        earliest, latest = ending.who.loses(ending.credential, ending.role, ending.joined, self.missed)
        self.counts[f"end: {ending.reason}"] += 1
        if ending.moment >= earliest - CLOCKS:
            self._in_time(ending, max(latest, ending.joined))
        elif kicks := [one for one in ending.who.kicks if ending.since <= one.until and one.since <= ending.moment]:
            self.late["kicked"].append(max(0.0, ending.moment - kicks[-1].until))
        elif not self.out((NODE,), ending.moment - BACK, ending.moment) and not self._runs_out_too_soon(
            ending.credential, ending.joined, ending.moment
        ):
            self.fault(ending.moment, f"{ending.who.authid} was put out for no reason: {ending.reason}")

    def _in_time(self, ending: Ending, due: float) -> None:
        if due == math.inf:
            return  # it was ended before the change was confirmed
        due, limit = self.expected(due)
        late = max(0.0, ending.moment - due)
        self.late["ordinary" if limit == PROMISE else "back"].append(late)
        if late > limit:
            waited = self.waited(due, ending.moment)
            if late - waited <= limit:
                self.excused.append(f"{ending.moment - self.began:.1f} s: {late:.2f} s, of which {waited:.2f} s")
                return
            self.counts["late endings"] += 1
            when = "" if limit == PROMISE else f" after {STORE} or {NODE} was back"
            said = f"{ending.who.authid} outlived its credential by {late:.2f} s{when}: {ending.reason}"
            course = ending.who.course(ending.credential, self.began)
            self.fault(ending.moment, f"{said} (in since {ending.joined - self.began:.1f}; {course})")

    def overdue(self, who: Principal, credential: Credential, role: str, joined: float, now: float) -> bool:
        """Whether a session that is still there should have ended long ago, although all is in order."""
        _, latest = who.loses(credential, role, joined, self.missed)
        due, _ = self.expected(max(latest, joined))
        if now - due < FORGOTTEN:
            return False
        self.counts["late endings"] += 1
        self.fault(now, f"{who.authid} goes on, {now - due:.0f} s after the end of its credential")
        return True


def _described(credential: Credential | None) -> str:
    return "nothing that ever counted" if credential is None else f"a {credential.kind} of the store's"
