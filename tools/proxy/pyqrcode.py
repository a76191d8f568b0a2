"""Why does a proxy draw no QR codes?

For each client that joins, Crossbar.io 26.10.1 reads both keys of the node again, and draws a QR code of each that
nobody sees. That is nine tenths of what a login costs a proxy. The proxies of ``scaled.yaml`` find this
module in place of the library; nothing else does.
"""


class QRCode:
    """A QR code without a picture."""

    def terminal(self) -> str:
        """What a terminal would show."""
        return ""


def create(content: str, **options: str) -> QRCode:
    """What Crossbar.io asks for."""
    return QRCode()
