"""How to find out whether a COMMIT took effect whose answer was lost: by the transaction's number.

pg_xact_status (manual 9.27.9) tells of a number whether its transaction committed. It is believed only from a server
that goes on with the same history, the same system identifier and timeline: after a failover the number may be
another transaction's. Nor is "committed" believed after a crash: a transaction of which nothing had reached the disk
leaves its number to another. A crash resets the server's statistics, which tells it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..dialects import Query, Receipts

if TYPE_CHECKING:
    from ..dialects import Receipt

__all__ = ("RECEIPTS",)

_HISTORY = (
    "(SELECT system_identifier::text FROM pg_catalog.pg_control_system()), "
    "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL "
    "ELSE left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8) END, "
    "(SELECT stats_reset::text FROM pg_catalog.pg_stat_bgwriter)"
)


def _take(_: Receipt) -> Query:
    began = "(SELECT backend_start::text FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()))"
    xid = "pg_catalog.pg_current_xact_id_if_assigned()::text"
    return f"SELECT {xid}, pg_catalog.pg_backend_pid(), {began}, {_HISTORY}", ()


def _wrote(receipt: Receipt) -> bool:
    return receipt.row is None or receipt.row[0] is not None


def _session(receipt: Receipt) -> Query:
    """Return what names that session in pg_stat_activity; the number alone may be another's by now."""
    _, pid, began, *_ = receipt.row or (None, receipt.session, None)
    return "pid = $1::int4 AND ($2::text IS NULL OR backend_start IS NULL OR backend_start = $2::timestamptz)", (
        pid,
        began,
    )


def _end_session(receipt: Receipt) -> Query:
    which, params = _session(receipt)
    which = which.replace("OR backend_start IS NULL ", "")
    return f"SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE {which}", params


def _alive(receipt: Receipt) -> Query:
    which, params = _session(receipt)
    return f"SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE {which}", params


def _status(receipt: Receipt) -> Query:
    xid, _, _, system, timeline, statistics = receipt.row or (None,) * 6
    # A number that no transaction before has ended with is in progress; or it was lost in a crash, never having ended.
    return (
        (
            "SELECT CASE WHEN system IS DISTINCT FROM $2::text OR timeline IS DISTINCT FROM $3::text "
            "OR timeline IS NULL "
            "THEN NULL "
            "WHEN $1::text::xid8 >= pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) THEN "
            "CASE WHEN crashed IS DISTINCT FROM $4::text THEN 'aborted' END "
            "ELSE CASE pg_catalog.pg_xact_status($1::text::xid8) "
            "WHEN 'committed' THEN CASE WHEN crashed IS NOT DISTINCT FROM $4::text THEN 'committed' END "
            "WHEN 'aborted' THEN 'aborted' END END "
            f"FROM (SELECT {_HISTORY}) AS now (system, timeline, crashed)"
        ),
        (xid, system, timeline, statistics),
    )


RECEIPTS = Receipts(take=_take, wrote=_wrote, end_session=_end_session, alive=_alive, status=_status)
