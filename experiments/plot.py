"""Draws the figure of an experiment, from tables or from a folder of runs.

    python -m experiments.plot recall --results=a.csv,b.csv --to=both.svg
    python -m experiments.plot recall --runs=runs/recall --to=figure.png

Several tables overlay several machines. The figure is .svg, .png or .pdf.
"""

import dataclasses
import sys

from experiments import folders
from experiments.folders import Experiment, Rows
from seqjax import experiment, results
from seqjax.experiment import option
from seqjax.launch import exits
from seqjax.results import plotting, table


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of a figure."""

  results: tuple[str, ...] = option(
    (), 'Tables to draw; without any, the one that is committed.'
  )
  runs: str = option('', 'Folder of finished runs to draw instead of tables.')
  to: str = option('', 'File of the figure, which ends in .svg, .png or .pdf.')


def rows_of(found: Experiment, config: Config) -> Rows:
  """Reads the rows that a figure is drawn from.

  Raises:
    ValueError: there is no such table, no finished run, or both were named.
  """
  if config.runs and config.results:
    raise ValueError('A figure is drawn from --results or --runs, not both.')
  if not config.runs:
    return table.read(*(config.results or [found.folder / 'results.csv']))
  rows = found.tabulate(results.collate(config.runs))
  if not rows:
    raise ValueError(f'No run under {config.runs!r} has finished.')
  return rows


def draw(found: Experiment, config: Config):
  """Draws one figure; ValueError where something is missing."""
  plotting.check_path(config.to)
  with folders.own_columns(found):
    drawn = found.draw(rows_of(found, config), config.to)
  if not drawn:
    raise ValueError(f'The experiment {found.name!r} has no plot.py.')
  print(f'Figure: {config.to}')


def main(argv: list[str] | None = None):
  program, *arguments = sys.argv if argv is None else argv
  names = [part for part in arguments if not part.startswith('-')]
  options = [part for part in arguments if part.startswith('-')]

  def run(config: Config):
    if len(names) != 1:
      raise ValueError(
        f'Name one experiment, of {", ".join(folders.names())}; options are '
        f'written --name=value, but got: {" ".join(names) or "nothing"}.'
      )
    draw(folders.find(names[0]), config)

  experiment.launch(
    Config, exits.guarded()(run), workdir=None, argv=[program, *options]
  )


if __name__ == '__main__':
  main()
