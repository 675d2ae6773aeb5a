"""Compares counts with networks as models of a text."""
