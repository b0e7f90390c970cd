"""For users' own tests: waits that are computed and recorded but not slept, and services emulated on loopback."""

from .._concurrency.waits import skipping_waits as no_waits
from .bazefield import BazeEmulator
from .ccee import CceeEmulator
from .ons import SAGER_REPORT, SINAPSE_REPORT, OnsEmulator
from .server import FAULTS, Answer, Asked, Emulator, Fault, Refused

__all__ = (
    "FAULTS",
    "SAGER_REPORT",
    "SINAPSE_REPORT",
    "Answer",
    "Asked",
    "BazeEmulator",
    "CceeEmulator",
    "Emulator",
    "Fault",
    "OnsEmulator",
    "Refused",
    "no_waits",
)
