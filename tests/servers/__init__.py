"""Servers that tests start on free loopback ports: honest, hostile and in between."""
