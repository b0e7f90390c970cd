"""How the outcome of a lost COMMIT is found out in MySQL and MariaDB: by a row that commits with the transaction.

A table, the ledger, has a row for each session, and the mark of the last transaction that the session committed. A
session also holds a user lock of the row's name: the server frees it after it has ended the session, its transaction
decided; and unlike a session's number nobody else ever gets it.
"""

from __future__ import annotations

from ..dialects import Query, Receipt, Receipts
from ..sqltext import quote_identifier

__all__ = ("ledger",)


def ledger(table: str) -> Receipts:
    """Return the receipts that a table of that name keeps."""
    name = quote_identifier(table, "mysql")
    escaped = name.replace("%", "%%")  # where values are, each other % is doubled

    def take(receipt: Receipt) -> Query:
        # Without the lock mark is NULL, which the column refuses.
        text = (
            f"INSERT INTO {escaped} (slot, mark, at) VALUES (%s, IF(GET_LOCK(%s, 0) = 1, %s, NULL), UTC_TIMESTAMP()) "
            "ON DUPLICATE KEY UPDATE mark = VALUES(mark), at = VALUES(at)"
        )
        return text, (receipt.slot, _lock(receipt), receipt.mark)

    def status(receipt: Receipt) -> Query:
        return (
            f"SELECT IF((SELECT mark FROM {escaped} WHERE slot = %s) = %s, 'committed', 'aborted')",
            (receipt.slot, receipt.mark),
        )

    create = (
        f"CREATE TABLE IF NOT EXISTS {name} (slot VARCHAR(58) CHARACTER SET ascii NOT NULL PRIMARY KEY, "
        "mark CHAR(32) CHARACTER SET ascii NOT NULL, at DATETIME NOT NULL) ENGINE=InnoDB"
    )
    return Receipts(
        prepare=(
            create,
            f"DELETE FROM {name} WHERE at < UTC_TIMESTAMP() - INTERVAL 1 DAY AND IS_FREE_LOCK(CONCAT('echo:', slot))",
        ),
        take=take,
        wrote=lambda receipt: True,
        # NULL is nobody's lock, 0 nobody's session: error 1094.
        end_session=lambda receipt: ("KILL CONNECTION IFNULL(IS_USED_LOCK(%s), 0)", (_lock(receipt),)),
        alive=lambda receipt: ("SELECT IS_USED_LOCK(%s) IS NOT NULL", (_lock(receipt),)),
        status=status,
    )


def _lock(receipt: Receipt) -> str:
    return f"echo:{receipt.slot}"
