"""Keeps states on disk: the newest and the best, each whole or not there.

    <folder>/<step>/bytes    the leaves of the state, one after the other
    <folder>/<step>/about    JSON: what each leaf is, checksums, `extra`

Orbax writes in the background, and gives a checkpoint its name when it is
complete: a killed process leaves none that is half there. One that has been
damaged since is found by its checksums. The leaves are one array to Orbax: of
many, it writes and reads all at once, and when one of them fails the others
fail later, in threads that nobody waits for. One process writes, whatever
number of devices it has.
"""

import contextlib
import json
import logging
import math
import os
import pathlib
import shutil
import sys
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqjax.results import packing

FORMAT = 1
PIECE_BYTES = 32 * 2**20  # compressed on a thread each


class Checkpoints:
  """Keeps the states of one run in `folder`, which `save` makes.

      with Checkpoints(workdir / 'checkpoints') as checkpoints:
        restored = checkpoints.restore(state)  # (state, extra) or None
        ...
        checkpoints.save(step, state, {'waited': 2}, score=accuracy)

  The `latest` newest ones are kept and the `best` ones with the greatest
  scores. Leaving the `with` waits for what is still being written. One process
  writes into a folder; others may read meanwhile.
  """

  def __init__(
    self, folder: str | os.PathLike, *, latest: int = 2, best: int = 1
  ):
    if latest < 1 or best < 0:
      raise ValueError(
        'At least the latest checkpoint is kept and no fewer than 0 best ones, '
        f'but latest={latest} and best={best} were given.'
      )
    self.folder = pathlib.Path(folder).absolute()
    self._kept = _Kept(latest, best)
    self._saved = False

  def __enter__(self) -> 'Checkpoints':
    import orbax.checkpoint as ocp  # takes a second, and only runs need it

    logging.getLogger('absl').addFilter(_not_of_orbax)
    options = ocp.CheckpointManagerOptions(
      create=False, preservation_policy=self._kept
    )
    self._manager = ocp.CheckpointManager(self.folder, options=options)
    for step in self.steps:
      with contextlib.suppress(_Damaged):
        self._kept.scores[step] = self._about(step).get('score')
    return self

  def __exit__(self, kind, error, traceback):
    try:
      with self._writing():
        self._manager.close()
    except OSError:
      if error is None:
        raise

  @property
  def steps(self) -> list[int]:
    """Returns the steps with a checkpoint, damaged ones included, ascending."""
    return sorted(self._manager.all_steps())

  @property
  def best(self) -> int | None:
    """Returns the step with the greatest score, the first of equals."""
    return next(iter(_ranked(self.scores)), None)

  @property
  def extra(self) -> dict[str, Any]:
    """Returns the `extra` of the newest readable checkpoint, or {}."""
    for step in reversed(self.steps):
      with contextlib.suppress(_Damaged):
        return self._about(step)['extra']
    return {}

  @property
  def scores(self) -> dict[int, float]:
    """Maps each step to its score, for checkpoints that have one."""
    scores = {step: self._kept.scores.get(step) for step in self.steps}
    return {s: score for s, score in scores.items() if score is not None}

  def would_keep(self, scores: Mapping[int, float]) -> list[int]:
    """Returns those of these unsaved steps that are among the best so far."""
    first = min(scores, default=0)
    earlier = {s: score for s, score in self.scores.items() if s < first}
    best = _ranked(earlier | dict(scores))[: self._kept.best]
    return [step for step in scores if step in best]

  def save(
    self,
    step: Any,
    state: Any,
    extra: Mapping[str, Any],
    score: float | None = None,
  ):
    """Writes the state, any pytree of arrays and keys, in the background.

    Checkpoints of this step and of later ones give way: they were left by a
    run that went on from an earlier one.

    Args:
      step: which the state has reached.
      state: its arrays are copied before this returns.
      extra: whatever else to go on from, as JSON holds it.
      score: the greater the better; without one it is never among the best.

    Raises:
      OSError: this checkpoint or the one before it could not be written.
    """
    import orbax.checkpoint as ocp

    step = int(step)
    score = None if score is None or math.isnan(score) else float(score)
    packed, leaves = packing.pack(state)
    about = {
      'bytes': zlib.crc32(packed),
      'leaves': leaves,
      'extra': json.loads(json.dumps(dict(extra))),  # as it will be read
      'score': score,
    }
    about = {'format': FORMAT, **about, 'checksum': _checksum(about)}
    pieces = ocp.SaveArgs(chunk_byte_size=PIECE_BYTES)
    with self._writing():
      self._make_room(step)
      self._kept.scores[step] = score
      self._manager.save(
        step,
        args=ocp.args.Composite(
          bytes=ocp.args.ArraySave(packed, pieces),
          about=ocp.args.JsonSave(about),
        ),
        force=True,
      )

  def wait(self):
    """Returns when all is on disk; OSError where something could not be."""
    with self._writing():
      self._manager.wait_until_finished()

  def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
    """Returns (state, extra) of the newest sound checkpoint, or None.

    A damaged one is named on stderr, and the one before it is used.

    Args:
      like: a state of arrays or `jax.ShapeDtypeStruct`s. What is restored has
        its structure, and its leaves go where those of `like` are: onto
        another number of devices too.

    Raises:
      ValueError: the checkpoint is of another model, optimizer or version; or
        there are some, and none is sound.
    """
    damaged = []
    for step in reversed(self.steps):
      try:
        restored = self._read(step, like)
      except _Damaged as error:
        damaged.append(f'{str(self.folder / str(step))!r} ({error})')
        continue
      if damaged:
        print(
          f'Damaged: {", ".join(damaged)}; the checkpoint of step {step} before'
          ' that is used.',
          file=sys.stderr,
        )
      return restored
    if damaged:
      raise ValueError(
        f'No checkpoint is sound, damaged are {", ".join(damaged)}: delete'
        f' {str(self.folder)!r} to begin anew.'
      )
    return None

  def restore_step(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
    """Returns (state, extra) of this checkpoint, and of no other.

    Raises:
      ValueError: it is damaged, or as in `restore`.
    """
    try:
      return self._read(step, like)
    except _Damaged as error:
      raise ValueError(
        f'The checkpoint {str(self.folder / str(step))!r} is damaged ({error});'
        ' ask for another one.'
      ) from error

  def _read(self, step, like):
    about = self._about(step)
    difference = packing.difference(about['leaves'], like)
    if difference:
      raise ValueError(
        f'The checkpoint {str(self.folder / str(step))!r} is of another model '
        f'or optimizer: {difference}. Give the options that it was made with, '
        'or another workdir.'
      )
    packed = self._packed(step)
    if zlib.crc32(packed) != about['bytes']:
      raise _Damaged('its bytes have another checksum')
    return packing.unpack(packed, about['leaves'], like), about['extra']

  def _about(self, step) -> dict[str, Any]:
    """Returns the description of a checkpoint; ValueError if unreadable."""
    import orbax.checkpoint as ocp

    about = self._item(step, about=ocp.args.JsonRestore())
    if not isinstance(about, dict) or 'format' not in about:
      raise _Damaged('it does not say what it is')
    if about.pop('format') != FORMAT:
      raise ValueError(
        f'The checkpoint {str(self.folder / str(step))!r} has another format '
        f'than {FORMAT}, which this version of seqjax reads: use the version '
        'that wrote it, or another workdir.'
      )
    if about.pop('checksum', None) != _checksum(about):
      raise _Damaged('its description has another checksum')
    return about

  def _packed(self, step) -> np.ndarray:
    import orbax.checkpoint as ocp

    as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
    return self._item(step, bytes=ocp.args.ArrayRestore(restore_args=as_numpy))

  def _item(self, step, **args):
    """Reads one of the two parts; whatever cannot be read is damaged."""
    import orbax.checkpoint as ocp

    try:
      args = ocp.args.Composite(**args)
      (item,) = self._manager.restore(step, args=args).values()
    except Exception as error:  # as many kinds as there are kinds of files
      raise _Damaged(_first_line(error)) from error
    return item

  def _make_room(self, step):
    """Clears the folder for the checkpoint of a step: leftovers, later ones."""
    if not self._saved:
      self.folder.mkdir(parents=True, exist_ok=True)
      for path in self.folder.glob('*.orbax-checkpoint-tmp*'):
        shutil.rmtree(path)  # a process was killed while it wrote this
      self._saved = True
    for later in self.steps:
      if later >= step:
        self._manager.wait_until_finished()
        self._manager.delete(later)
        self._kept.scores.pop(later, None)

  @contextlib.contextmanager
  def _writing(self):
    try:
      yield
    except Exception as error:  # OSError, and those of the library's threads
      raise OSError(
        f'A checkpoint could not be written to {str(self.folder)!r}:'
        f' {_first_line(error)}. Those that are complete stay usable.'
      ) from error


class _Damaged(Exception):
  """A checkpoint cannot be read, or is not what was written."""


class _Kept:
  """A preservation policy of Orbax: the newest and the best checkpoints."""

  def __init__(self, latest: int, best: int):
    self.latest, self.best = latest, best
    self.scores: dict[int, float | None] = {}

  def should_preserve(self, checkpoints, *, context):
    steps = [checkpoint.step for checkpoint in checkpoints]
    scores = {step: self.scores.get(step) for step in steps}
    scores = {s: score for s, score in scores.items() if score is not None}
    kept = {*sorted(steps)[-self.latest :], *_ranked(scores)[: self.best]}
    return [step in kept for step in steps]


def _ranked(scores: Mapping[int, float]) -> list[int]:
  """Returns the steps, best first; of equal ones the earliest."""
  return sorted(scores, key=lambda step: (-scores[step], step))


def _not_of_orbax(record: logging.LogRecord) -> bool:
  """Drops the messages of Orbax's threads; failures are exceptions here."""
  return f'{os.sep}orbax{os.sep}' not in record.pathname


def _checksum(content: Mapping[str, Any]) -> int:
  return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _first_line(error: BaseException) -> str:
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0].partition(' [')[0].rstrip('.')
