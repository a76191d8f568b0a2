"""How does an operator's tool reach the nodes? It leaves a request in the store; they see it within a tick, and answer.

Who may write the store may do this, and nobody else: there is no procedure for it, and nothing of it on the wire. What
is asked and answered is JSON that is none of the store's business. Nothing here stays: a request is open for
:data:`OPEN` seconds, and goes with its answers when it was read, or with the next one after :data:`KEPT`.
"""

from collections.abc import Collection
from secrets import token_hex

from wampauth.store.engine import Connection, StoreError, sentences

PASSING = ("node", "request", "answer")  # the tables
OPEN = 10.0  # seconds in which a process that comes to see a request answers it
KEPT = 60.0  # seconds after which one that nobody has withdrawn goes
MOST = 100  # requests that are kept
MOST_NODES = 1000  # processes that have signed on; of those that died, some never sign off
AT_ONCE = 50  # parts that are read at once

SIGN_ON = "INSERT INTO node SELECT ?, store_now() WHERE NOT EXISTS (SELECT 1 FROM node WHERE id = ?)"
FORGET_NODES = "DELETE FROM node WHERE id NOT IN (SELECT id FROM node ORDER BY since DESC LIMIT ?)"
OPEN_NOW = """SELECT id, body FROM request WHERE made > store_now() - ?
              UNION ALL SELECT '', id FROM node WHERE id = ?"""
ANSWER = "INSERT INTO answer SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM request WHERE id = ?)"


# -- the tool's half


def request(connection: Connection, body: str) -> tuple[str, set[str]]:
    """Ask all processes that have the store open.

    :returns: the request's id, and those of the processes that have signed on.
    :raises StoreError: if others ask at the same time, and many.
    """
    identifier = token_hex(8)
    with sentences(connection):
        connection.execute("DELETE FROM request WHERE made < store_now() - ?", (KEPT,))
        connection.execute("DELETE FROM answer WHERE request NOT IN (SELECT id FROM request)")
        (waiting,) = connection.execute("SELECT COUNT(*) FROM request").fetchone()
        if waiting >= MOST:
            raise StoreError(f"{waiting} requests to the nodes are waiting already: try again in a minute")
        connection.execute("INSERT INTO request VALUES (?, store_now(), ?)", (identifier, body))
        return identifier, {node for (node,) in connection.execute("SELECT id FROM node").fetchall()}


def answers(connection: Connection, identifier: str) -> list[tuple[str, str]]:
    """What has come since this was asked before: processes, and what each says; those of one in its order."""
    query = "SELECT node, part, body FROM answer WHERE request = ? ORDER BY node, part LIMIT ?"
    with sentences(connection):
        found = connection.execute(query, (identifier, AT_ONCE)).fetchall()
        for node, part, _ in found:
            connection.execute(
                "DELETE FROM answer WHERE request = ? AND node = ? AND part = ?", (identifier, node, part)
            )
        return [(node, body) for node, _, body in found]


def withdraw(connection: Connection, identifier: str, gone: Collection[str] = ()) -> None:
    """Forget a request, and processes that have died: one that lives signs on again."""
    with sentences(connection):
        connection.execute("DELETE FROM request WHERE id = ?", (identifier,))
        connection.execute("DELETE FROM answer WHERE request = ?", (identifier,))
        for node in gone:
            connection.execute("DELETE FROM node WHERE id = ?", (node,))


# -- the node's half


def requests(connection: Connection, node: str) -> tuple[dict[str, str], bool]:
    """What is open, by the id of the request, and whether the process `node` has signed on."""
    rows = connection.execute(OPEN_NOW, (OPEN, node)).fetchall()
    return {identifier: body for identifier, body in rows if identifier}, any(not identifier for identifier, _ in rows)


def sign_on(connection: Connection, node: str) -> None:
    """Tell that this process has the store open."""
    connection.execute(SIGN_ON, (node, node))
    connection.execute(FORGET_NODES, (MOST_NODES,))
    connection.settle()


def sign_off(connection: Connection, nodes: Collection[str]) -> None:
    """Tell that it hasn't any more, by all the names that it had."""
    for node in nodes:
        connection.execute("DELETE FROM node WHERE id = ?", (node,))
    connection.settle()


def answer(connection: Connection, identifier: str, node: str, part: int, body: str) -> bool:
    """Add a part to an answer.

    :returns: whether it is still wanted.
    """
    return bool(connection.execute(ANSWER, (identifier, node, part, body, identifier)).rowcount)
