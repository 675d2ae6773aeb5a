"""h_t = a_t h_{t-1} + b_t over a batch of sequences, in JAX."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.peers import contestant
from experiments.peers.contestant import Makers
from seqjax.ops import linear_recurrence as linear


def contestants(
  work: str, *, batch_size: int, features: int, length: int
) -> Makers:
  """Returns what makes each contestant; ours with every algorithm it has."""
  decay_key, drive_key = jax.random.split(jax.random.key(0))
  shape = batch_size, length, features
  # Rounds multiply inputs by up to 1.2, and decays must stay below 1.
  decay = jax.random.uniform(decay_key, shape, minval=0.5, maxval=0.8)
  drive = jax.random.normal(drive_key, shape)
  functions = {
    'seqjax': _seqjax('auto'),
    **{f'seqjax {a}': _seqjax(a) for a in linear.ALGORITHMS if a != 'auto'},
    'jax.lax.associative_scan': _associative_scan,
    'jax.lax.scan': _scan,
  }
  return {
    name: functools.partial(
      contestant.differentiable, work, function, (decay, drive), _read
    )
    for name, function in functions.items()
  }


def _read(decay, drive):
  return {'decay': decay, 'drive': drive}


def _seqjax(algorithm: str) -> Callable:
  def forward(decay, drive):
    carry = jnp.zeros_like(drive[:, 0])
    return linear.linear_recurrence(carry, decay, drive, algorithm=algorithm)[1]

  return forward


def _associative_scan(decay, drive):
  def compose(earlier, later):
    decay_1, drive_1 = earlier
    decay_2, drive_2 = later
    return decay_1 * decay_2, decay_2 * drive_1 + drive_2

  return jax.lax.associative_scan(compose, (decay, drive), axis=1)[1]


def _scan(decay, drive):
  def step(state, coefficients):
    decay_t, drive_t = coefficients
    state = decay_t * state + drive_t
    return state, state

  time_major = jnp.swapaxes(decay, 0, 1), jnp.swapaxes(drive, 0, 1)
  _, states = jax.lax.scan(step, jnp.zeros_like(drive[:, 0]), time_major)
  return jnp.swapaxes(states, 0, 1)
