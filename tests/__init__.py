"""The tests, from pure decisions to real servers."""
