"""Measurements on models and functions: time, memory, arithmetic, fits."""
