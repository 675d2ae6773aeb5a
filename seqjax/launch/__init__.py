"""Runs things: cells of a sweep, signals, progress, memory, processes."""
