"""Tests of the calls, written once as async code; their twin is generated."""
