"""Initialisers that Flax has not: (key, shape, dtype) -> array."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqjax.nn.mixer import carry_dtype


def identity(key, shape, dtype):
  """Returns the identity matrix."""
  return jnp.eye(*shape, dtype=dtype)


def spectral(key, shape, dtype):
  """Returns a Gaussian matrix divided by its largest absolute eigenvalue."""
  kernel = jax.random.normal(key, shape, dtype)
  return kernel / jnp.max(jnp.abs(jnp.linalg.eigvals(kernel)))


def wide(init: Callable) -> Callable:
  """Runs `init` in at least single precision, and rounds at the end."""

  def initialize(key, shape, dtype):
    return init(key, shape, carry_dtype(dtype)).astype(dtype)

  return initialize


@functools.cache
def side_by_side(init: Callable) -> Callable:
  """Draws [.. K G*K] as G square blocks by `init`, one per gate."""

  @functools.partial(jax.jit, static_argnums=(1, 2))  # once, also outside jit
  def initialize(key, shape, dtype):
    *leading, size, width = shape
    keys = jax.random.split(key, math.prod(leading) * (width // size))
    blocks = jax.lax.map(lambda k: init(k, (size, size), dtype), keys)
    blocks = blocks.reshape(*leading, -1, size, size)
    return jnp.moveaxis(blocks, -3, -2).reshape(shape)

  return wide(initialize)  # as decompositions need


def uniform_within(limit: float) -> Callable:
  """Numbers that are uniform between -limit and limit."""

  def initialize(key, shape, dtype):
    return jax.random.uniform(key, shape, dtype, -limit, limit)

  return wide(initialize)


def log_uniform(low: float, high: float) -> Callable:
  """Logarithms that are uniform between those of `low` and `high`."""

  def initialize(key, shape, dtype):
    low_log, high_log = math.log(low), math.log(high)
    return jax.random.uniform(key, shape, dtype, low_log, high_log)

  return wide(initialize)


@wide
def step_bias(key, shape, dtype):
  """Inverts softplus at steps log-uniform between 0.001 and 0.1."""
  step = jnp.exp(log_uniform(1e-3, 1e-1)(key, shape, dtype))
  return step + jnp.log(-jnp.expm1(-step))


def log_of_uniform(low: float, high: float) -> Callable:
  """Logarithms of rates that are uniform between `low` and `high`."""

  def initialize(key, shape, dtype):
    # Zero, which has no logarithm, must not be drawn.
    smallest = max(low, float(jnp.finfo(dtype).tiny))
    return jnp.log(jax.random.uniform(key, shape, dtype, smallest, high))

  return wide(initialize)


def log_counts(key, shape, dtype):
  """Returns log 1, log 2, .. log N along the last axis."""
  counts = jnp.arange(1, shape[-1] + 1, dtype=carry_dtype(dtype))
  return jnp.broadcast_to(jnp.log(counts), shape).astype(dtype)


@wide
def griffin_logit(key, shape, dtype):
  """Draws logits of decays a = sigmoid(logit); a^8 is uniform in 0.9..0.999."""
  power = jax.random.uniform(key, shape, dtype, minval=0.9, maxval=0.999)
  log_decay = jnp.log(power) / 8
  return log_decay - jnp.log(-jnp.expm1(log_decay))


@wide
def ring_logit(key, shape, dtype):
  """Draws logits of decays a = sigmoid(logit); a^2 is uniform, a in 0.9..0.999.

  As in `rnn_param_init` of google-deepmind/recurrentgemma.
  """
  square = jax.random.uniform(key, shape, dtype, minval=0.9**2, maxval=0.999**2)
  log_decay = jnp.log(square) / 2
  return log_decay - jnp.log(-jnp.expm1(log_decay))


def spread_forget_bias(head_size: int) -> Callable:
  """Biases from 5 down to -7 in every head, by the power 0.3 of their place.

  That of a lone block in NX-AI/xlstm (`powerlaw_blockdependent`), which spreads
  how long the numbers of a head remember.
  """

  def initialize(key, shape, dtype):
    place = jnp.arange(head_size, dtype=dtype) / max(head_size - 1, 1)
    return jnp.tile(5 - 12 * place**0.3, shape[0] // head_size)

  return wide(initialize)


def ring(
  r_min: float, r_max: float, max_phase: float
) -> tuple[Callable, Callable]:
  """Makes initializers of nu and theta: exp(-exp(nu) + i exp(theta)) on a ring.

  |lambda|^2 is uniform in r_min^2..r_max^2, the phase in 0..max_phase (Orvieto
  et al., 2023, lemma 3.2).
  """

  def positive_uniform(key, shape, dtype):
    # Its logarithm is taken, so zero must not be drawn.
    return jax.random.uniform(key, shape, dtype, jnp.finfo(dtype).tiny)

  def init_nu(key, shape, dtype):
    uniform = positive_uniform(key, shape, dtype)
    squares = r_min**2 + (r_max**2 - r_min**2) * uniform
    # A sum that rounds to one has no logarithm of its logarithm.
    squares = jnp.minimum(squares, 1 - jnp.finfo(dtype).epsneg)
    return jnp.log(-jnp.log(squares) / 2)

  def init_theta(key, shape, dtype):
    return jnp.log(max_phase * positive_uniform(key, shape, dtype))

  return wide(init_nu), wide(init_theta)
