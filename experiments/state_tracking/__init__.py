"""Measures who tracks a state beyond the trained length."""
