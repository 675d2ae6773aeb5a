"""One check: a number that is expected, the number that came out."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.nn import Attention, CausalMixer

# Everything runs once, so that compiling takes the time: it is kept short.
jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)

FEATURES, CONTEXT = 16, 64  # of the mixers that are checked
CLOSE = 1e-5  # float32 that was added up in another order

Row = Mapping[str, Any]
Mixers = Mapping[str, Callable[..., CausalMixer]]

LEARNED = 'attention (learned)'


def learned_positions(features: int, context: int) -> Attention:
  """Makes attention whose positions are a table of `context` rows."""
  return Attention(features, context, positions='learned')


def check(
  name: str,
  subject: str,
  size: int,
  expected: Any,
  got: Any,
  tolerance: float = 0.0,
) -> dict[str, Any]:
  """Returns a row; it holds if what came out is as near as the tolerance.

  Args:
    name: what is counted or compared, in words.
    subject: the mixer, model or data that it is asked of.
    size: positions, sequences or updates.
    expected: a number that does not come from the code that is checked.
    got: the number that came out.
    tolerance: the largest difference that holds; 0 is exact.
  """
  row = {
    'check': name,
    'subject': subject,
    'size': size,
    'expected': float(expected),
    'got': float(got),
    'tolerance': tolerance,
  }
  return row | {'holds': deviation(row) <= tolerance}


def deviation(row: Row) -> float:
  """Returns how far a number came out from the one that was expected."""
  difference = abs(row['got'] - row['expected'])
  return np.inf if np.isnan(difference) else difference


def furthest(a: Any, b: Any) -> float:
  """Returns the largest difference between entries of two trees of arrays."""
  each = jax.tree.map(
    lambda x, y: np.max(np.abs(np.subtract(x, y, dtype=np.float64))), a, b
  )
  return float(np.max(jax.tree.leaves(each)))


def accepted(call: Callable[[], Any]) -> bool:
  """Returns False where a call is refused by a ValueError."""
  try:
    call()
  except ValueError:
    return False
  return True


def count_parameters(model: Any, *shape: int) -> int:
  """Counts the parameters that a model makes for one row of a shape."""
  x = jnp.zeros((1, *shape))
  shapes = jax.eval_shape(model.init, jax.random.key(0), x)
  return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def normal(*shape: int, seed: int = 0) -> jax.Array:
  """Returns random inputs, the same ones in every process."""
  return jax.random.normal(jax.random.key(seed), shape)
