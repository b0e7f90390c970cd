"""Adapters between a library and the engines, one small file per (service, library); hand-written."""
