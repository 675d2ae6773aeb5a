"""Draws accuracy against lag."""

import numpy as np

from seqjax.analysis.statistics import MIN_SCORES
from seqjax.results import plotting, table


def draw(rows, path: str):
  """Draws the mean of each mixer: beside it few seeds, or the band of many."""
  figure, (area,) = plotting.new('Copying a symbol')
  plotting.lengths_axis(area, sorted({row['lag'] for row in rows}), 'lag')
  plotting.fraction_axis(area, 'accuracy')
  for name in dict.fromkeys(row['mixer'] for row in rows):
    own = table.select(rows, mixer=name)
    lags = sorted({row['lag'] for row in own})
    at_lags = [table.select(own, lag=lag) for lag in lags]
    seeds = np.transpose([[row['score'] for row in at] for at in at_lags])
    band = {}
    if len(seeds) >= MIN_SCORES:
      band = {'low': seeds.min(axis=0), 'high': seeds.max(axis=0)}
    plotting.line(area, lags, seeds.mean(axis=0), name, seeds=seeds, **band)
  plotting.chance_line(area, rows[0]['chance'])
  plotting.footer(figure, rows, 'Lines: means; thin lines or bands: all seeds.')
  plotting.save(figure, path)
