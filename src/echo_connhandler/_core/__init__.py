"""Pure parts: no I/O, no await, no sleep, no locks; nothing here imports from the rest of the package."""
