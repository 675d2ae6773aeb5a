"""Scores on held-out batches, by group."""

import functools
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int

from seqjax.errors import check_value
from seqjax.training import meshes, recipe, sharding, traced
from seqjax.typing import Array, Batch, Segments

NUM_RANGES = 3  # of lengths; one compiled function each


class Scores(dict[Any, tuple[float, float]]):
  """{group: (mean score, total weight)}, and the number of targets.

  Attributes:
    counted: the number of targets with a weight other than 0.
    targets: the number of all targets, at padding not.
  """

  def __init__(self, scores: Mapping = types.MappingProxyType({})):
    super().__init__(scores)
    self.counted = getattr(scores, 'counted', 0)
    self.targets = getattr(scores, 'targets', 0)

  @property
  def share(self) -> float:
    """Returns the share of targets that count; NaN where there is none."""
    return self.counted / self.targets if self.targets else math.nan

  def merge(self, other: 'Scores'):
    """Adds the groups of `other`, replacing equal ones, and its counts."""
    self.update(other)
    self.counted += other.counted
    self.targets += other.targets


def evaluate(
  model: nn.Module,
  params: Any,
  task: Any,
  *,
  batches: int,
  batch_size: int,
  split: str = 'validation',
  at_once: int | None = None,
  carried: bool = False,
  mesh: Mesh | None = None,
) -> Scores:
  """Returns {group: (mean score, total weight)} over a split's first batches.

  Groups are those of `Batch.group` that have weight, in ascending order; a
  task without groups has the single entry None. Dropout is off. For the split
  'train', batches are those of key 0. If no target has weight, the result is
  empty. `Scores.share` is the share of targets that count. The model reads at
  most `at_once` rows at a time, which bounds the memory that is needed; None:
  the whole batch.

  `carried` reads a contiguous text as one: each batch starts from the final
  carry of the one before, and the first from an empty one. The model must
  stream, and the task must be `sequential`, as in `train`.

  `mesh` spreads the rows of a batch, and their positions, over devices, as in
  `train`; rows need not be a multiple of them. All processes of a job call this
  together, and have the same scores.

  Raises:
    ValueError: no batches, or empty ones; a model or a task that cannot be
      carried; a mesh that does not suit them.

  Example:
    >>> import jax
    >>> from seqjax import nn, training
    >>> from seqjax.models import model_for
    >>> from seqjax.tasks import Recall
    >>> task = Recall(lag=16)
    >>> model = model_for(task, (nn.GRU(8),))
    >>> batch = task.batch(jax.random.key(0), 0, 1)
    >>> params = model.init(jax.random.key(1), batch.inputs)['params']
    >>> scores = training.evaluate(
    ...   model, params, task, batches=2, batch_size=64
    ... )
    >>> 0 <= training.overall(scores) <= 1
    True
  """
  for name, given in {'batches': batches, 'batch_size': batch_size}.items():
    check_value('evaluate', name, int, given)
  if batches < 1 or batch_size < 1:
    raise ValueError(
      'evaluate needs at least one batch of at least one example, but '
      f'batches={batches} and batch_size={batch_size} were given.'
    )
  across = meshes.size(mesh, meshes.ROWS)
  here = math.ceil(batch_size / across)  # rows for each device
  if mesh is not None:
    mesh = recipe.check_mesh(mesh, model, task, here * across, split)
  most = here if at_once is None else max(1, at_once // across)
  rows = across * _rows(here, most)
  carry = _first_carry(model, task, here * across) if carried else None
  params, carry = sharding.put_copies((params, carry), mesh)
  draw = functools.partial(
    task.batch, jax.random.key(0), batch_size=batch_size, split=split
  )
  static, numbers = traced.split(task)
  drawn = []
  for step in range(batches):  # dispatch all before waiting for any
    if task.on_device:
      carry, scored = _drawn_scores(
        params,
        carry,
        step,
        numbers,
        model=model,
        task=static,
        rows=rows,
        batch_size=batch_size,
        split=split,
        mesh=mesh,
      )
    else:
      carry, scored = _scores(
        params, carry, draw(step), model=model, task=task, rows=rows, mesh=mesh
      )
    drawn.append(scored)
  scores, weights, valid, groups = zip(*drawn, strict=True)
  scores, weights = _flat(scores), _flat(weights)
  members = {None: np.ones(len(scores), bool)}
  if groups[0] is not None:
    groups = _flat(groups)
    members = {group.item(): groups == group for group in np.unique(groups)}
  found = Scores(_means(members, scores, weights))
  found.counted = int(np.count_nonzero(weights))
  found.targets = int(np.count_nonzero(_flat(valid)))
  return found


def lowered(
  model: nn.Module,
  params: Any,
  task: Any,
  *,
  batch_size: int,
  split: str = 'validation',
  at_once: int | None = None,
) -> jax.stages.Lowered:
  """Returns what `evaluate` calls with the same arguments on one device.

  Parameters may be shapes, and the task makes its batches on the device. Once
  that is compiled, `evaluate` does not compile it again.
  """
  static, numbers = traced.split(task)
  return _drawn_scores.lower(
    params,
    None,
    0,
    numbers,
    model=model,
    task=static,
    rows=_rows(batch_size, at_once or batch_size),
    batch_size=batch_size,
    split=split,
    mesh=None,
  )


def evaluate_loss(
  model: nn.Module,
  params: Any,
  task: Any,
  *,
  batches: int,
  batch_size: int,
  split: str = 'validation',
  carried: bool = False,
) -> float:
  """Returns the mean of `task.loss` over a split's first batches, in nats.

  Dropout is off, and batches count alike. `carried` is that of `evaluate`.

  Raises:
    ValueError: a model or a task that cannot be carried.
  """
  carry = _first_carry(model, task, batch_size) if carried else None
  draw = functools.partial(
    task.batch, jax.random.key(0), batch_size=batch_size, split=split
  )
  static, numbers = traced.split(task)
  losses = []
  for step in range(batches):
    if task.on_device:
      carry, loss = _drawn_loss(
        params,
        carry,
        step,
        numbers,
        model=model,
        task=static,
        batch_size=batch_size,
        split=split,
      )
    else:
      carry, loss = _loss(params, carry, draw(step), model=model, task=task)
    losses.append(loss)
  return float(np.mean([np.float64(loss) for loss in losses]))


def evaluate_lengths(
  model: nn.Module,
  params: Any,
  task_between: Callable[[int, int], Any],
  longest: int,
  *,
  shortest: int = 1,
  batches: int,
  batch_size: int,
  split: str = 'validation',
) -> Scores:
  """Returns {group: (mean score, total weight)} for examples of many lengths.

  The lengths are split into at most three ranges of equal size, each with a
  task and a compiled function of its own, so that short examples are not padded
  to the longest length:

      evaluate_lengths(
        model, params,
        lambda low, high: Parity(min_length=low, length=high),
        longest=500, batches=64, batch_size=64)

  Args:
    task_between: maps (shortest, longest) to a task whose examples have all
      lengths in that range, and whose groups are the lengths.
    longest, shortest: the range of lengths.
    batches: of each of the tasks.
    batch_size, split, model, params: as in `evaluate`.

  Raises:
    ValueError: there are no lengths; what `evaluate` and the tasks raise.
  """
  if not 1 <= shortest <= longest:
    raise ValueError(
      'Lengths go from 1 or more up to the longest, but '
      f'shortest={shortest} and longest={longest} were given.'
    )
  scores = Scores()
  for low, high in length_ranges(range(shortest, longest + 1)):
    found = evaluate(
      model,
      params,
      task_between(low, high),
      batches=batches,
      batch_size=batch_size,
      split=split,
    )
    scores.merge(found)
  return scores


def length_ranges(lengths: Sequence[int]) -> list[tuple[int, int]]:
  """Returns (shortest, longest) of at most three ranges of equal share."""
  parts = np.array_split(np.array(lengths, int), NUM_RANGES)
  return [(int(part[0]), int(part[-1])) for part in parts if part.size]


def overall(scores: Mapping[Any, tuple[float, float]]) -> float:
  """Returns the mean score over groups, each by its weight.

  NaN where nothing was scored: no mean of nothing is a score.
  """
  total = sum(weight for _, weight in scores.values())
  weighted = sum(score * weight for score, weight in scores.values())
  return weighted / total if total else math.nan


def _first_carry(model: nn.Module, task: Any, batch_size: int) -> Any:
  """Returns an empty carry; ValueError where none can be handed on."""
  recipe.check_carries(model, task)
  return model.initialize_carry(batch_size)


@functools.partial(
  jax.jit,
  static_argnames=('model', 'task', 'rows', 'batch_size', 'split', 'mesh'),
)
def _drawn_scores(
  params,
  carry,
  step: int | Int[Array, ''],
  numbers: traced.Numbers,
  *,
  model,
  task,
  rows,
  batch_size,
  split,
  mesh,
):
  """Returns what `_scores` does of a batch that is generated here."""
  batch = traced.join(task, numbers).batch(
    jax.random.key(0), step, batch_size, split
  )
  return _scores(
    params, carry, batch, model=model, task=task, rows=rows, mesh=mesh
  )


@functools.partial(
  jax.jit, static_argnames=('model', 'task', 'batch_size', 'split')
)
def _drawn_loss(
  params,
  carry,
  step: int | Int[Array, ''],
  numbers: traced.Numbers,
  *,
  model,
  task,
  batch_size,
  split,
):
  """Returns what `_loss` does of a batch that is generated here."""
  batch = traced.join(task, numbers).batch(
    jax.random.key(0), step, batch_size, split
  )
  return _loss(params, carry, batch, model=model, task=task)


@functools.partial(jax.jit, static_argnames=('model', 'task'))
def _loss(params, carry, batch: Batch, *, model, task):
  """Returns the carry after a batch, if there was one, and its loss."""
  carry, outputs = _read(
    model, params, None, carry, batch.inputs, batch.segments
  )
  return carry, task.loss(outputs, batch)


@functools.partial(jax.jit, static_argnames=('model', 'task', 'rows', 'mesh'))
def _scores(params, carry, batch: Batch, *, model, task, rows, mesh):
  """Returns the carry and (score, weight, valid, group), by so many rows.

  On a mesh, devices share the rows; all of them have the result.
  """
  across = meshes.size(mesh, meshes.ROWS)
  read = sharding.by_parts(functools.partial(_read, model), mesh)

  def score(carry, batch):
    batch = sharding.split(batch, mesh)
    carry, outputs = read(params, None, carry, batch.inputs, batch.segments)
    return carry, task.score(outputs, batch)

  def apart(x):  # so that each device has rows of every part
    x = x.reshape(across, -1, rows // across, *x.shape[1:])
    return x.swapaxes(0, 1).reshape(-1, rows, *x.shape[3:])

  def together(x):
    x = x.reshape(-1, across, rows // across, *x.shape[2:])
    return x.swapaxes(0, 1).reshape(-1, *x.shape[3:])

  batch_size = len(jax.tree.leaves(batch)[0])
  filled = _filled(batch, -(-batch_size // across) * across)
  if len(jax.tree.leaves(filled)[0]) == rows:
    carry, (scores, weights) = score(carry, filled)
  else:
    parts = jax.tree.map(apart, (carry, filled))
    found = jax.lax.map(lambda part: score(*part), parts)
    carry, (scores, weights) = jax.tree.map(together, found)
  scores, weights = scores[:batch_size], weights[:batch_size]
  scored = scores, weights, _valid(batch, weights), batch.group
  return carry, sharding.gathered(scored, mesh)


def _filled(batch: Batch, num_rows: int) -> Batch:
  """Returns a batch of so many rows: its own, then its first one again."""

  def fill(x):
    more = jnp.repeat(x[:1], num_rows - len(x), axis=0)
    return jnp.concatenate([x, more])

  if len(jax.tree.leaves(batch)[0]) == num_rows:
    return batch
  return jax.tree.map(fill, batch)


def _read(model, params, key, carry, inputs, segments):
  """Reads a batch: the carry after it, if there was one, and the outputs."""
  del key  # nothing is random here
  apply = functools.partial(model.apply, {'params': params})
  if carry is None:
    return None, apply(inputs, segments)
  return apply(carry, inputs, segments, method='unroll')


def _valid(batch: Batch, weights) -> Array:
  """Marks the targets that are not padding, one for each weight."""
  sides = jax.tree.leaves(
    batch.segments, is_leaf=lambda side: isinstance(side, Segments)
  )
  if sides and sides[-1].valid.size == weights.size and weights.ndim > 1:
    return sides[-1].valid
  return jnp.ones(weights.shape, bool)


def _rows(batch_size: int, most: int) -> int:
  """Returns the most rows, up to a limit, that divide a batch evenly."""
  fitting = range(1, min(batch_size, most) + 1)
  return max(rows for rows in fitting if batch_size % rows == 0)


def _flat(arrays) -> np.ndarray:
  return np.concatenate([np.ravel(array) for array in arrays])


def _means(members, scores, weights) -> dict[Any, tuple[float, float]]:
  """Averages in float64; what has no weight is left out."""
  means = {}
  for group, member in members.items():
    member = member & (weights != 0)
    weight = weights[member].astype(np.float64)
    if weight.sum():
      mean = float(np.dot(weight, scores[member]) / weight.sum())
      means[group] = mean, float(weight.sum())
  return means
