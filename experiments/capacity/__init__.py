"""Measures how much a fixed-size memory holds, and how far back it reads."""
