"""Summarizes the scores of each cell of a grid over its seeds.

For the scripts that train many runs; not run by itself.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from seqjax.analysis import statistics
from seqjax.analysis.selection import best_learning_rate
from seqjax.errors import unknown
from seqjax.results import table
from seqjax.tasks.task import Metric

SEED, RATE, VALIDATION = 'seed', 'learning_rate', 'validation'
STATISTICS = (
  *('seeds', 'mean', 'median', 'iqm', 'iqm_low', 'iqm_high'),
  *('share_solved', 'best', 'chance', 'ceiling'),
)
RANKS = ('rank', 'rank_low', 'rank_high', 'ranked_first')

Row = Mapping[str, Any]


def summarize(
  rows: Sequence[Row],
  by: Iterable[str],
  score: str,
  *,
  solved: float = math.nan,
  lower_is_better: bool = False,
  compare: str = '',
) -> list[dict[str, Any]]:
  """Returns a row of statistics over seeds for each cell.

  Where a cell has several learning rates, the one counts whose mean over the
  seeds is best on validation, and the row names it. A rate that lacks a seed
  which another one has, since that run failed, is not chosen.

  Args:
    rows: of finished runs, as `results.collate` gives them.
    by: columns that tell runs apart. Seeds do not tell cells apart, nor do
      learning rates among which validation can choose.
    score: the column that is summed up. Of `validation` and `test` the column
      `metric`, where there is one, says which direction is better.
    solved: the score from which a seed has solved the task; nan: not said.
    lower_is_better: of all other scores.
    compare: the column whose values are ranked among rows that differ in it
      alone; '': the only one that tells cells apart, if there is but one.

  Returns:
    Rows of: the columns that tell cells apart; `chosen_learning_rate`;
    STATISTICS, where `iqm` is the interquartile mean, with its interval from
    five seeds on; from then on RANKS by that mean, with their interval and the
    probability of being the first. None stands for what is not known.

  Raises:
    ValueError: there is no such score, or several rows of one run.
  """
  by = list(by)
  _check_columns(rows, by, score)
  several = RATE in by or len({row.get(RATE) for row in rows}) > 1
  choosing = several and VALIDATION in rows[0]
  by = [name for name in by if name != SEED and not (choosing and name == RATE)]
  summary, scores = [], []
  for key, places in _indices_by(rows, by).items():
    runs = [rows[i] for i in places]
    _check_one_row_a_run(runs)
    said = dict(zip(by, key, strict=True))
    if 'metric' in runs[0]:
      said['metric'] = runs[0]['metric']
    higher = _higher_is_better(runs[0], score, lower_is_better)
    beside = {name: runs[0].get(name) for name in ('chance', 'ceiling')}
    if choosing:
      runs = _runs_at_best_rate(runs, lower_is_better)
      said['chosen_learning_rate'] = runs[0][RATE] if runs else None
    scores.append(_column_values(runs, score))
    said |= dict.fromkeys(STATISTICS) | beside
    summary.append(said | _statistics(scores[-1], solved, higher))
  compare = compare or (by[0] if len(by) == 1 else '')
  others = [name for name in by if name != compare]
  for places in _indices_by(summary, others).values() if compare in by else ():
    higher = _higher_is_better(summary[places[0]], score, lower_is_better)
    ranks = _ranks([scores[i] for i in places], higher)
    for i, rank in zip(places, ranks, strict=True):
      summary[i] |= rank
  return summary


def text(summary: Sequence[Row]) -> str:
  """Returns the table for the terminal, without columns that no row fills."""
  known = [
    name for name in summary[0] if any(row[name] is not None for row in summary)
  ]
  return table.text(summary, known)


def _indices_by(
  rows: Iterable[Row], by: Sequence[str]
) -> dict[tuple[Hashable, ...], list[int]]:
  """Maps the values of these columns to the indices of the rows with them."""
  places = {}
  for i, row in enumerate(rows):
    places.setdefault(tuple(row.get(name) for name in by), []).append(i)
  return places


def _runs_at_best_rate(runs: Sequence[Row], lower_is_better: bool) -> list[Row]:
  """Returns the runs with the best learning rate on validation, if any."""
  rates = {
    rate: [runs[i] for i in places]
    for (rate,), places in _indices_by(runs, [RATE]).items()
  }
  seeds = {run.get(SEED) for run in runs}
  scores = {
    rate: _column_values(of_rate, VALIDATION)
    for rate, of_rate in rates.items()
    if len(of_rate) == len(seeds)
  }
  higher = _higher_is_better(runs[0], VALIDATION, lower_is_better)
  try:
    return rates[best_learning_rate(scores, higher_is_better=higher)]
  except ValueError:  # each lacks a seed or has one that is not finite
    return []


def _statistics(
  scores: Sequence[float], solved: float, higher: bool
) -> dict[str, Any]:
  """Returns the statistics of one cell; no mean unless all are finite."""
  if not scores or not all(map(math.isfinite, scores)):
    return {'seeds': len(scores)}
  found = statistics.summarize(scores, solved=solved, higher_is_better=higher)
  iqm, low, high = found.interquartile_mean
  said = {
    'seeds': found.count,
    'mean': found.mean.value,
    'median': found.median.value,
    'iqm': iqm,
    'best': found.best,
  }
  if not math.isnan(low):
    said |= {'iqm_low': low, 'iqm_high': high}
  if not math.isnan(solved):
    said['share_solved'] = found.solved
  return said


def _ranks(
  scores: Sequence[Sequence[float]], higher: bool
) -> list[dict[str, float | None]]:
  """Returns the ranks of compared cells; None if one has too few scores."""
  if len(scores) < 2 or not all(
    len(of_cell) >= statistics.MIN_SCORES and all(map(math.isfinite, of_cell))
    for of_cell in scores
  ):
    return [dict.fromkeys(RANKS) for _ in scores]
  found = statistics.ranks(
    {str(i): of_cell for i, of_cell in enumerate(scores)},
    statistics.interquartile_mean,
    higher_is_better=higher,
  )
  return [
    dict(zip(RANKS, (*rank, probabilities[0]), strict=True))
    for rank, probabilities in found.values()
  ]


def _higher_is_better(row: Row, score: str, lower_is_better: bool) -> bool:
  if score in ('test', VALIDATION) and row.get('metric') in list(Metric):
    return Metric(row['metric']).higher_is_better
  return not lower_is_better


def _column_values(runs: Iterable[Row], column: str) -> list[float]:
  values = [run.get(column) for run in runs]
  return [math.nan if value is None else float(value) for value in values]


def _check_columns(rows: Sequence[Row], by: Sequence[str], score: str):
  if not isinstance(rows[0].get(score), (int, float)):
    known = [k for k, v in rows[0].items() if isinstance(v, (int, float))]
    raise ValueError(unknown('column of scores', score, known))
  for name in by:
    if name not in rows[0]:
      raise ValueError(unknown('column', name, rows[0]))


def _check_one_row_a_run(runs: Sequence[Row]):
  if len(_indices_by(runs, [SEED, RATE])) < len(runs):
    raise ValueError(
      'A run has one score in a cell, but here are several: name the column '
      'that tells its rows apart, as in --by=tested_lag.'
    )
