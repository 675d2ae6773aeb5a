"""Measures how far back each mixer remembers."""
