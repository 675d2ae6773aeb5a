"""Measures what training, populations and checkpoints cost."""
