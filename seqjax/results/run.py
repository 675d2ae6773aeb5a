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
import datetime
import functools
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

# Columns of `environment` that `collate` puts into every row.
ENVIRONMENT_COLUMNS = ('device', 'cpus', 'jax', 'precision', 'commit')

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy', 'seqjax')
_NOT_FINITE = {'NaN': math.nan, 'Infinity': math.inf, '-Infinity': -math.inf}


class Run:
  """Writes one run into `workdir`.

      with Run(workdir, config) as run:
        if restored: run.resume(step)
        run.log(step, loss=loss)
        return run.finish(accuracy=accuracy)

  `config` is a dataclass whose fields are numbers, text, None, or tuples of
  them. ValueError, and nothing is written, where workdir holds the run of
  another config or a finished one (see `finished`). An unfinished run of the
  same config starts anew, or goes on by `resume`. An exception inside `with`
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
      _write_json(self.workdir / 'config.json', content)
      (self.workdir / 'failed.json').unlink(missing_ok=True)
    except OSError as error:
      raise ValueError(
        f'The workdir {str(self.workdir)!r} cannot be written:'
        f' {_reason(error)}.'
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
        _write_json(self.workdir / 'summary.json', self._summary)

  def resume(self, step: Any):
    """Goes on after `step`: later lines, which will come again, are cut away.

    Called before anything is logged; without it the metrics start anew.
    """
    self._open_metrics(int(step))

  def log(self, step: Any, **metrics: Any):
    """Appends a line: numbers, or arrays that hold one."""
    if self._metrics is None:
      self._open_metrics(None)
    line = {'step': scalar(step, 'step'), **_record('metric', metrics)}
    line['time'] = self._clock()
    with self._writing('The metrics'):
      self._metrics.write(_dumps(line) + '\n')
      self._metrics.flush()  # what was logged survives a kill

  def finish(self, **summary: Any) -> dict[str, Any]:
    """Notes what came out; returns it as `finished` will.

    Values are numbers, text, None, or flat lists of them. `rows`, a list of
    dicts of such values, becomes one row of the table each. Written when the
    `with` ends well.
    """
    rows = summary.pop('rows', None)
    content = _record('summary', summary)
    if rows is not None:
      content['rows'] = [_record('row', row) for row in rows]
    self._summary = {**content, 'time': self._clock()}
    return _summary(self._summary)

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
        f' {_reason(error)}. What was saved before stays usable.'
      ) from error

  def _note_failure(self, error):
    content = {
      'error': f'{type(error).__name__}: {error}',
      'traceback': traceback.format_exception(error),
      'time': self._clock(),
    }
    # A disk that is full does not hide what happened.
    with contextlib.suppress(OSError):
      _write_json(self.workdir / 'failed.json', content)

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
  return _summary(_read_json(workdir / 'summary.json'))


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


def environment() -> dict[str, Any]:
  """Versions, device, precision, commit: what a number depends on.

  `cpus` counts those this process may use; `precision` is the default float's,
  with jax's matmul precision; `commit` is that of the code imported here.
  """
  return {
    **{name: _version(name) for name in _PACKAGES},
    'python': platform.python_version(),
    'device': device_name(),
    'devices': jax.device_count(),
    'cpus': len(os.sched_getaffinity(0))
    if hasattr(os, 'sched_getaffinity')
    else os.cpu_count(),
    'precision': precision(),
    'commit': commit(pathlib.Path(__file__)),
    'created': datetime.datetime.now(datetime.UTC).isoformat(
      timespec='seconds'
    ),
    'command': sys.argv,
  }


@functools.cache
def device_name() -> str:
  """Returns the name of JAX's device; that of a CPU is its model's."""
  kind = jax.devices()[0].device_kind
  if kind != 'cpu':
    return kind
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:
    lines = []
  models = [line.split(':', 1)[1] for line in lines if 'model name' in line]
  return f'cpu {(models or [platform.machine()])[0].strip()}'


def precision() -> str:
  """Returns the default float and JAX's matmul precision, as text."""
  wide = jax.config.jax_enable_x64
  matmul = jax.config.jax_default_matmul_precision or 'default'
  return f'{"float64" if wide else "float32"} (matmul {matmul})'


@functools.cache
def commit(path: pathlib.Path) -> str:
  """Returns the git commit that a source file belongs to, or 'unknown'.

  '-dirty' is added where Python files differ from that commit: tables and
  figures that an experiment rewrites do not change what ran.
  """

  def git(*arguments):
    return subprocess.run(
      ['git', '-C', str(path.parent), *arguments],
      capture_output=True,
      text=True,
      check=True,
      timeout=20,
    ).stdout.strip()

  try:
    # An installed copy may lie inside somebody else's repository.
    git('ls-files', '--error-unmatch', path.name)
    head = git('rev-parse', 'HEAD')
    changed = git('status', '--porcelain', '-uno', '--', ':(top)*.py')
  except (OSError, subprocess.SubprocessError):
    return 'unknown'
  return head + '-dirty' * bool(changed)


def write_atomically(
  path: str | os.PathLike, write: Callable[[pathlib.Path], Any]
):
  """Calls `write` on a temporary file that then takes the place of `path`.

  OSError names `path`, and leaves what was there as it was.
  """
  path = pathlib.Path(path)
  # The suffix stays last: matplotlib reads the format from it.
  temporary = path.with_name(f'.{os.getpid()}.{path.name}')
  try:
    write(temporary)
    os.replace(temporary, path)
  except OSError as error:
    raise OSError(
      f'{str(path)!r} cannot be written: {error.strerror or error}. What was '
      'there before stays as it was.'
    ) from error
  finally:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
  """Returns the system's words, without those that `write_atomically` added."""
  return error.strerror or getattr(error.__cause__, 'strerror', str(error))


def scalar(value: Any, what: str) -> bool | int | float | str | None:
  """Returns the number in an array of one; text and None as they are."""
  if isinstance(value, (jax.Array, np.ndarray, np.generic)):
    if value.size != 1:
      raise ValueError(
        f'{what} is one number, but an array of shape {value.shape} was given;'
        f' reduce it, or make it a list.'
      )
    value = np.asarray(value).item()
  if not isinstance(value, (bool, int, float, str, type(None))):
    raise ValueError(
      f'{what} is a number, text, None or a flat list of them, but'
      f' {type(value).__name__} was given.'
    )
  return value


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
  return _record('field', dataclasses.asdict(config), reserved=())


def _record(
  what: str, values: Mapping[str, Any], reserved: tuple[str, ...] = ('time',)
) -> dict[str, Any]:
  """Returns the values as JSON holds them."""
  for name in reserved:
    if name in values:
      raise ValueError(
        f"{name!r} is the run's own clock; call the {what} by another name."
      )
  return {name: _encode(v, f'{what} {name!r}') for name, v in values.items()}


def _encode(value: Any, what: str) -> Any:
  if isinstance(value, (list, tuple)):
    return [_encode_scalar(item, what) for item in value]
  return _encode_scalar(value, what)


def _encode_scalar(value: Any, what: str) -> Any:
  value = scalar(value, what)
  if isinstance(value, float) and not math.isfinite(value):
    return str(value).replace('nan', 'NaN').replace('inf', 'Infinity')
  return value


def _decode(value: Any) -> Any:
  if isinstance(value, list):
    return tuple(_decode(item) for item in value)
  return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _summary(content: Mapping[str, Any]) -> dict[str, Any]:
  """Decodes what `finish` was given: tuples, and floats that are not finite."""
  summary = {k: _decode(v) for k, v in content.items() if k != 'rows'}
  if 'rows' in content:
    summary['rows'] = [
      {name: _decode(value) for name, value in row.items()}
      for row in content['rows']
    ]
  return summary


def _rows(workdir: pathlib.Path) -> list[dict[str, Any]]:
  content = _read_json(workdir / 'config.json')
  config = {name: _decode(value) for name, value in content['config'].items()}
  summary = _summary(_read_json(workdir / 'summary.json'))
  del summary['time']
  environment = content['environment']
  where = {name: environment[name] for name in ENVIRONMENT_COLUMNS}
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
  content = _read_json(path)
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


def _dumps(content: Any, indent: int | None = None) -> str:
  return json.dumps(content, indent=indent, allow_nan=False)


def _write_json(path: pathlib.Path, content: Any):
  text = _dumps(content, indent=2) + '\n'
  write_atomically(path, lambda temporary: temporary.write_text(text))


def _read_json(path: pathlib.Path) -> Any:
  try:
    return json.loads(path.read_text())
  except json.JSONDecodeError as error:
    raise ValueError(f'{str(path)!r} is not JSON: {error}.') from error


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'unknown'
