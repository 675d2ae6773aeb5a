"""Runs on disk, tables of them, figures and verdicts."""

from seqjax.results.run import Run, collate, finished

__all__ = ['Run', 'collate', 'finished']
