"""Measures how the error of a forecast grows with its horizon."""
