"""What a socket tells without being read, for connections whose library does not look at it just now."""

from __future__ import annotations

import select
import socket
from typing import Any

__all__ = ("hung_up", "keep_alive", "readable")

# Linux alone tells the end of a connection before what was sent ahead of it is read.
_END = getattr(select, "POLLRDHUP", 0)


def readable(fileno: int) -> bool:
    """Tell whether there is anything to read now, an end or an error included."""
    if hasattr(select, "poll"):  # unlike select(), for any number of open files
        return _polled(fileno, select.POLLIN)
    return bool(select.select([fileno], [], [], 0)[0])


def hung_up(fileno: int) -> bool:
    """Tell whether the other side has ended a connection on which nothing is awaited, or it was closed here.

    Elsewhere than on Linux all that arrives unasked counts as the end.
    """
    try:
        return _polled(fileno, _END) if _END else readable(fileno)
    except (OSError, ValueError):
        return True


def _polled(fileno: int, events: int) -> bool:
    poller = select.poll()
    poller.register(fileno, events)  # errors and hang-ups are always told
    return bool(poller.poll(0))


def keep_alive(sock: Any, silence: int, between: int, count: int) -> None:
    """Have the system give a connection up whose other side is gone without a word; nothing for Unix sockets.

    Args:
        sock: the socket.
        silence: seconds without anything received after which it is asked.
        between: seconds between two questions.
        count: how many are asked in vain before it is given up.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", silence), ("TCP_KEEPINTVL", between), ("TCP_KEEPCNT", count)):
        if hasattr(socket, name):  # not every system lets a program choose
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
