"""One piece of work in one library, and whether two libraries did the same."""

import functools
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.analysis import timing
from seqjax.typing import Array

OURS = 'seqjax'
TOLERANCE = 1e-4

_OPTIONAL = ('equinox', 'torch')


class Contestant(NamedTuple):
  """A function to call, its arguments, and how its outputs are compared.

  `read` names the outputs: arrays of one name have one shape in all libraries.
  `overhead` is called with the same, and does what is not the library's work.
  `flops` are those of the matmuls that the work needs at least; None: those
  that are found in the function. A call takes `tokens` steps of decoding, and
  its time is divided by them.
  """

  function: Callable | timing.Eager
  args: tuple
  read: Callable[[Any], dict[str, Array]]
  overhead: timing.Eager | None = None
  flops: int | None = None
  tokens: int = 1


Makers = dict[str, Callable[[], Contestant]]


def differentiable(
  work: str,
  forward: Callable,
  args: tuple,
  read_gradients: Callable[..., dict[str, Array]],
) -> Contestant:
  """Outputs, or the mean square of outputs and its gradient for every argument.

  Args:
    work: 'forward' or 'forward+backward'.
    forward: from args to outputs, in JAX.
    args: pytrees of arrays.
    read_gradients: called with the arguments' gradients, names them.
  """
  if work == 'forward':
    return Contestant(forward, args, lambda y: {'outputs': y})

  def loss(*args):
    return jnp.mean(jnp.square(forward(*args)))

  def read(outputs):
    value, gradients = outputs
    return {'loss': value, **read_gradients(*gradients)}

  gradient = jax.value_and_grad(loss, argnums=tuple(range(len(args))))
  return Contestant(gradient, args, read)


def with_flops(makers: Makers, flops: int) -> Makers:
  """Adds the FLOPs that the work needs to every contestant."""

  def make(maker):
    return maker()._replace(flops=flops)

  return {name: functools.partial(make, m) for name, m in makers.items()}


def outputs(contestant: Contestant) -> dict[str, Array]:
  """Computes the outputs of a contestant, by name."""
  function = contestant.function
  if isinstance(function, timing.Eager):
    return contestant.read(function.function(*contestant.args))
  return contestant.read(jax.jit(function)(*contestant.args))


def check_same(contestants: Mapping[str, Contestant]):
  """Raises ValueError unless all give what ours gives.

  That is max|a - b| <= 1e-4 max|b| for every output that both have.
  """
  ours = outputs(contestants[OURS])
  for name, contestant in contestants.items():
    if name != OURS:
      _check_agree(name, outputs(contestant), ours)


def _check_agree(
  name: str, theirs: Mapping[str, Array], ours: Mapping[str, Array]
):
  if not set(theirs) <= set(ours):
    raise ValueError(
      f'The outputs to compare are {sorted(ours)}, but {name} has '
      f'{sorted(theirs)}.'
    )
  for output, array in theirs.items():
    a, b = np.asarray(array), np.asarray(ours[output])
    if a.shape != b.shape:
      raise ValueError(
        f'{output} has shape {list(b.shape)}, but that of {name} has '
        f'{list(a.shape)}.'
      )
    error, size = np.max(np.abs(a - b)), np.max(np.abs(b))
    if not error <= TOLERANCE * size:
      raise ValueError(
        f'{name} must agree with {OURS} within {TOLERANCE:g}, but {output} '
        f'differs by {error:.3g} where the largest number is {size:.3g}.'
      )


def library(name: str) -> str:
  """'flax.linen LSTMCell' -> 'flax.linen'."""
  return name.partition(' ')[0]


def installed(names: Iterable[str]) -> list[str]:
  """Keeps names whose library is there and computes on the device of JAX."""
  return [name for name in names if _is_usable(library(name))]


def _is_usable(package: str) -> bool:
  if package not in _OPTIONAL:
    return True
  if importlib.util.find_spec(package) is None:
    return False
  if package == 'torch' and jax.default_backend() == 'gpu':
    import torch

    return torch.cuda.is_available()
  return True
