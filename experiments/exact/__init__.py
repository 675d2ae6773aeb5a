"""Checks the claims that are computations: nothing of them is learnt."""
