"""What does a check find?"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """A sentence, and where it belongs.

    :ivar place: in the configuration, such as ``workers[0].components[1].extra.guard``; empty for the whole.
    :ivar severity: an error keeps the node, or its clients, from working; a warning may be meant.
    """

    place: str
    text: str
    severity: Severity = "error"
