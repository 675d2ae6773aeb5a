"""Measures the same few properties of every mixer."""
