"""As much of Prometheus' language as our alert rules use, evaluated on two scrapes.

    value, by labels = evaluate('sum by (realm) (rate(x_total{a="b"}[5m])) > 1', before, after, seconds)

A scrape is text as Prometheus reads it; ``promtool`` checks the same rules where it is installed.
"""

import operator
import re
import time
from collections import defaultdict
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
COMPARISONS: dict[str, Callable[[float, float], bool]] = {">": operator.gt, "<": operator.lt, "==": operator.eq}
SELECTOR = re.compile(r'(\w+)(?:\{(\w+)(=~?)"([^"]*)"\})?(?:\[(\d+)m\])?')
AGGREGATION = re.compile(r"(sum|min) by \(([\w, ]+)\) \((.*)\)")


def scraped(text: str) -> dict[str, Vector]:
    """The samples of a scrape, by name and labels."""
    found: dict[str, Vector] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name][frozenset(sample.labels.items())] = sample.value
    return found


def evaluate(expression: str, before: str, after: str, seconds: float) -> Vector:
    """For whom an alert with this expression fires, if the second scrape came so many seconds after the first."""
    inner, comparison, limit = re.fullmatch(r"(.*) (>|<|==) ([\d.]+)", expression.strip()).groups()  # type: ignore[union-attr]
    found = _vector(inner, scraped(before), scraped(after), seconds)
    return {labels: value for labels, value in found.items() if COMPARISONS[comparison](value, float(limit))}


def _vector(text: str, before: dict[str, Vector], after: dict[str, Vector], seconds: float) -> Vector:
    if text.endswith(" - time()"):
        now = time.time()
        return {
            labels: value - now for labels, value in _vector(text[: -len(" - time()")], before, after, seconds).items()
        }
    if function := re.fullmatch(r"(rate|increase)\((.*)\)", text):
        selector = SELECTOR.fullmatch(function[2])
        assert selector and selector[5], text
        old, new = _select(selector, before), _select(selector, after)
        over = seconds if function[1] == "rate" else 1.0
        return {labels: (value - old.get(labels, 0.0)) / over for labels, value in new.items()}
    if function := re.fullmatch(r"histogram_quantile\(([\d.]+), (.*)\)", text):
        return _quantile(float(function[1]), _vector(function[2], before, after, seconds))
    if aggregation := AGGREGATION.fullmatch(text):
        kept, groups = aggregation[2].split(", "), defaultdict(list)
        for labels, value in _vector(aggregation[3], before, after, seconds).items():
            groups[frozenset(pair for pair in labels if pair[0] in kept)].append(value)
        together: Callable[[list[float]], float] = sum if aggregation[1] == "sum" else min
        return {labels: together(values) for labels, values in groups.items()}
    selector = SELECTOR.fullmatch(text)
    assert selector, text
    return _select(selector, after)


def _select(selector: re.Match[str], samples: dict[str, Vector]) -> Vector:
    name, label, comparison, value, _ = selector.groups()
    assert name in samples, f"there is no {name}"
    if label is None:
        return samples[name]
    pattern = value if comparison == "=~" else re.escape(value)
    return {
        labels: found for labels, found in samples[name].items() if re.fullmatch(pattern, dict(labels).get(label, ""))
    }


def _quantile(wanted: float, buckets: Vector) -> Vector:
    """The upper end of the bucket in which it lies; Prometheus itself interpolates."""
    groups: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, count in buckets.items():
        groups[frozenset(pair for pair in labels if pair[0] != "le")].append((float(dict(labels)["le"]), count))
    found = {}
    for labels, counts in groups.items():
        total = max(count for _, count in counts)
        if total:
            found[labels] = next(upper for upper, count in sorted(counts) if count >= wanted * total)
    return found
