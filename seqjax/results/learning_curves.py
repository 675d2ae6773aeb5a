"""Draws learning curves of runs from their metrics."""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from seqjax.results import plotting, records

METRICS = ('loss', 'validation')
SCORES = ('validation', 'test')
LONGEST = 32  # characters of a label beside a panel
KNOWN = ('chance', 'ceiling')  # of a summary; scores stand between them


def curves(
  workdirs: Sequence[str | os.PathLike],
  path: str | os.PathLike,
  metrics: Sequence[str] = METRICS,
):
  """Draws metrics against steps, a panel each and a line per run.

  A line is labelled by the options in which the runs differ. Chance and
  ceiling are drawn where the runs have finished and agree on them.

  Args:
    workdirs: the folders of runs, finished or not.
    path: of the figure; its suffix is .svg, .png or .pdf.
    metrics: names of metrics, as in metrics.jsonl.

  Raises:
    ValueError: a folder holds no run, or no run has logged one of the metrics;
      the path is none of a figure.
  """
  plotting.check_path(path)
  if isinstance(workdirs, (str, os.PathLike)) or not workdirs:
    raise ValueError(
      f'Curves are drawn of a list of folders, but {workdirs!r} was given.'
    )
  configs = [
    records.decoded(records.read_config(workdir)['config'])
    for workdir in workdirs
  ]
  rows = [records.metrics(workdir) for workdir in workdirs]
  _check_logged(metrics, rows, workdirs)
  names = labels_of(configs, [pathlib.Path(x).name for x in workdirs])
  figure, panels = plotting.new(*metrics)
  for panel, metric in zip(panels, metrics, strict=True):
    panel.set_xlabel('updates')
    for config, run, name in zip(configs, rows, names, strict=True):
      logged = [row for row in run if metric in row]
      if logged:
        look = (
          str(config.get('mixer', name)) if _alone(config, configs) else name
        )
        plotting.line(
          panel,
          [row['step'] for row in logged],
          [_number(row[metric]) for row in logged],
          name,
          name=look,
        )
    if metric in SCORES:
      _draw_known(panel, workdirs)
  plotting.save(figure, path)


def labels_of(
  configs: Sequence[Mapping[str, Any]], folders: Sequence[str]
) -> list[str]:
  """Returns a label per run: the options in which it differs from others.

  A mixer and a task stand alone, other options with their name; the folder
  where no option differs, or so many that no label would fit.
  """
  fields = dict.fromkeys(name for config in configs for name in config)
  differing = [
    name
    for name in fields
    if any(config.get(name) != configs[0].get(name) for config in configs)
  ]
  labels = [
    ', '.join(_option(name, config.get(name)) for name in differing)
    for config in configs
  ]
  if len({*labels}) < len(labels):
    labels = [
      ', '.join(filter(None, x)) for x in zip(labels, folders, strict=True)
    ]
  fit = max(map(len, labels)) <= LONGEST
  return labels if differing and fit else list(folders)


def _option(name: str, value: Any) -> str:
  return str(value) if name in ('mixer', 'task') else f'{name} {value}'


def _alone(config, configs) -> bool:
  """Tells if a run is the only one of its mixer, whose look it then takes."""
  return sum(x.get('mixer') == config.get('mixer') for x in configs) == 1


def _number(value: Any) -> float:
  return float(value) if isinstance(value, Real) else math.nan


def _check_logged(metrics, rows, workdirs):
  logged = dict.fromkeys(name for run in rows for row in run for name in row)
  missing = [metric for metric in metrics if metric not in logged]
  if missing:
    raise ValueError(
      f'No run in {", ".join(map(str, workdirs))} has logged {missing[0]!r}; '
      f'logged are: {", ".join(logged) or "nothing"}.'
    )


def _draw_known(panel, workdirs):
  """Draws chance and ceiling where all finished runs have the same ones."""
  summaries = [
    records.read_summary(pathlib.Path(workdir))
    for workdir in workdirs
    if (pathlib.Path(workdir) / records.SUMMARY).exists()
  ]
  for name in KNOWN:
    values = {summary.get(name) for summary in summaries}
    if len(values) == 1 and isinstance(value := values.pop(), Real):
      plotting.chance_line(panel, value, name)
