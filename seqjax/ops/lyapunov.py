"""Rates at which neighbouring trajectories of a recurrence part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.ops import checks
from seqjax.typing import Array


def largest_lyapunov_exponent(
  step: Callable[[Any, Any], Any], carry: Any, x: Any
) -> Float[Array, 'B']:
  """lim 1/T log |J_T ... J_1 v|, in nats per step, along the trajectory of x.

  A random tangent v is carried along and scaled to length 1 at every position;
  the estimate is the mean of the logarithms of its lengths before that
  (Benettin et al., 1980), over the second half of the positions, since it first
  has to turn to where it grows most. A position at which it vanishes, a restart
  for one, is left out and a new tangent begins; if no other position is left
  the estimate is -infinity.

  Below zero the recurrence forgets, and `newton.newton` takes few steps; above
  zero it is chaotic, and they approach one per position (Gonzalez et al., 2025,
  "Predictability enables parallelization of nonlinear state space models").
  Positions that hold the state count as those of a recurrence that does.

  Args:
    step: (carry, x_t) -> carry, for which rows are independent of each other.
    carry: the state before the first position; leaves are [B ...], floating.
    x: what `step` reads; leaves are [B T ...], T at least 1.
  """
  op, sizes = 'largest_lyapunov_exponent', {}
  carry = checks.leaves(op, 'carry', carry, 'B', 'real', sizes)
  x = checks.leaves(op, 'x', x, 'B T', 'any', sizes)
  seed = _normalized(_random_like(carry))[0]

  def body(state, x_t):
    carry, tangent = state
    carry, tangent = jax.jvp(lambda c: step(c, x_t), (carry,), (tangent,))
    tangent, length = _normalized(tangent)
    tangent = jax.tree.map(
      lambda new, old: jnp.where(_rows(length > 0, old), new, old),
      tangent,
      seed,
    )
    return (carry, tangent), length

  time_major = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), x)
  _, lengths = jax.lax.scan(body, (carry, seed), time_major)
  lengths = lengths[lengths.shape[0] // 2 :]
  alive = lengths > 0
  total = jnp.sum(jnp.log(jnp.where(alive, lengths, 1)), axis=0)
  count = jnp.sum(alive, axis=0)
  return jnp.where(count > 0, total / jnp.maximum(count, 1), -jnp.inf)


def _random_like(carry):
  leaves, structure = jax.tree.flatten(carry)
  keys = jax.random.split(jax.random.key(0), len(leaves))
  return structure.unflatten(
    jax.random.normal(key, leaf.shape, leaf.dtype)
    for key, leaf in zip(keys, leaves, strict=True)
  )


def _normalized(tangent) -> tuple[Any, Float[Array, 'B']]:
  """Divides each row of a pytree by its length; zeros where it is zero."""
  square = sum(
    jnp.sum(leaf**2, axis=tuple(range(1, leaf.ndim)))
    for leaf in jax.tree.leaves(tangent)
  )
  length = jnp.sqrt(square)
  scale = jnp.where(length > 0, length, 1)
  return jax.tree.map(lambda a: a / _rows(scale, a), tangent), length


def _rows(per_row: Array, like: Array) -> Array:
  """Returns [B] as [B 1 ...], with as many axes as `like`."""
  return jax.lax.expand_dims(per_row, range(1, like.ndim))
