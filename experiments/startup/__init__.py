"""Measures how long one waits for the first result."""
