"""Draws the first figure of the README from two committed tables.

    python -m experiments.headline

One panel of parallelism and one of recall, with a few mixers each: what a scan
costs beside attention, and how far back the same networks remember.
"""

import pathlib

from experiments import folders
from experiments.parallelism import plot as parallelism
from experiments.recall import plot as recall
from seqjax.results import plotting, table

PATH = folders.ROOT.parent / 'docs' / 'headline.svg'
TIMED = ('attention', 'lstm', 'mingru', 'mamba2', 'deltanet')
REMEMBERING = ('elman', 'lstm', 'attention')


def draw(path: pathlib.Path = PATH):
  """Draws the figure; its footer names both machines where they differ."""
  times, scores = (
    table.read(pathlib.Path(plot.__file__).with_name('results.csv'))
    for plot in (parallelism, recall)
  )
  times = [row for row in times if row['mixer'] in TIMED]
  times = [row for row in times if row['work'] == 'training' and row['seconds']]
  cell = parallelism.panels_of_training(times)[0]
  times = parallelism.like(times, cell)
  size = min(row['parameters'] for row in scores)
  scores = [row for row in scores if row['mixer'] in REMEMBERING]
  scores = table.select(scores, design='mixed', parameters=size)
  figure, (left, right) = plotting.new(
    f'Training {cell.sizes}',
    'Recall of one fact, by its distance',
    width=4.4,
    height=3.4,
  )
  parallelism.ratios_panel(left, times)
  recall.accuracy_panel(right, scores)
  plotting.footer(
    figure,
    [*times, *scores],
    'Left: below 1 is faster than attention with as many parameters.\n'
    f'Right: {size:,} parameters. {recall.LINES} Dashed: the longest distance '
    'in training.',
  )
  plotting.save(figure, path)


if __name__ == '__main__':
  draw()
