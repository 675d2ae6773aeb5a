"""Measures how gradients vanish and explode with the lag."""
