"""The batches of a task, on the device by as few compiled functions as it has.

Most of a contract's time is compilation, and the splits of a task mostly run
one program on different keys. So a program is cut where its arrays begin: keys
and other numbers are computed first, and what splits share is compiled once.
"""

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

from seqjax.tasks.task import Task
from seqjax.typing import SPLITS, Batch


class Sampler:
  """Samples batches of one task, as NumPy arrays."""

  def __init__(self, task: Task, batch_size: int):
    self._task, self._batch_size = task, batch_size
    self._programs, self._compiled = {}, {}

  def __call__(self, step: int, split: str = SPLITS[0], seed: int = 0) -> Batch:
    sample = self._on_device if self._task.on_device else self._task.batch
    batch = sample(jax.random.key(seed), step, self._batch_size, split)
    return jax.tree.map(np.asarray, batch)

  def _on_device(self, key, step, batch_size, split):
    if split not in self._programs:
      self._programs[split] = self._program(key, step, batch_size, split)
    numbers, arrays, treedef = self._programs[split]
    return jax.tree.unflatten(treedef, arrays(*numbers(key, step)))

  def _program(self, key, step, batch_size, split):
    """Returns (the numbers of a split, its arrays from them, their tree)."""
    program, shapes = jax.make_jaxpr(
      lambda key, step: self._task.batch(key, step, batch_size, split),
      return_shape=True,
    )(key, step)
    numbers, arrays = _cut(program)
    # Every constant is a number's neighbour in `numbers`: none hides here.
    arrays = self._compiled.setdefault(
      str(arrays), jax.jit(jaxpr_as_fun(arrays))
    )
    return jaxpr_as_fun(numbers), arrays, jax.tree.structure(shapes)


def _cut(program: ClosedJaxpr) -> tuple[ClosedJaxpr, ClosedJaxpr]:
  """Returns two programs; the second, after the first, is the one given.

  The first computes all numbers that need no array, and hands on constants.
  """
  jaxpr = program.jaxpr
  known, first, rest = {*jaxpr.constvars, *jaxpr.invars}, [], []
  for equation in jaxpr.eqns:
    numbers = all(v.aval.shape == () for v in equation.outvars)
    if numbers and all(_is_known(v, known) for v in equation.invars):
      known.update(equation.outvars)
      first.append(equation)
    else:
      rest.append(equation)
  read = [v for equation in rest for v in equation.invars] + jaxpr.outvars
  shared = list(dict.fromkeys(v for v in read if _in(v, known)))
  before = jaxpr.replace(eqns=first, outvars=shared)
  after = jaxpr.replace(eqns=rest, invars=shared, constvars=())
  return ClosedJaxpr(before, program.consts), ClosedJaxpr(after, ())


def _is_known(variable, known) -> bool:
  return isinstance(variable, Literal) or variable in known


def _in(variable, known) -> bool:
  return not isinstance(variable, Literal) and variable in known
