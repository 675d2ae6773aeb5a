"""Costs of decoding: bytes that a stream holds, seconds that a step takes."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.analysis import timing
from seqjax.models import Seq2Seq, specs
from seqjax.nn.mixer import StreamingLayer


def carry_bytes(
  model: StreamingLayer | Seq2Seq,
  batch_size: int = 1,
  *,
  source_length: int = 1,
) -> int:
  """The bytes of a carry, which no number of positions changes.

  Args:
    model: a mixer or a model that streams.
    batch_size: sequences at once.
    source_length: how many positions a Seq2Seq has read before it writes; one
      with attention keeps something of each.
  """
  if isinstance(model, Seq2Seq):
    source = specs.shapes(model.input, batch_size, source_length)
    encode = functools.partial(model.init_with_output, method='encode')
    carry, _ = jax.eval_shape(encode, jax.random.key(0), source)
  else:
    carry = jax.eval_shape(lambda: model.initialize_carry(batch_size))
  return sum(
    math.prod(leaf.shape) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(carry)
  )


def seconds_per_token(
  models: Mapping[str, StreamingLayer],
  *,
  batch_size: int = 1,
  length: int = 0,
  num_tokens: int = 32,
  rounds: int = timing.MIN_ROUNDS,
) -> dict[str, timing.Timing]:
  """Times decoding, side by side; seconds and FLOPs are those of one token.

  Steps are taken on random inputs, not on outputs, so that mixers can be timed
  as well as models, under random parameters and from a random carry: what a
  step costs depends on the shapes of these alone.

  Args:
    models: mixers or models by name, unbound.
    batch_size: sequences at once; a token is one position of all of them.
    length: how many positions they have read.
    num_tokens: how many tokens a timed call takes, so that launching it costs
      nothing beside them.
    rounds: as in `timing.compare`.
  """
  contestants = {}
  for name, model in models.items():
    shapes = decoding_shapes(model, batch_size, num_tokens)
    arguments = _arguments(model, shapes, length)
    contestants[name] = functools.partial(decode, model), arguments
  timings = timing.compare(contestants, rounds=rounds)
  return {name: _of_one(t, num_tokens) for name, t in timings.items()}


def decode(
  model: StreamingLayer, variables: Any, carry: Any, x: Any
) -> tuple[Any, Any]:
  """Takes a step for each entry of x, whose first axis is time."""

  def step(carry, x_t):
    return model.apply(variables, carry, x_t, method='step')

  return jax.lax.scan(step, carry, x)


def decoding_shapes(
  model: StreamingLayer, batch_size: int, num_tokens: int
) -> tuple[Any, Any, jax.ShapeDtypeStruct]:
  """Gives the shapes of parameters, carry and inputs for `decode`."""
  spec = specs.read_by(model)
  x_t = specs.shapes(spec, batch_size)
  carry = jax.eval_shape(lambda: model.initialize_carry(batch_size))

  def init(key, carry, x_t):
    return model.init(key, carry, x_t, method='step')

  variables = jax.eval_shape(init, jax.random.key(0), carry, x_t)
  x = specs.shapes(spec, num_tokens, batch_size)
  return variables, carry, x


def filled(shapes: Any, count: int) -> Any:
  """Arrays of these shapes: numbers of the size of activations, and counters.

  Matrices are scaled by their inputs, as initialisers do it.
  """
  rng = np.random.default_rng(0)

  def fill(leaf):
    if jnp.issubdtype(leaf.dtype, jnp.integer):
      return jnp.full(leaf.shape, count, leaf.dtype)
    numbers = rng.standard_normal(leaf.shape, np.float32)
    return jnp.asarray(numbers / np.sqrt(leaf.shape[0]), leaf.dtype)

  return jax.tree.map(fill, shapes)


def _arguments(model, shapes, length: int) -> tuple:
  """Makes the arrays to time, all filled, tokens from the vocabulary."""
  variables, carry, x = filled(shapes, length)
  if jnp.issubdtype(x.dtype, jnp.integer):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(model.input.vocab, size=x.shape), x.dtype)
  return variables, carry, x


def _of_one(measured: timing.Timing, num_tokens: int) -> timing.Timing:
  seconds = tuple(s / num_tokens for s in measured.seconds)
  flops = measured.flops and measured.flops // num_tokens
  return measured._replace(seconds=seconds, flops=flops)
