"""Measures what a network of fixed size knows about places."""
