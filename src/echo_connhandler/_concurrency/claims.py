"""Names that one caller at a time uses, among all threads and tasks of this process."""

from __future__ import annotations

import threading

__all__ = ("UPLOADS", "Claims")


class Claims:
    """The names in use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    def take(self, name: str) -> bool:
        """Take a name, if nobody has it."""
        with self._lock:
            free = name not in self._taken
            self._taken.add(name)
            return free

    def give_back(self, name: str) -> None:
        """Let others have it."""
        with self._lock:
            self._taken.discard(name)


# The tokens of temporary names on servers. Two uploads of the same content to the same file would write to one
# temporary file, and the one cut it short that the other has just found whole.
UPLOADS = Claims()
