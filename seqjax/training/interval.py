"""Many steps in one call to the device."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from seqjax.training import sharding, traced
from seqjax.training.state import Parts, TrainState
from seqjax.training.step import FINITE, train_step
from seqjax.typing import Array, Batch

STACK_BYTES = 32 * 2**20  # of batches that are drawn ahead on the host


class Progress(NamedTuple):
  """The state inside an interval, and what is not finite there."""

  state: TrainState
  fault: Int[Array, '']

  @classmethod
  def begin(cls, state: TrainState) -> 'Progress':
    return cls(state, jnp.full((), FINITE, jnp.int32))


def steps_on_device(
  progress: Progress,
  stop: int | Int[Array, ''],
  *,
  parts: Parts,
  batch_size: int,
) -> Progress:
  """Steps until `stop`, or until a step is at fault; batches drawn on the way.

  `stop` is traced: an interval of any length is the same compiled function, and
  so is one of any value of a task's traced numbers.
  """
  task, numbers = traced.split(parts.task)
  parts = parts._replace(task=task)
  return _steps_on_device(
    progress, stop, numbers, parts=parts, batch_size=batch_size
  )


def lowered(
  state: TrainState, *, parts: Parts, batch_size: int
) -> jax.stages.Lowered:
  """Returns what `steps_on_device` calls, for a state or for its shapes.

  Once that is compiled, `steps_on_device` does not compile it again.
  """
  task, numbers = traced.split(parts.task)
  parts = parts._replace(task=task)
  progress = jax.eval_shape(Progress.begin, state)
  return _steps_on_device.lower(
    progress, 0, numbers, parts=parts, batch_size=batch_size
  )


@functools.partial(jax.jit, static_argnames=('parts', 'batch_size'))
def _steps_on_device(
  progress, stop, numbers: traced.Numbers, *, parts: Parts, batch_size: int
) -> Progress:
  """Runs `steps_on_device`, given the traced numbers of the task."""
  task = traced.join(parts.task, numbers)

  def draw(state):
    batch = task.batch(state.key, state.step, batch_size)
    return sharding.split(batch, parts.mesh)

  return _advance_until(progress, stop, draw, parts)


def steps_on_host_batches(
  draw: Callable[[int], Batch],
  progress: Progress,
  stop: int,
  *,
  most: int,
  parts: Parts,
) -> Progress:
  """Runs steps on batches that are drawn on the host, some at a time.

  While the device takes one stack of them, the next one is drawn. All stacks
  are of one size, which suits intervals of `most` steps.
  """
  step, stop = int(progress.state.step), int(stop)
  size = None
  while step < stop:
    batches = [draw(step)]
    size = size or _stack_size(batches[0], most)
    batches += [draw(i) for i in range(step + 1, min(step + size, stop))]
    batches += [batches[-1]] * (size - len(batches))  # never looked at
    stack = jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
    stack = sharding.put_stack(stack, parts.mesh)
    progress = _stack(progress, stop, stack, step, parts=parts)
    step += size
  return progress


@functools.partial(jax.jit, static_argnames='parts')
def _stack(progress, stop, batches: Batch, first, *, parts: Parts) -> Progress:
  """Steps through a stack of batches, of which one has number `first`."""
  size = len(jax.tree.leaves(batches)[0])

  def draw(state):
    return jax.tree.map(lambda leaf: leaf[state.step - first], batches)

  stop = jnp.minimum(stop, first + size)
  return _advance_until(progress, stop, draw, parts)


def _stack_size(batch: Batch, most: int) -> int:
  """Returns how many batches are sent at once: up to 32, fewer large ones.

  As few as it takes for an interval of `most` steps in that many stacks.
  """
  num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(batch))
  fitting = max(1, min(32, STACK_BYTES // max(num_bytes, 1)))
  num_stacks = -(-most // fitting)
  return -(-most // num_stacks)


def _advance_until(progress, stop, draw, parts: Parts) -> Progress:
  def unfinished(progress):
    return (progress.state.step < stop) & (progress.fault == FINITE)

  def advance(progress):
    batch = draw(progress.state)
    state, metrics = train_step(progress.state, batch, **parts._asdict())
    state = sharding.keep(state, parts.mesh, parts.shard_states)
    return Progress(state, metrics['fault'])

  return jax.lax.while_loop(unfinished, advance, progress)
