"""The rows of one result, taken out of what was received: of the text protocol or of the binary one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .values import read_binary_row, text_decoders
from .wire import Column, Inbox, Talk, ends_rows, read_number, refusal

__all__ = ("Reading",)

_LARGEST = 0xFFFFFF


class Reading:
    """The rows of one result.

    Attributes:
        fields: its columns, as the server tells them.
        columns: their names.
        binary: whether the rows come by the binary protocol.
        inbox: what was received of it: the session's, or its own once it was spooled.
        spooled: whether it no longer comes from the server.
        ended: whether all rows were taken or passed over.
    """

    def __init__(
        self, inbox: Inbox, fields: tuple[Column, ...], at_end: Callable[[bytes], Talk[None]], *, binary: bool
    ) -> None:
        """Take, besides, what is to follow the packet that ends the rows."""
        self.fields = fields
        self.columns = tuple([column.name for column in fields])
        self.binary = binary
        self.inbox = inbox
        self.spooled = False
        self.ended = False
        self._at_end = at_end
        self._decoders = text_decoders(fields)

    def take(self, count: float) -> Talk[list[tuple[Any, ...]]]:
        """Return the next rows, at most `count`; fewer only at the end."""
        rows: list[tuple[Any, ...]] = []
        while not self.ended:
            self._parse(rows, count)
            if len(rows) >= count:
                break
            yield from self._next(rows)
        return rows

    def pass_over(self, most: float = float("inf")) -> Talk[bool]:
        """Pass over the rows that are left; return False if, after some `most` bytes, there are still more."""
        if self.ended or self.spooled:
            return True
        return (yield from self._skim(lambda data: None, most))

    def spool(self, write: Callable[[bytes], object]) -> Talk[None]:
        """Hand what is left of the result to `write`; from then on it is read from there."""
        session = self.inbox
        self.spooled, self.inbox = True, Inbox()
        yield from self._at_end((yield from session.skim(write, float("inf"))) or b"")

    def _skim(self, write: Callable[[bytes], object], most: float) -> Talk[bool]:
        last = yield from self.inbox.skim(write, most)
        if last is None:
            return False
        yield from self.end(last)
        return True

    def _next(self, rows: list[tuple[Any, ...]]) -> Talk[None]:
        """Receive the next packet, and read it if it's one that `_parse` leaves: the last, or one in several."""
        inbox = self.inbox
        yield from inbox.more()
        size = int.from_bytes(inbox.data[inbox.at : inbox.at + 3], "little")
        if size == _LARGEST:
            rows.append(self._row((yield from inbox.packet())))
        elif ends_rows(inbox.data[inbox.at + 4], size):
            yield from self.end((yield from inbox.packet()))

    def end(self, last: bytes) -> Talk[None]:
        """Take note of the packet that ended the rows, or raise the error that it is."""
        self.ended = True
        if not self.spooled:
            yield from self._at_end(last)
        if last[0] == 0xFF:
            raise refusal(last)

    def _row(self, packet: bytes) -> tuple[Any, ...]:
        if self.binary:
            return read_binary_row(packet, self.fields, self._decoders)
        row: list[Any] = []
        at = 0
        for decode in self._decoders:
            if packet[at] == 251:
                at += 1
                row.append(None)
            else:
                size, at = read_number(packet, at)
                row.append(decode(packet[at : at + size]))
                at += size
        return tuple(row)

    def _parse(self, rows: list[tuple[Any, ...]], count: float) -> None:
        """Read the complete rows that are there. Written out: this is where the time goes."""
        inbox, decoders, binary = self.inbox, self._decoders, self.binary
        data, at = inbox.data, inbox.at
        received = len(data)
        while at + 4 < received and len(rows) < count:
            size = data[at] | data[at + 1] << 8 | data[at + 2] << 16
            place = at + 4
            end = place + size
            if end > received or size == _LARGEST or ends_rows(data[place], size):
                break
            at = end
            if binary:
                rows.append(read_binary_row(data[place:end], self.fields, decoders))
                continue
            row: list[Any] = []
            for decode in decoders:
                size = data[place]
                place += 1
                if size > 250:
                    if size == 251:
                        row.append(None)
                        continue
                    size, place = read_number(data, place - 1)
                row.append(decode(data[place : place + size]))
                place += size
            rows.append(tuple(row))
        inbox.at = at
