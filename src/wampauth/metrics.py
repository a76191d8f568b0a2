"""What is Prometheus told? Counters of what the audit hears of, and figures as they are when somebody asks.

One port of the loopback interface for each process: on a node with several, each has its own. This file alone knows
``prometheus_client``, and is imported where the setting ``metrics`` names a port.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from wampauth import audit, figures
from wampauth.methods import METHODS
from wampauth.settings import SettingsError
from wampauth.worker.bodies import BriefRequest

LOCAL_NAMES = ("127.0.0.1", "localhost")  # as which we may be asked: a name of a stranger's could be made to lead here
AT_ONCE = 4  # scrapes; who comes beyond that is told to come back
IDLE = 10.0  # seconds that a connection may take
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds; the last is the deadline's default
OUTCOMES = (*audit.ADMITTED, *audit.COUNTED)
ENDS = ("revoked", "expired", "kicked", "replayed", "too_many_sessions")  # of the URIs for which sessions are ended
OTHER = "other"

# The figures: what they are, and how those of several who know one are put together.
GAUGES: dict[str, tuple[str, Any]] = {
    "sessions": ("Live sessions that the authenticator let in, by realm.", sum),
    "connections_unjoined": ("Connections that have not joined a realm.", sum),
    "queue_length": ("What is waiting or under way, by queue.", sum),
    "certificate_end_seconds": (
        "When the certificate that is shown runs out, in seconds since 1970, by file.",
        min,
    ),
    "store_up": ("Whether the store has answered the last question about live sessions, by realm.", min),
}
COUNTERS: dict[str, str] = {"ticks_late": "Looks at live sessions that came more than a tick too late, by realm."}


class Figures(Collector):
    """What ``figures.py`` knows, as it was when :meth:`read` was called."""

    def __init__(self) -> None:
        self._read: Mapping[str, Mapping[figures.Labels, list[float]]] = {}

    def read(self) -> None:
        """Read all figures; by the reactor's thread, whose they are."""
        self._read = figures.told()

    def collect(self) -> Iterable[Metric]:
        """The figures that were read."""
        for name, said in self._read.items():
            labels = [label for label, _ in next(iter(said))]
            family: Any
            if name in COUNTERS:
                family, merge = CounterMetricFamily(f"wampauth_{name}", COUNTERS[name], labels=labels), sum
            else:
                text, merge = GAUGES[name]
                family = GaugeMetricFamily(f"wampauth_{name}", text, labels=labels)
            for values, numbers in said.items():
                family.add_metric([value for _, value in values], merge(numbers))
            yield family


class Metrics:
    """All metrics of this process."""

    def __init__(self) -> None:
        """All at zero."""
        self.registry = CollectorRegistry()
        self.figures = Figures()
        self.registry.register(self.figures)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._attempts = self._counter("attempts", "Attempts to log in, by method and outcome.", "method", "outcome")
        self._durations = Histogram(
            "wampauth_login_duration_seconds",
            "From the attempt to what becomes of it, by method; before the delay of a refusal.",
            ["method"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._no_token = self._counter("tokens_refused", "Attempts that the throttle had no token for.")
        self._joined = self._counter("sessions_joined", "Sessions that have joined, by realm.", "realm")
        self._left = self._counter("sessions_left", "Sessions that have left, by realm.", "realm")
        self._ended = self._counter(
            "sessions_ended", "Sessions that we have ended, by realm and reason.", "realm", "reason"
        )
        self._unwritten = self._counter("audit_failures", "Audit records that could not be written.")
        for method in METHODS:  # so that there is a rate from the first one on
            self._durations.labels(method)
            for outcome in OUTCOMES:
                self._attempts.labels(method, outcome)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"wampauth_{name}", text, labels, registry=self.registry)

    def observe(self, outcome: str, fields: Mapping[str, Any], is_written: bool) -> None:
        """Count what the audit hears of. A yes that it couldn't write becomes a no, of which it will hear, too."""
        if not is_written:
            self._unwritten.inc()
        realm, method = str(fields.get("realm")), str(fields.get("method"))
        if outcome in OUTCOMES and (is_written or outcome not in audit.ADMITTED):
            self._attempts.labels(method if method in METHODS else OTHER, outcome).inc()
            self._durations.labels(method if method in METHODS else OTHER).observe(fields.get("duration") or 0.0)
            if outcome == "throttled":
                self._no_token.inc()
        elif outcome == "joined":
            self._joined.labels(realm).inc()
        elif outcome == "left":
            self._left.labels(realm).inc()
        elif outcome == "ended":
            reason = str(fields.get("reason")).rpartition(".")[2]
            self._ended.labels(realm, reason if reason in ENDS else OTHER).inc()

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)


class Endpoint(Resource):
    """Answers GET, to programs of this machine that ask for it by its own name."""

    isLeaf = True

    def __init__(self, metrics: Metrics) -> None:
        """:param metrics: to show."""
        super().__init__()
        self._metrics = metrics
        self._underway = 0

    def render_GET(self, request: Any) -> bytes | int:
        """The metrics. They are put together in a thread."""
        request.setHeader(b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode())
        request.setHeader(b"connection", b"close")  # what stays open counts as a connection that hasn't joined
        if request.getRequestHostname().decode(errors="replace") not in LOCAL_NAMES:
            request.setResponseCode(403)
            return b"ask for http://127.0.0.1\n"
        if self._underway >= AT_ONCE:
            request.setResponseCode(503)
            return b"too many scrapes at once\n"
        self._metrics.figures.read()  # what fails before it is under way keeps no place
        self._underway += 1
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def answer(text: Any) -> None:
            self._underway -= 1
            if gone:
                return
            if not isinstance(text, bytes):
                request.setResponseCode(500)
                text = b"the metrics can't be put together\n"
            request.write(text)
            request.finish()

        maybeDeferred(deferToThread, self._metrics.text).addBoth(answer)
        return NOT_DONE_YET


@functools.cache
def metrics() -> Metrics:
    """Those of this process, which are counted from now on."""
    made = Metrics()
    audit.OBSERVERS.append(made.observe)
    return made


@functools.cache
def serve(port: int) -> Any:
    """Answer Prometheus at a port of 127.0.0.1, once however many ask for it.

    :returns: the listening port.
    :raises SettingsError: if it is taken.
    """
    site = Site(Endpoint(metrics()), BriefRequest, timeout=IDLE)
    site.displayTracebacks = False
    site.log = lambda _: None  # a line for each scrape would be noise
    try:
        listening: Any = reactor
        return listening.listenTCP(port, site, interface="127.0.0.1")
    except CannotListenError as error:
        raise SettingsError(
            f"setting 'metrics': 127.0.0.1:{port} can't be opened ({error.socketError}); each process needs a port of "
            "its own"
        ) from None
