"""Saves states to disk: the newest and the best, each written atomically.

    <folder>/<step>/state       the state, by Orbax's standard handler
    <folder>/<step>/metadata    JSON: what each leaf is, checksums, `extra`

Any program reads a state with Orbax alone, as arrays by name:

    ocp.CheckpointManager(folder).restore(step)['state']['params']

Orbax writes in the background, and gives a checkpoint its name when it is
complete: a killed process leaves no partial one. One that has been
damaged since is found by its checksums. Keys are saved as the numbers that they
consist of, and arrays without an element in the metadata alone, for Orbax saves
none. One process writes, whatever number of devices or of processes there is.
"""

import contextlib
import functools
import json
import math
import os
import pathlib
import shutil
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.results import disk, leaves, orbax_messages
from seqjax.results.kept import Kept, ranked

FORMAT = 2
LEFTOVERS = '*.orbax-checkpoint-tmp*'  # folders of what is not complete
LEAF_BYTES = 4096  # beside its numbers, at most


class Checkpoints:
  """Keeps the states of one run in `folder`, which `save` makes.

      with Checkpoints(workdir / 'checkpoints') as checkpoints:
        restored = checkpoints.restore(state)  # (state, extra) or None
        ...
        checkpoints.save(step, state, {'waited': 2}, score=accuracy)

  The `latest` newest ones are kept and the `best` ones with the greatest
  scores. Older ones are deleted only once a new one has been synced to disk.
  Leaving the `with` waits for what is still being written. One process writes
  into a folder; others may read meanwhile.

  Attributes:
    folder: where they are.
  """

  def __init__(
    self,
    folder: str | os.PathLike,
    *,
    latest: int = 2,
    best: int = 1,
    before_save: Callable[[], None] = lambda: None,
  ):
    """Args: `before_save` syncs files that a checkpoint relies on to disk."""
    if latest < 1 or best < 0:
      raise ValueError(
        'At least the latest checkpoint is kept and no fewer than 0 best ones, '
        f'but latest={latest} and best={best} were given.'
      )
    self.folder = pathlib.Path(folder).absolute()
    self._kept = Kept(latest, best)
    self._before_save = before_save
    self._saved = False
    self._is_new = True  # there was no folder when it was entered

  def __enter__(self) -> 'Checkpoints':
    if self.folder.exists() and not self.folder.is_dir():
      raise ValueError(
        f'Checkpoints are kept in a folder, but {str(self.folder)!r} is a file.'
      )
    self._is_new = not self.folder.exists()
    for step in self.steps:
      try:
        self._kept.scores[step] = self._about(step).get('score')
      except _Damaged:
        self._kept.damaged.add(step)  # it may be the best: a person decides
    return self

  @functools.cached_property
  def _manager(self) -> Any:
    """Orbax's own; made when a checkpoint is first read or written.

    A new run need not wait for the import before it begins.
    """
    import orbax.checkpoint as ocp

    orbax_messages.silence()
    synced = ocp.options.AsyncOptions(post_finalization_callback=self._sync)
    options = ocp.CheckpointManagerOptions(
      create=False,
      preservation_policy=self._kept,
      async_options=synced,
      multiprocessing_options=_alone(),
    )
    return ocp.CheckpointManager(self.folder, options=options)

  def __exit__(self, kind, error, traceback):
    if not self._is_open:
      return
    try:
      with self._writing():
        self._manager.close()
        if self._saved:
          disk.sync(self.folder)
    except OSError:
      if error is None:
        raise
    finally:
      del self._manager

  @property
  def _is_open(self) -> bool:
    return '_manager' in vars(self)

  @property
  def steps(self) -> list[int]:
    """Returns the steps with a checkpoint, damaged ones included, ascending."""
    if self._is_new and not self._is_open:
      return []
    return sorted(self._manager.all_steps())

  @property
  def damaged(self) -> list[int]:
    """Returns the steps whose description could not be read, ascending."""
    return sorted(self._kept.damaged & {*self.steps})

  @property
  def best(self) -> int | None:
    """Returns the step with the greatest score, the first of equals."""
    return next(iter(ranked(self.scores)), None)

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
    best = ranked(earlier | dict(scores))[: self._kept.best]
    return [step for step in scores if step in best]

  def save(
    self,
    step: Any,
    state: Any,
    extra: Mapping[str, Any],
    score: float | None = None,
  ):
    """Writes the state, any pytree of arrays and keys, in the background.

    Checkpoints of this step and of later ones are deleted first: they are left
    over from a run that was resumed at an earlier step.

    Args:
      step: the step of the state.
      state: its arrays are copied before this returns.
      extra: other JSON data that is needed to resume.
      score: the greater the better; without one it is never among the best.

    Raises:
      OSError: this checkpoint or the one before it could not be written.
    """
    import orbax.checkpoint as ocp

    step = int(step)
    score = None if score is None or math.isnan(score) else float(score)
    there = leaves.named(state)
    arrays = {path: leaves.on_host(leaf) for path, leaf in there.items()}
    about = {
      'leaves': {
        path: leaves.describe(leaf, arrays[path])
        for path, leaf in there.items()
      },
      'extra': json.loads(json.dumps(dict(extra))),  # as it will be read
      'score': score,
    }
    about = {'format': FORMAT, **about, 'checksum': _checksum(about)}
    to_save = [x if x.size else None for x in arrays.values()]
    tree = jax.tree.unflatten(jax.tree.structure(state), to_save)
    manager = self._manager  # an error of making it is none of writing
    with self._writing():
      self._make_room(step, arrays)
      self._before_save()
      self._kept.scores[step] = score
      manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(tree),
          metadata=ocp.args.JsonSave(about),
        ),
        force=True,
      )

  def wait(self):
    """Returns when all is on disk; OSError where something could not be."""
    if not self._is_open:
      return
    with self._writing():
      self._manager.wait_until_finished()
      if self._saved:
        disk.sync(self.folder)

  def restore(
    self,
    like: Any,
    refuse: Callable[[Mapping[str, Any]], str | None] = lambda extra: None,
  ) -> tuple[Any, dict[str, Any]] | None:
    """Returns (state, extra) of the newest sound checkpoint, or None.

    Damaged or refused checkpoints are named on stderr, and the one before is
    used. If all sound ones are refused, the newest of them is used.

    Args:
      like: a state of arrays or `jax.ShapeDtypeStruct`s. What is restored has
        its structure, and its leaves go where those of `like` are: onto
        another number of devices too.
      refuse: returns why the checkpoint with such an `extra` is not to be
        used, or None.

    Raises:
      ValueError: the checkpoint is of another model, optimizer or version; or
        there are some, and none is sound.
    """
    damaged, refused, first = [], [], None
    for step in reversed(self.steps):
      try:
        restored = self._read(step, like)
        why = refuse(restored[1])
      except _Damaged as error:
        damaged.append(f'{str(self.folder / str(step))!r} ({error})')
        continue
      if why is None:
        _say_passed(damaged, refused, step)
        return restored
      refused.append(f'{str(self.folder / str(step))!r} ({why})')
      first = first or (step, restored)
    if first:
      _say_passed(damaged, refused[1:], first[0])
      print(f'Used because no other is left: {refused[0]}.', file=sys.stderr)
      return first[1]
    if damaged:
      raise ValueError(
        f'All checkpoints are damaged: {", ".join(damaged)}. Delete'
        f' {str(self.folder)!r} to start again.'
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
    difference = leaves.difference(about['leaves'], like)
    if difference:
      raise ValueError(
        f'The checkpoint {str(self.folder / str(step))!r} is of another model '
        f'or optimizer: {difference}. Give the options that it was made with, '
        'or another workdir.'
      )
    arrays = self._arrays(step, about['leaves'])
    return leaves.together(arrays, about['leaves'], like), about['extra']

  def _about(self, step) -> dict[str, Any]:
    """Returns the description of a checkpoint; ValueError if unreadable."""
    import orbax.checkpoint as ocp

    path = self.folder / str(step)
    if (path / 'about').exists() and not (path / 'metadata').exists():
      raise self._another_format(step)
    about = self._item(step, metadata=ocp.args.JsonRestore())
    if not isinstance(about, dict) or 'format' not in about:
      raise _Damaged('its metadata has no format')
    if about.pop('format') != FORMAT:
      raise self._another_format(step)
    if about.pop('checksum', None) != _checksum(about):
      raise _Damaged('the checksum of its metadata does not match')
    return about

  def _another_format(self, step) -> ValueError:
    return ValueError(
      f'The checkpoint {str(self.folder / str(step))!r} has another format '
      f'than {FORMAT}, which this version of seqjax reads: use the version '
      'that wrote it, or another workdir.'
    )

  def _arrays(self, step, about) -> dict[str, np.ndarray]:
    """Returns the arrays of a checkpoint by path, each found to be sound."""
    import orbax.checkpoint as ocp

    found = leaves.named(self._item(step, state=ocp.args.StandardRestore()))
    arrays = {}
    for path, what in about.items():
      dtype = jnp.dtype(what['dtype'])  # numpy's own knows no bfloat16
      array = found.get(path, np.zeros(0, dtype))
      if 0 in what['shape']:
        array = array.reshape(what['shape'])
      if leaves.checksum(np.asarray(array, dtype)) != what['checksum']:
        raise _Damaged(f'the checksum of {path} does not match')
      arrays[path] = array
    return arrays

  def _item(self, step, **args):
    """Reads one of the two parts; whatever cannot be read is damaged."""
    import orbax.checkpoint as ocp

    try:
      args = ocp.args.Composite(**args)
      (item,) = self._manager.restore(step, args=args).values()
    except Exception as error:  # as many kinds as there are kinds of files
      raise _Damaged(_first_line(error)) from error
    return item

  def _make_room(self, step, arrays):
    """Clears the folder for a checkpoint: leftovers, later ones.

    Raises:
      OSError: the disk has no room for the arrays. Orbax, which writes many at
        once, would find out in threads that nobody waits for.
    """
    if not self._saved:
      self.folder.mkdir(parents=True, exist_ok=True)
      for path in self.folder.glob(LEFTOVERS):
        shutil.rmtree(path)  # a process was killed while it wrote this
      self._saved = True
    for later in self.steps:
      if later >= step:
        self._manager.wait_until_finished()
        self._manager.delete(later)
        self._kept.scores.pop(later, None)
        self._kept.damaged.discard(later)
    self._manager.wait_until_finished()
    num_bytes = sum(x.nbytes + LEAF_BYTES for x in arrays.values())
    disk.check_space(self.folder, num_bytes)

  def _sync(self):
    """Waits until a checkpoint that is complete is on the disk.

    Orbax calls this before it gives the checkpoint its name.
    """
    for path in self.folder.glob(LEFTOVERS):
      disk.sync_tree(path)

  @contextlib.contextmanager
  def _writing(self):
    try:
      yield
    except Exception as error:  # OSError, and those of the library's threads
      raise OSError(
        f'A checkpoint could not be written to {str(self.folder)!r}:'
        f' {_first_line(error)}. Those that are complete stay usable.'
      ) from error


def _alone():
  """Returns options by which Orbax waits for no other process."""
  import orbax.checkpoint as ocp

  if jax.process_count() == 1:
    return ocp.options.MultiprocessingOptions()
  index = jax.process_index()
  return ocp.options.MultiprocessingOptions(
    primary_host=index,
    active_processes={index},
    barrier_sync_key_prefix=f'process{index}',
  )


class _Damaged(Exception):
  """A checkpoint cannot be read, or is not what was written."""


def _say_passed(damaged: list[str], refused: list[str], step: int):
  """Prints which checkpoints were passed over, if some were."""
  for what, passed in (('Damaged', damaged), ('Not used', refused)):
    if passed:
      print(
        f'{what}: {", ".join(passed)}; the checkpoint of step {step} is used.',
        file=sys.stderr,
      )


def _checksum(content: Mapping[str, Any]) -> int:
  return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _first_line(error: BaseException) -> str:
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0].partition(' [tensorstore')[0].rstrip('.:')
