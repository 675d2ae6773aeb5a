"""Draws accuracy against lag."""

import numpy as np

from seqjax.results import plotting, table


def draw(rows, path: str):
  """Draws a line per mixer, each seed beside it."""
  figure, (area,) = plotting.new('Copying a symbol')
  lags = sorted({row['lag'] for row in rows})
  plotting.lengths_axis(area, lags, 'lag')
  plotting.fraction_axis(area, 'accuracy')
  for name in dict.fromkeys(row['mixer'] for row in rows):
    part = [table.select(rows, mixer=name, lag=lag) for lag in lags]
    mean = [np.mean([row['score'] for row in of_lag]) for of_lag in part]
    plotting.line(area, lags, mean, name)
  plotting.chance_line(area, rows[0]['chance'])
  plotting.footer(figure, rows, 'Lines: means over seeds.')
  plotting.save(figure, path)
