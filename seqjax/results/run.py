"""Records a run in a folder: its config, its metrics and its summary.

    config.json     {"config": fields, "environment": versions, device, ...}
    metrics.jsonl   one JSON object a line: step, metrics, time
    summary.json    what `finish` was given, and time; only of a finished run
    failed.json     the exception that ended an unfinished run
    checkpoints     where `results.checkpoint` keeps its states

`time` is the one key that holds clock readings (seconds since the run began,
less those between a stop and a start): without it, the metrics and summaries of
two equal runs on one machine are equal, stopped or not. JSON knows no
NaN, so a number that is not finite is written as the text "NaN", "Infinity" or
"-Infinity" and read back as a float; null is Python's None and nothing else.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import time
import traceback
from collections.abc import Mapping
from typing import Any

from seqjax.results.environment import ENVIRONMENT_COLUMNS, environment
from seqjax.results.json_files import (
  decode,
  decode_summary,
  dumps,
  read_json,
  reason,
  record,
  scalar,
  write_atomically,
  write_json,
)


class Run:
  """Writes one run into `workdir`.

      with Run(workdir, config) as run:
        if restored: run.resume(step)
        run.log(step, loss=loss)
        return run.finish(accuracy=accuracy)

  `config` is a dataclass whose fields are numbers, text, None, or tuples of
  them. ValueError, and nothing is written, where workdir holds the run of
  another config or a finished one (see `finished`). An unfinished run of the
  same config starts anew, or continues by `resume`. An exception inside `with`
  leaves no summary.json.
  """

  def __init__(self, workdir: str | os.PathLike, config: Any):
    self.workdir = pathlib.Path(workdir)
    self._config = _fields(config)
    if finished(workdir, config) is not None:
      raise ValueError(
        f'The run in {str(workdir)!r} has finished; results.finished returns'
        f' its summary, and deleting the folder lets it run again.'
      )
    self._summary = None
    self._metrics = None

  def __enter__(self) -> 'Run':
    self._began = time.perf_counter()
    content = {'config': self._config, 'environment': environment()}
    try:
      self.workdir.mkdir(parents=True, exist_ok=True)
      write_json(self.workdir / 'config.json', content)
      (self.workdir / 'failed.json').unlink(missing_ok=True)
    except OSError as error:
      raise ValueError(
        f'The workdir {str(self.workdir)!r} cannot be written: {reason(error)}.'
      ) from error
    return self

  def __exit__(self, kind, error, trace):
    if self._metrics is None and error is None:
      self._open_metrics(None)  # no line, not even of a run that was stopped
    if self._metrics is not None:
      with contextlib.suppress(OSError):  # every line has been flushed
        self._metrics.close()
    if error is not None:
      self._note_failure(error)
    elif self._summary is None:
      raise RuntimeError(
        f'The run in {str(self.workdir)!r} ended without'
        f' finish(**summary), so nothing would come of it.'
      )
    else:
      with self._writing('The summary'):
        write_json(self.workdir / 'summary.json', self._summary)

  def resume(self, step: Any):
    """Goes on after `step`: later lines, which will come again, are cut away.

    Called before anything is logged; without it the metrics start anew.
    """
    self._open_metrics(int(step))

  def log(self, step: Any, **metrics: Any):
    """Appends a line: numbers, or arrays that hold one."""
    if self._metrics is None:
      self._open_metrics(None)
    line = {'step': scalar(step, 'step'), **record('metric', metrics)}
    line['time'] = self._clock()
    with self._writing('The metrics'):
      self._metrics.write(dumps(line) + '\n')
      self._metrics.flush()  # what was logged survives a kill

  def finish(self, **summary: Any) -> dict[str, Any]:
    """Notes what came out; returns it as `finished` will.

    Values are numbers, text, None, or flat lists of them. `rows`, a list of
    dicts of such values, becomes one row of the table each. Written when the
    `with` ends well.
    """
    rows = summary.pop('rows', None)
    content = record('summary', summary)
    if rows is not None:
      content['rows'] = [record('row', row) for row in rows]
    self._summary = {**content, 'time': self._clock()}
    return decode_summary(self._summary)

  def _open_metrics(self, step):
    """Keeps the lines up to `step`; none of them for None."""
    path = self.workdir / 'metrics.jsonl'
    kept = [] if step is None else _lines_until(path, step)
    if kept:
      self._began -= json.loads(kept[-1])['time']
    text = ''.join(kept)
    with self._writing('The metrics'):
      write_atomically(path, lambda temporary: temporary.write_text(text))
      self._metrics = open(path, 'a')

  @contextlib.contextmanager
  def _writing(self, what):
    try:
      yield
    except OSError as error:
      raise OSError(
        f'{what} of the run in {str(self.workdir)!r} cannot be written:'
        f' {reason(error)}. What was saved before stays usable.'
      ) from error

  def _note_failure(self, error):
    content = {
      'error': f'{type(error).__name__}: {error}',
      'traceback': traceback.format_exception(error),
      'time': self._clock(),
    }
    # A disk that is full does not hide what happened.
    with contextlib.suppress(OSError):
      write_json(self.workdir / 'failed.json', content)

  def _clock(self) -> float:
    return round(time.perf_counter() - self._began, 3)


def finished(workdir: str | os.PathLike, config: Any) -> dict[str, Any] | None:
  """Returns the summary of this config's finished run in workdir, or None.

  ValueError where workdir holds the run of another config.
  """
  workdir = pathlib.Path(workdir)
  _check_same_config(workdir, _fields(config))
  if not (workdir / 'summary.json').exists():
    return None
  return decode_summary(read_json(workdir / 'summary.json'))


def collate(root: str | os.PathLike) -> list[dict[str, Any]]:
  """Returns the finished runs under root as flat rows, in order of their paths.

  A row holds the config's fields, the summary (with `rows`, one row each) and
  the columns of ENVIRONMENT_COLUMNS, which a measurement that knows better (a
  summary with a column `device`, say) overrides. Unfinished runs are left out.
  """
  root = pathlib.Path(root)
  if not root.is_dir():
    raise ValueError(
      f'Runs are collated from a folder, but {str(root)!r} is none.'
    )
  paths = [path.parent for path in root.rglob('summary.json')]
  rows = []
  for path in sorted(paths, key=lambda path: path.relative_to(root).parts):
    rows += _rows(path)
  return rows


def _lines_until(path: pathlib.Path, step: int) -> list[str]:
  """Returns the lines up to `step`, without one that was cut by a kill."""
  lines = []
  if not path.exists():  # it was saved before there were any
    return lines
  for line in path.read_text().splitlines(keepends=True):
    if not line.endswith('\n') or _step(path, line) > step:
      break
    lines.append(line)
  return lines


def _step(path: pathlib.Path, line: str) -> int:
  try:
    return json.loads(line)['step']
  except (ValueError, KeyError) as error:
    raise ValueError(
      f'{str(path)!r} holds a line that is none of a run, {line[:40]!r}: mend'
      ' it, or choose another workdir.'
    ) from error


def _fields(config: Any) -> dict[str, Any]:
  if not dataclasses.is_dataclass(config) or isinstance(config, type):
    raise ValueError(f'A config is an instance of a dataclass, not {config!r}.')
  return record('field', dataclasses.asdict(config), reserved=())


def _rows(workdir: pathlib.Path) -> list[dict[str, Any]]:
  content = read_json(workdir / 'config.json')
  config = {name: decode(value) for name, value in content['config'].items()}
  summary = decode_summary(read_json(workdir / 'summary.json'))
  del summary['time']
  known = content['environment']
  where = {name: known[name] for name in ENVIRONMENT_COLUMNS}
  rows = summary.pop('rows', [{}])
  merged = [_merge(workdir, config, summary, row) for row in rows]
  # The environment last: a column that is there already is not replaced.
  return [row | {k: where[k] for k in where if k not in row} for row in merged]


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


def _check_same_config(workdir: pathlib.Path, config: Mapping[str, Any]):
  path = workdir / 'config.json'
  if not path.exists():
    for name in ('metrics.jsonl', 'summary.json', 'checkpoints'):
      if (workdir / name).exists():
        raise ValueError(
          f'The workdir {str(workdir)!r} holds {name} but no config.json, so'
          f' whose run it is cannot be told; choose another workdir.'
        )
    return
  content = read_json(path)
  there = content.get('config') if isinstance(content, dict) else None
  if not isinstance(there, dict):
    raise ValueError(f'{str(path)!r} is no config of a run.')
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
