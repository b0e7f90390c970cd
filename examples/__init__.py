"""Examples that run by themselves, with the real data they use."""
