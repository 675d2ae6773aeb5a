"""Norms of gradients through time, by the number of positions between."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

from seqjax.nn.mixer import CausalMixer
from seqjax.ops import lyapunov
from seqjax.typing import Array


class LogNorms(NamedTuple):
  """Logarithms of Frobenius norms, in nats; entry l - 1 is that of lag l.

  Attributes:
    state: of dy_T/dh_{T-l}, where h is all that the mixer carries. Where the
      output is the state, as in Elman networks and GRUs, it is dh_T/dh_{T-l}.
    inputs: of dy_T/dx_{T-l}.
  """

  state: Float[Array, ' L']
  inputs: Float[Array, ' L']


def log_norms(
  mixer: CausalMixer, variables: Any, x: Float[Array, 'T D']
) -> LogNorms:
  """Measures how the last output's gradients shrink or grow with the lag.

  The Jacobian of all outputs is pulled back through `step`, position after
  position, and divided by its norm each time, so that nothing underflows: an
  Elman network loses a factor of 1e-50 in 200 positions. A norm of exactly zero
  is -infinity, as beyond the window of a convolution.

  Args:
    mixer: any that streams.
    variables: its parameters.
    x: the inputs of one sequence, of at least two positions.

  Returns:
    Norms for lags 1 to T - 1.

  Raises:
    ValueError: there are fewer than two positions.
  """
  if len(x) < 2:
    raise ValueError(
      f'A lag needs two positions, but x has {len(x)}; give a longer sequence.'
    )
  x = x[:, None]

  def forward(carry, x_t):
    return _step(mixer, variables, carry, x_t)[0], carry

  last, before = jax.lax.scan(forward, mixer.initialize_carry(1), x[:-1])

  def output(parts):
    return _step(mixer, variables, _with_real_parts(last, parts), x[-1])[1]

  y, pull = jax.vjp(output, _real_parts(last))
  (to_state,) = jax.vmap(pull)(jnp.eye(y.size, dtype=y.dtype)[:, None])
  to_state, total = _normalized(to_state)

  def back(state, at):
    to_state, total = state
    carry, x_t = at

    def read(parts, x_t):
      carry_t = _with_real_parts(carry, parts)
      return _real_parts(_step(mixer, variables, carry_t, x_t)[0])

    _, pull = jax.vjp(read, _real_parts(carry), x_t)
    before, to_x = jax.vmap(pull)(to_state)
    found = LogNorms(total, total + _normalized([to_x])[1])
    before, change = _normalized(before)
    return (before, total + change), found

  _, found = jax.lax.scan(
    back, (to_state, total), (before, x[:-1]), reverse=True
  )
  return jax.tree.map(lambda norms: norms[::-1], found)


def lyapunov_exponent(
  mixer: CausalMixer, variables: Any, x: Float[Array, 'T D']
) -> Float[Array, '']:
  """Estimates the rate of `log_norms` forwards, with one tangent vector."""
  carry = mixer.initialize_carry(1)

  def step(parts, x_t):
    carry_t = _with_real_parts(carry, parts)
    return _real_parts(_step(mixer, variables, carry_t, x_t)[0])

  (exponent,) = lyapunov.largest_lyapunov_exponent(
    step, _real_parts(carry), x[None]
  )
  return exponent


def rates(
  lags: Num[Array | np.ndarray, ' L'],
  log_norms: Float[Array | np.ndarray, 'S L'],
) -> Float[np.ndarray, ' S']:
  """Fits a line to each seed's logarithms by least squares.

  Returns:
    Slopes in nats per step: below zero gradients vanish, above they explode.
  """
  lags = np.asarray(lags, np.float64)
  centred = lags - lags.mean()
  return np.asarray(log_norms, np.float64) @ centred / (centred @ centred)


def _step(mixer, variables, carry, x_t):
  return mixer.apply(variables, carry, x_t, method='step')


def _real_parts(carry: Any) -> list[Array]:
  """Lists a carry's real numbers: two arrays for a complex leaf."""
  parts = []
  for leaf in jax.tree.leaves(carry):
    if jnp.iscomplexobj(leaf):
      parts += [leaf.real, leaf.imag]
    elif jnp.issubdtype(leaf.dtype, jnp.floating):
      parts.append(leaf)
  return parts


def _with_real_parts(carry: Any, parts: list[Array]) -> Any:
  """Puts real numbers back into a carry, whose counters stay."""
  left: Iterator[Array] = iter(parts)

  def put(leaf):
    if jnp.iscomplexobj(leaf):
      return jax.lax.complex(next(left), next(left))
    return next(left) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

  return jax.tree.map(put, carry)


def _normalized(parts: list[Array]) -> tuple[list[Array], Float[Array, '']]:
  """Divides arrays by their common norm; returns its logarithm too."""
  largest = jnp.max(jnp.stack([jnp.max(jnp.abs(part)) for part in parts]))
  scale = jnp.where(largest > 0, largest, 1)  # squares of 1e-20 underflow
  norm = jnp.sqrt(sum(jnp.sum((part / scale) ** 2) for part in parts))
  parts = [part / scale / jnp.where(norm > 0, norm, 1) for part in parts]
  return parts, jnp.log(scale) + jnp.log(norm)
