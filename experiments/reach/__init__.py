"""Measures how far networks reach without a state, and with one."""
