"""The laws that every task keeps, ours or yours.

    from seqjax import testing
    testing.assert_task_contract(MyTask(length=32))

raises `LawBroken`, which names the law, what differed, and by how much.
"""

import hashlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.tasks.task import Metric, Task
from seqjax.testing import another_process
from seqjax.testing.chance import TO_ONE, constant_score, mean_and_error
from seqjax.testing.laws import LawBroken
from seqjax.testing.sampling import Sampler
from seqjax.typing import SPLITS, Batch, Spec, TaskShape

BATCH_SIZE = 64

SHAPES = 'batches have the shapes and types that the task states'
DETERMINISM = 'a batch is a function of key, step and split, in any process'
ON_DEVICE = 'a batch on the device is the same inside jit and vmap'
SPLIT = 'splits share no example; validation and test ignore the key of the run'
WEIGHTS = 'where the weight is 0, nothing counts'
CHANCE = 'chance is what the best constant prediction scores'
CEILING = 'the ceiling is what the solver scores'


def assert_task_contract(task: Task, *, batches: int = 32):
  """Holds a task to every law of its protocol.

  Args:
    task: hashable and, for the law of other processes, picklable.
    batches: the number of training batches of 64 examples. Of each other split,
      a quarter as many are sampled, or twice as many if the task samples on the
      device. Chance is measured on validation and test; on training if data are
      recorded or scored in bits.

  Raises:
    LawBroken: names the law, the value that was found and the expected one.

  Example:
    >>> from seqjax import testing
    >>> from seqjax.tasks import Recall
    >>> testing.assert_task_contract(Recall(lag=16), batches=8)
  """
  draw = Sampler(task, BATCH_SIZE)
  _check_shapes(task, draw(0))
  _check_determinism(task, draw)
  if task.on_device:
    _check_on_device(task, draw)
  _check_weights(task, draw(0))
  train = [draw(step) for step in range(batches)]
  few = max(batches // 4, 1)
  steps = range(2 * batches if task.on_device else few)
  validation, test = (
    [draw(step, split) for step in steps] for split in SPLITS[1:]
  )
  _check_splits(draw, dict(zip(SPLITS, (train, validation, test), strict=True)))
  sampled = task.on_device and task.metric is not Metric.BITS
  _check_chance(task, validation + test if sampled else train)
  _check_ceiling(task, validation[:few])


def _check_shapes(task, batch):
  def require(holds, what):
    if not holds:
      raise LawBroken(SHAPES, what)

  hash(task)
  require(isinstance(task, Task), f'{task} lacks a part of the protocol.')
  require(isinstance(task.shape, TaskShape), f'the shape is {task.shape!r}.')
  require(isinstance(task.metric, Metric), f'the metric is {task.metric!r}.')
  unaligned = task.shape is TaskShape.MANY_TO_MANY_UNALIGNED
  inputs = batch.inputs if unaligned else (batch.inputs,)
  segments = batch.segments if unaligned else (batch.segments,)
  if segments is None or (unaligned and segments == (None, None)):
    segments = (None,) * len(inputs)
  specs = (task.input, task.output) if unaligned else (task.input,)
  require(len(inputs) == len(specs), f'there are {len(inputs)} inputs.')
  for spec, x, masks in zip(specs, inputs, segments, strict=True):
    require(x.ndim >= 2 and x.shape[0] == BATCH_SIZE, f'inputs are {x.shape}.')
    _check_spec(spec, x, x.shape[:2], 'inputs')
    for mask in masks or ():
      require(
        mask.shape == x.shape[:2] and mask.dtype == bool,
        f'segments are {mask.dtype}{mask.shape} for inputs {x.shape}.',
      )
  scored = inputs[-1].shape[: 1 if task.shape in TO_ONE else 2]
  if task.shape is TaskShape.ONE_TO_ONE:
    require(inputs[0].shape[1] == 1, f'one-to-one inputs are {x.shape}.')
  if task.shape is TaskShape.ONE_TO_MANY:
    require(not inputs[0][:, 1:].any(), 'the input goes on after position 0.')
  _check_spec(task.output, batch.targets, scored, 'targets')
  weights = batch.weights
  require(
    weights.shape == scored and weights.dtype == np.float32,
    f'weights are {weights.dtype}{weights.shape}, not float32{scored}.',
  )
  require(
    np.isfinite(weights).all() and (weights >= 0).all() and weights.any(),
    'weights are negative, not finite, or all zero.',
  )
  score, weight = jax.eval_shape(task.score, _any_outputs(task, batch), batch)
  require(score.shape == weight.shape, f'{score.shape} != {weight.shape}.')
  if batch.group is not None:
    require(
      batch.group.shape == score.shape,
      f'groups are {batch.group.shape} for scores {score.shape}.',
    )


def _check_spec(spec: Spec, array, leading, what):
  expected = (*leading, *spec.shape)
  kind = np.int32 if spec.vocab is not None else np.float32
  if array.shape != expected or array.dtype != kind:
    raise LawBroken(
      SHAPES,
      f'{what} are {array.dtype}{array.shape}, not '
      f'{np.dtype(kind)}{expected} as {spec} says.',
    )
  if spec.vocab is None:
    if not np.isfinite(array).all():
      raise LawBroken(SHAPES, f'{what} are not finite.')
  elif array.min() < 0 or array.max() >= spec.vocab:
    raise LawBroken(
      SHAPES, f'{what} reach {array.min()}..{array.max()}, and {spec} is given.'
    )


def _check_determinism(task, draw):
  for split in SPLITS:
    first = draw(3, split)
    draw(1, split)
    if fingerprint(draw(3, split)) != fingerprint(first):
      raise LawBroken(
        DETERMINISM, f'batch 3 of {split} differs when sampled again.'
      )
  if fingerprint(draw(4)) == fingerprint(draw(3)):
    raise LawBroken(DETERMINISM, 'batches 3 and 4 are the same.')
  if fingerprint(draw(3, seed=1)) == fingerprint(draw(3)):
    raise LawBroken(DETERMINISM, 'the batches of two keys are the same.')
  if type(task).__module__ == '__main__':
    warnings.warn(
      f'{type(task).__name__} is defined in the running file or notebook, where'
      ' no other process finds it: that another one samples the same batches '
      'was not checked.',
      stacklevel=3,
    )
    return
  here, there = fingerprint(draw(3)), _elsewhere(task)
  if here != there:
    raise LawBroken(DETERMINISM, 'another process samples another batch 3.')


def _check_on_device(task, draw):
  """Checks vmap over keys, with a step that is a number, not traced."""
  keys = jnp.stack([jax.random.key(seed) for seed in (0, 1)])
  mapped = jax.jit(jax.vmap(lambda key: task.batch(key, 3, BATCH_SIZE)))
  for seed, member in enumerate(_members(mapped(keys))):
    if not _same(member, draw(3, seed=seed)):
      raise LawBroken(ON_DEVICE, f'batch 3 of key {seed} differs inside vmap.')


def _members(batches):
  """Returns the trees of a tree whose leaves have one more axis in front."""
  leaves, treedef = jax.tree.flatten(batches)
  return [jax.tree.unflatten(treedef, member) for member in zip(*leaves)]  # noqa: B905


def _check_weights(task, batch):
  """Checks outputs of NaN where the weight is 0, and other targets there."""
  outputs = _any_outputs(task, batch)
  silent = _silent(batch, outputs.ndim)

  @jax.jit
  def measure(outputs, batch):
    loss, gradient = jax.value_and_grad(task.loss)(outputs, batch)
    return loss, gradient, task.score(outputs, batch)

  zero, nan = np.float32(0), np.float32(np.nan)
  clean = measure(np.where(silent, zero, outputs), batch)
  dirty = measure(np.where(silent, nan, outputs), _other_targets(task, batch))
  for name, a, b in zip(('loss', 'gradient'), clean, dirty, strict=False):
    if not np.array_equal(a, b) or not np.isfinite(a).all():
      raise LawBroken(WEIGHTS, f'the {name} sees outputs of weight 0.')
  if np.any(np.where(silent, clean[1], 0)):
    raise LawBroken(WEIGHTS, 'outputs of weight 0 have a gradient.')
  if not np.isclose(*(mean_and_error([s])[0] for s in (clean[2], dirty[2]))):
    raise LawBroken(WEIGHTS, 'the score sees outputs of weight 0.')


def _other_targets(task, batch):
  """Returns the batch with all targets of weight 0 changed."""
  other = batch.targets + 1
  if task.output.vocab is not None:
    other = other % task.output.vocab
  silent = _silent(batch, batch.targets.ndim)
  return batch._replace(targets=np.where(silent, other, batch.targets))


def _silent(batch, ndim):
  """Returns where the weight is 0, for an array of so many axes."""
  silent = batch.weights == 0
  return np.expand_dims(silent, tuple(range(silent.ndim, ndim)))


def _check_splits(draw, batches):
  """Checks that splits share no example, and evaluation ignores the key."""
  seen = {name: _examples(drawn) for name, drawn in batches.items()}
  for i, one in enumerate(SPLITS):
    for other in SPLITS[i + 1 :]:
      shared = seen[one] & seen[other]
      if shared:
        raise LawBroken(
          SPLIT, f'{one} and {other} share {len(shared)} examples.'
        )
  for split in SPLITS[1:]:
    again = draw(0, split, seed=1)
    if fingerprint(again) != fingerprint(batches[split][0]):
      raise LawBroken(SPLIT, f'{split} depends on the key of the run.')


def _check_chance(task, batches):
  """Checks chance; a hundredth is forgiven, for what constants might know."""
  if task.chance is None:
    return
  mean, error = constant_score(task, batches)
  slack = 4 * error + abs(mean) / 100 + 1e-6
  if not abs(mean - task.chance) <= slack:
    raise LawBroken(
      CHANCE,
      f'{task.chance:.4f} is stated, but the best constants score {mean:.4f} '
      f'(give or take {slack:.4f}).',
    )


def _check_ceiling(task, batches):
  if task.chance is not None and task.ceiling is not None:
    better = task.ceiling >= task.chance
    if better != task.metric.higher_is_better and task.ceiling != task.chance:
      raise LawBroken(
        CEILING, f'{task.ceiling} is worse than chance, {task.chance}.'
      )
  solve = _solver(task)
  if solve is None:
    if task.ceiling not in (None, task.chance):
      raise LawBroken(
        CEILING, f'{task.ceiling} is stated, but no solver confirms it.'
      )
    return
  if task.ceiling is None:
    raise LawBroken(CEILING, 'there is a solver, but the ceiling is unknown.')
  score, scores = jax.jit(task.score), []
  for batch in batches:
    solved = _as_outputs(task, np.asarray(solve(batch)))
    scores.append(score(solved, batch))
  mean, error = mean_and_error(scores)
  exact = task.metric is Metric.ACCURACY and task.ceiling == 1
  slack = 0 if exact else 4 * error + 1e-4 * max(abs(task.ceiling), 1e-2)
  if not abs(mean - task.ceiling) <= slack:
    raise LawBroken(
      CEILING,
      f'{task.ceiling} is stated, but the solver scores {mean:.5f} (give or '
      f'take {slack:.5f}).',
    )


def _solver(task):
  """Returns the function of a batch whose answers confirm the ceiling.

  A solver is not shown the targets; `informed` is. None if there is neither.
  """
  compiled = jax.jit if task.on_device else lambda function: function
  if hasattr(task, 'solve'):
    solve = compiled(task.solve)
    return lambda batch: solve(_blind(task, batch))
  if hasattr(task, 'informed'):
    return compiled(task.informed)
  return None


def _blind(task, batch):
  """Returns the batch without its targets, and without shifted ones."""
  inputs = batch.inputs
  if task.shape is TaskShape.MANY_TO_MANY_UNALIGNED:
    inputs = inputs[0], np.zeros_like(inputs[1])
  targets = np.zeros_like(batch.targets)
  return batch._replace(inputs=inputs, targets=targets, group=None)


def fingerprint(batch: Batch) -> str:
  """Returns a hash of everything in a batch."""
  digest = hashlib.sha256()
  for leaf in map(np.asarray, jax.tree.leaves(batch)):
    digest.update(f'{leaf.dtype}{leaf.shape}'.encode())
    digest.update(np.ascontiguousarray(leaf).tobytes())
  return digest.hexdigest()


def _same(given, expected) -> bool:
  """Compares trees; compilers may round values differently."""
  pairs = zip(jax.tree.leaves(given), jax.tree.leaves(expected), strict=True)
  return all(
    a.dtype == b.dtype and np.allclose(a, b, rtol=1e-4, atol=1e-4)
    for a, b in pairs
  )


def _examples(batches) -> set[bytes]:
  """Hashes the inputs of every example, padding included."""
  found = set()
  for batch in batches:
    leaves = jax.tree.leaves((batch.inputs, batch.segments))
    rows = [np.asarray(leaf).reshape(len(leaf), -1) for leaf in leaves]
    for i in range(len(rows[0])):
      row = b''.join(np.ascontiguousarray(leaf[i]).tobytes() for leaf in rows)
      found.add(hashlib.sha256(row).digest())
  return found


def _any_outputs(task, batch):
  rng = np.random.default_rng(0)
  shape = batch.targets.shape
  if task.output.vocab is not None:
    shape = (*shape, task.output.vocab)
  return rng.normal(size=shape).astype(np.float32)


def _as_outputs(task, solved):
  """Turns the answers of a solver into outputs of a model."""
  if task.output.vocab is None or np.issubdtype(solved.dtype, np.floating):
    return solved.astype(np.float32)
  return np.eye(task.output.vocab, dtype=np.float32)[solved]


def _elsewhere(task) -> str:
  """Returns the fingerprint of batch 3 as another process samples it."""
  try:
    return another_process.call(_fingerprint_of_a_batch, task)
  except Exception as error:
    raise LawBroken(
      DETERMINISM,
      f'another process could not load or sample it ({error}). Define it in a '
      'module that can be imported.',
    ) from error


def _fingerprint_of_a_batch(task) -> str:
  return fingerprint(Sampler(task, BATCH_SIZE)(3))
