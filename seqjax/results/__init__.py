"""Runs on disk, tables of them, figures and verdicts."""

from seqjax.results.learning_curves import curves
from seqjax.results.records import collate, finished, metrics
from seqjax.results.run import Run

__all__ = ['Run', 'collate', 'curves', 'finished', 'metrics']
