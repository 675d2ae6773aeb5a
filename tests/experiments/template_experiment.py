"""The experiment of `template`, as if it were a folder of `experiments`."""

import importlib
import pathlib

from experiments import folders
from seqjax.results import table

TEMPLATE = pathlib.Path(__file__).parent / 'template'
PLACE = {
  'cpus': 2, 'jax': '0.10.2', 'precision': 'float32', 'commit': 'abc',
}  # fmt: skip


class Template(folders.Experiment):
  """Finds the modules of the template where they are."""

  def __init__(self):
    super().__init__('template')

  @property
  def folder(self):
    return TEMPLATE

  def _module(self, part, optional=False):
    return importlib.import_module(f'tests.experiments.template.{part}')


def rows(*scores: float, device: str = 'cpu', seconds: float | None = 1.5):
  """Returns a row per score of an LSTM at lag 16, each a run of its own."""
  taken = {} if seconds is None else {'run_seconds': seconds}
  return [
    {'run': f'seed={i}', 'mixer': 'lstm', 'lag': lag, 'seed': i,
     'score': score, 'chance': 0.125, 'device': device, **PLACE, **taken}
    for i, score in enumerate(scores)
    for lag in (4, 16)
  ]  # fmt: skip


def published(folder: pathlib.Path, measured) -> folders.Experiment:
  """Writes table and figure of the template into a folder."""
  found = Template()
  folder.mkdir(parents=True, exist_ok=True)
  table.write(measured, folder / 'results.csv')
  found.draw(measured, str(folder / 'figure.svg'))
  return found
