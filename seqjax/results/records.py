"""Reads the records of runs: config, metrics, summaries, rows of a table."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from seqjax.results.environment import columns
from seqjax.results.json_files import decode, decode_summary, read_json, record

RUN = 'run'  # the column of the run's folder
RUN_SECONDS = 'run_seconds'  # of the time that the run took
CONFIG, METRICS, SUMMARY = 'config.json', 'metrics.jsonl', 'summary.json'


def finished(workdir: str | os.PathLike, config: Any) -> dict[str, Any] | None:
  """Returns the summary of this config's finished run in workdir, or None.

  ValueError where workdir holds the run of another config.
  """
  workdir = pathlib.Path(workdir)
  check_same_config(workdir, fields_of(config))
  if not (workdir / SUMMARY).exists():
    return None
  return read_summary(workdir)


def collate(root: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the finished runs under root as flat rows, in order of their paths.

  A row holds `run` (the run's folder relative to root, or root's name for root
  itself), the config's fields, the summary (one row for each of its `rows`),
  and ENVIRONMENT_COLUMNS, which columns of the summary override (`device`,
  say). `run_seconds` is the time of the whole run, repeated in all of its rows.
  Unfinished runs are left out.
  """
  root = pathlib.Path(root)
  if not root.is_dir():
    raise ValueError(
      f'Runs are collected from a folder, but {str(root)!r} is not one.'
    )
  paths = [path.parent for path in root.rglob(SUMMARY)]
  found = []
  for path in sorted(paths, key=lambda path: path.relative_to(root).parts):
    folder = root.resolve().name if path == root else path.relative_to(root)
    seconds = {RUN_SECONDS: read_summary(path)['time']}
    found += [
      _merge(path, {RUN: str(folder)}, row, seconds) for row in rows(path)
    ]
  return found


def total_seconds(rows: Iterable[Mapping[str, Any]]) -> float | None:
  """Adds up the time of the runs that rows are from, each run once.

  Returns:
    Seconds; None where a row does not say which run it is from, or how long
    that took.
  """
  taken = {row.get(RUN): row.get(RUN_SECONDS) for row in rows}
  if not taken or None in taken or None in taken.values():
    return None
  return float(sum(taken.values()))


def read_config(workdir: str | os.PathLike) -> dict[str, Any]:
  """Returns what config.json of a run holds.

  Raises:
    ValueError: the file is not there, or not that of a run.
  """
  path = pathlib.Path(workdir) / CONFIG
  if not path.is_file():
    raise ValueError(
      f'There is no run in {str(workdir)!r}, for it holds no {CONFIG}: name '
      'the folder that a run was written to.'
    )
  content = read_json(path, 'config of a run')
  known = content.get('environments', [])
  if not isinstance(content.get('config'), dict) or not _are_begun(known):
    raise ValueError(
      f'{str(path)!r} is not the config of a run: repair it, or choose another '
      'folder.'
    )
  return content


def _are_begun(known: Any) -> bool:
  """Tells if these are environments, each with the step it began at."""
  return isinstance(known, list) and all(
    isinstance(entry, dict) and isinstance(entry.get('step'), int)
    for entry in known
  )


def environments(content: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns the environments of a run, in the order they began in."""
  known = content.get('environments', [content.get('environment')])
  return [entry for entry in known if isinstance(entry, dict)]


def metrics(workdir: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the lines of a run's metrics as rows, the last possibly unfinished.

  Numbers that are not finite are floats, as in `finished`.

  Raises:
    ValueError: a line was not written by a run.
  """
  path = pathlib.Path(workdir) / METRICS
  return [decoded(json.loads(line)) for line in lines_until(path, math.inf)]


def decoded(values: Mapping[str, Any]) -> dict[str, Any]:
  """Returns values as JSON does not hold them: tuples, NaN and infinities."""
  return {name: decode(value) for name, value in values.items()}


def lines_until(path: pathlib.Path, step: int | float) -> list[bytes]:
  """Returns the lines up to `step`, without one that was cut by a kill."""
  lines = []
  if not path.exists():  # it was saved before there were any
    return lines
  for line in path.read_bytes().splitlines(keepends=True):
    if not line.endswith(b'\n') or _step(path, line) > step:
      break
    lines.append(line)
  return lines


def _step(path: pathlib.Path, line: bytes) -> int:
  return _number(path, line, 'step')


def clock_of(path: pathlib.Path, line: bytes) -> float:
  return _number(path, line, 'time')


def _number(path: pathlib.Path, line: bytes, name: str) -> Any:
  """Returns a number in a line, or raises ValueError with the file's name."""
  try:
    value = json.loads(line)[name]
    if isinstance(value, (int, float)):
      return value
    raise KeyError(name)
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    start = line[:40].decode(errors='replace')
    raise ValueError(
      f'{str(path)!r} holds a line that no run wrote, {start!r}: repair it, '
      'or choose another workdir.'
    ) from error


def rows(workdir: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the rows of a finished run, as `collate` but for `run`."""
  workdir = pathlib.Path(workdir)
  content = read_config(workdir)
  config = decoded(content['config'])
  summary = read_summary(workdir)
  del summary['time']
  where = columns(environments(content))
  each = summary.pop('rows', [{}])
  merged = [_merge(workdir, config, summary, row) for row in each]
  # The environment last: a column that is there already is not replaced.
  return [row | {k: where[k] for k in where if k not in row} for row in merged]


def read_summary(workdir: pathlib.Path) -> dict[str, Any]:
  """Returns the summary of a finished run; ValueError if it is damaged."""
  path = workdir / SUMMARY
  content = read_json(path, 'summary of a run')
  rows = content.get('rows', [])
  right = isinstance(rows, list) and all(isinstance(x, dict) for x in rows)
  if 'time' not in content or not right:
    raise ValueError(
      f'{str(path)!r} is not the summary of a run: delete it, and the same '
      'command resumes from the last checkpoint.'
    )
  return decode_summary(content)


def _merge(workdir: pathlib.Path, *parts: Mapping[str, Any]) -> dict[str, Any]:
  """Merges parts into a flat row; a column given two values is an error."""
  merged = {}
  for part in parts:
    for name, value in part.items():
      if name in merged and not _same(merged[name], value):
        raise ValueError(
          f'The run in {str(workdir)!r} gives {name!r} twice, as'
          f' {merged[name]!r} and as {value!r}; rename one.'
        )
      merged[name] = value
  return merged


def _same(a: Any, b: Any) -> bool:
  return a == b or (a != a and b != b)


def check_same_config(workdir: pathlib.Path, config: Mapping[str, Any]):
  if not (workdir / CONFIG).exists():
    for name in (METRICS, SUMMARY, 'checkpoints'):
      if (workdir / name).exists():
        raise ValueError(
          f'The workdir {str(workdir)!r} holds {name} but no config.json, so'
          ' it cannot be matched to this config; choose another workdir.'
        )
    return
  there = read_config(workdir)['config']
  differences = [
    f'{name} is {_given(there, name)} there and {_given(config, name)} here'
    for name in {**there, **config}
    if name not in there or name not in config or there[name] != config[name]
  ]
  if differences:
    raise ValueError(
      f'The workdir {str(workdir)!r} holds the run of another config:'
      f' {"; ".join(differences)}. Choose another workdir, or delete that one.'
    )


def _given(values: Mapping[str, Any], name: str) -> str:
  return repr(values[name]) if name in values else 'absent'


def fields_of(config: Any) -> dict[str, Any]:
  if not dataclasses.is_dataclass(config) or isinstance(config, type):
    raise ValueError(f'A config is an instance of a dataclass, not {config!r}.')
  return record('field', dataclasses.asdict(config), reserved=())
