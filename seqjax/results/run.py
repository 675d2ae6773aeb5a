"""Records a run in a folder: its config, its metrics and its summary.

    config.json     {"config": fields, "environments": [versions, ...]}
    metrics.jsonl   one JSON object a line: step, metrics, time
    summary.json    what `finish` was given, and time; only of a finished run
    failed.json     the exception that ended an unfinished run
    fitted.json     what was fitted to the training data, as its vocabulary
    checkpoints     where `results.checkpoint` keeps its states
    lock.json       the process that writes; while it does

Only the key `time` holds clock readings: seconds of running, not counting the
time between a stop and a restart. Apart from it, two equal runs on one machine
have equal metrics and summaries, even if one was interrupted. The config lists
every environment (versions, machine, commit) that the run used, with the `step`
at which it began. JSON knows no NaN, so a number that is not finite is
written as the text "NaN", "Infinity" or "-Infinity" and read back as a float;
null is Python's None and nothing else.
"""

import contextlib
import math
import os
import pathlib
import time
import traceback
from collections.abc import Mapping
from typing import Any

from seqjax.results import lock
from seqjax.results.disk import sync
from seqjax.results.environment import begun
from seqjax.results.json_files import (
  decode_summary,
  dumps,
  reason,
  record,
  scalar,
  write_atomically,
  write_json,
)
from seqjax.results.records import (
  CONFIG,
  METRICS,
  SUMMARY,
  clock_of,
  environments,
  fields_of,
  finished,
  lines_until,
  read_config,
)


class Run:
  """Writes one run into `workdir`.

      with Run(workdir, config) as run:
        if restored: run.resume(step)
        run.log(step, loss=loss)
        return run.finish(accuracy=accuracy)

  `config` is a dataclass whose fields are numbers, text, None, or tuples of
  them. ValueError, and nothing is written, where workdir holds the run of
  another config or a finished one (see `finished`), or another process writes
  into it. An unfinished run of the same config starts anew, or continues by
  `resume`. An exception inside `with` leaves no summary.json.

  Attributes:
    workdir: the folder.
    config: as it was given.
    num_lines: the number of lines that the metrics hold.
  """

  def __init__(self, workdir: str | os.PathLike, config: Any):
    self.workdir = pathlib.Path(workdir)
    self.config = config
    self._refuse_finished()
    self._summary = None
    self._metrics = None
    self.num_lines = 0

  def __enter__(self) -> 'Run':
    self._began = time.perf_counter()
    with contextlib.ExitStack() as acquired:
      try:
        self.workdir.mkdir(parents=True, exist_ok=True)
        acquired.enter_context(lock.held(self.workdir))
        self._refuse_finished()  # another process may have, meanwhile
        self._write_config(self._environments() or begun([], 0))
        (self.workdir / 'failed.json').unlink(missing_ok=True)
      except OSError as error:
        raise ValueError(
          f'The workdir {str(self.workdir)!r} cannot be written:'
          f' {reason(error)}.'
        ) from error
      self._lock = acquired.pop_all()
    return self

  def _refuse_finished(self):
    """Raises ValueError for another config's run, and for one that is over."""
    if finished(self.workdir, self.config) is not None:
      raise ValueError(
        f'The run in {str(self.workdir)!r} has finished; results.finished'
        ' returns its summary, and deleting the folder lets it run again.'
      )

  def __exit__(self, kind, error, trace):
    with self._lock:
      self._close(error)

  def _close(self, error):
    if self._metrics is None and error is None:
      self._open_metrics(None)  # no line, not even of a run that was stopped
    if self._metrics is not None:
      with contextlib.suppress(OSError):  # every line has been flushed
        self._metrics.close()
    if error is not None:
      self._note_failure(error)
      return
    if self._summary is None:
      raise RuntimeError(
        f'The run in {str(self.workdir)!r} ended without calling'
        f' finish(**summary), so that it has no summary.'
      )
    with self._writing('The summary'):
      write_json(self.workdir / SUMMARY, self._summary)

  def begin(self):
    """Starts the metrics and the list of environments anew, at step 0."""
    self._open_metrics(None)

  def resume(self, step: Any):
    """Resumes after `step`: deletes later lines, which will be logged again.

    Call it before logging; otherwise the metrics start from scratch.
    """
    self._open_metrics(int(step))

  def lost_lines(self, extra: Mapping[str, Any]) -> str | None:
    """Says how many lines of metrics are missing that a checkpoint had, if any.

    A power cut can take the last lines of a file, and leave what was written
    after them. None if all are there.

    Args:
      extra: of the checkpoint: `lines`, the number of lines that there were.
    """
    found = len(lines_until(self.workdir / METRICS, math.inf))
    expected = extra.get('lines', 0)
    if found >= expected:
      return None
    return f'{METRICS} has lost {expected - found} of {expected} lines since'

  def sync(self):
    """Waits until all that was logged is on the disk itself."""
    with self._writing('The metrics'):
      if self._metrics is not None:
        os.fsync(self._metrics.fileno())
        sync(self.workdir)

  def log(self, step: Any, **metrics: Any):
    """Appends a line: numbers, or arrays that hold one."""
    if self._metrics is None:
      self._open_metrics(None)
    line = {'step': scalar(step, 'step'), **record('metric', metrics)}
    line['time'] = self._clock()
    with self._writing('The metrics'):
      self._metrics.write(dumps(line) + '\n')
      self._metrics.flush()  # what was logged survives a kill
    self.num_lines += 1

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
    path = self.workdir / METRICS
    kept = [] if step is None else lines_until(path, step)
    if kept:
      self._began -= clock_of(path, kept[-1])
    self.num_lines = len(kept)
    with self._writing('The metrics'):
      write_atomically(path, lambda file: file.write_bytes(b''.join(kept)))
      self._metrics = open(path, 'a', encoding='utf-8')
    known = [] if step is None else self._environments()
    with self._writing('The config'):
      self._write_config(begun(known, step or 0))

  def _environments(self) -> list[dict[str, Any]]:
    """Returns the environments of the run so far; [] of one that begins."""
    if not (self.workdir / CONFIG).exists():
      return []
    return environments(read_config(self.workdir))

  def _write_config(self, known):
    path = self.workdir / CONFIG
    others = read_config(self.workdir) if path.exists() else {}
    others.pop('environment', None)  # of an earlier version, now in the list
    content = {'config': fields_of(self.config), 'environments': known}
    write_json(path, others | content)

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
