"""What the frames of both PostgreSQL drivers share."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

__all__ = ("MOST_BYTES", "SAVEPOINT", "UNDO", "WHOLE", "FrameHost")

MOST_BYTES = 1 << 29  # of a batch, whatever its rows: so much is held in memory
WHOLE = 2**31 - 1  # rows of a batch that is to be the whole result
SAVEPOINT = "_echo_frames"
UNDO = f"ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}"

S = TypeVar("S")


class FrameHost(Protocol[S]):
    """What frames need of the connection that they belong to; what has to wait is in each driver's own `Host`.

    Before each operation of its own (run, run_many, open, a cursor's fetch, ping, and open_batches and load before they
    call in here) the connection calls `stream.spool()` unless `stream` is None. It is set and cleared here.
    """

    raw: Any  # the library's connection
    stream: S | None
    catalog: dict[Any, Any]  # empty at first; what was learned about the server's types is kept in it

    @property
    def dead(self) -> bool: ...

    @property
    def in_transaction(self) -> bool: ...
