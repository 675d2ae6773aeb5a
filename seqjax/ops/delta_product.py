"""Several delta rules per position, after one decay."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.ops import checks
from seqjax.ops.linear_attention import (
  check_algorithm,
  delta_rule,
  delta_rule_step,
)
from seqjax.typing import Array, Segments


def delta_product_step(
  carry: Float[Array, 'B H K V'],
  query_t: Float[Array, 'B H K'],
  key_t: Float[Array, 'B P H K'],
  value_t: Float[Array, 'B P H V'],
  beta_t: Float[Array, 'B P H'],
  log_decay_t: Float[Array, 'B H'],
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B H V']]:
  """Decays the state, and takes P steps of the delta rule; then it is read."""
  carry, query_t, key_t, value_t, beta_t, log_decay_t = _checked(
    'delta_product_step', carry, query_t, key_t, value_t, beta_t, log_decay_t
  )
  for part in range(key_t.shape[1]):
    log_decay = log_decay_t if part == 0 else jnp.zeros_like(log_decay_t)
    parts = (array[:, part] for array in (key_t, value_t, beta_t))
    carry, y_t = delta_rule_step(carry, query_t, *parts, log_decay)
  return carry, y_t


def delta_product(
  carry: Float[Array, 'B H K V'],
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B T P H K'],
  value: Float[Array, 'B T P H V'],
  beta: Float[Array, 'B T P H'],
  log_decay: Float[Array, 'B T H'],
  segments: Segments | None = None,
  *,
  chunk: int = 64,
  algorithm: str = 'auto',
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B T H V']]:
  """Takes `delta_product_step` at every position.

  S_t = A_tP .. A_t1 exp(log_decay_t) S_{t-1} + what the steps write, with A_ti
  = I - beta_ti k_ti k_ti^T, a product of P generalised Householder matrices
  (Siems et al., 2025, section 3): the delta rule of P T positions, of which
  the first of each P decays and the last is read.

  Args:
    carry: S_0; its dtype is the precision of states, sums and outputs.
    query: q_t.
    key: k_ti, for a stable recurrence of norm at most 1.
    value: v_ti.
    beta: the share corrected, in [0, 1], or to 2 for negative eigenvalues.
    log_decay: at most 0, one per head.
    segments: padding holds the state, a start clears it.
    chunk: how many positions of P T 'chunked' takes at once.
    algorithm: as in `delta_rule`.

  Returns:
    The last state, and y at all positions (zero at padding).
  """
  check_algorithm(algorithm)
  checks.size('delta_product', 'chunk', chunk)
  carry, query, key, value, beta, log_decay = _checked(
    'delta_product', carry, query, key, value, beta, log_decay
  )
  segments = checks.segments('delta_product', segments, *query.shape[:2])
  parts = key.shape[2]

  def alone(array, place):
    """Puts it at one of the parts of its position, and zeros at the others."""
    before = [(0, 0)] * array.ndim
    before.insert(2, (place, parts - 1 - place))
    return jax.lax.collapse(jnp.pad(array[:, :, None], before), 1, 3)

  if segments is not None:
    valid = jnp.repeat(segments.valid, parts, axis=1)
    segments = Segments(alone(segments.start, 0), valid)
  last, y = delta_rule(
    carry,
    alone(query, parts - 1),
    *(jax.lax.collapse(array, 1, 3) for array in (key, value, beta)),
    alone(log_decay, 0),
    segments,
    chunk=chunk,
    algorithm=algorithm,
  )
  return last, y[:, parts - 1 :: parts]


def _checked(op, carry, query, key, value, beta, log_decay):
  """Returns the arrays, if they fit each other and there is a step."""
  time = 'B' if op.endswith('_step') else 'B T'
  sizes = {}
  arrays = checks.arrays(
    op,
    sizes,
    carry=(carry, 'B H K V', 'real'),
    query=(query, f'{time} H K', 'real'),
    key=(key, f'{time} P H K', 'real'),
    value=(value, f'{time} P H V', 'real'),
    beta=(beta, f'{time} P H', 'real'),
    log_decay=(log_decay, f'{time} H', 'real'),
  )
  checks.size(op, 'the number of steps', sizes['P'])
  return arrays
