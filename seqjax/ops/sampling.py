"""The next token, drawn from logits."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from seqjax.ops import checks
from seqjax.typing import Array

NO_TOKEN = -1  # drawn where logits are not numbers


def sample(
  key: jax.Array,
  logits: Float[Array, 'B C'],
  *,
  temperature: float | Float[Array, ''] = 1.0,
  top_k: int | None = None,
  top_p: float | Float[Array, ''] | None = None,
) -> Int[Array, 'B']:
  """Draws from softmax(logits / temperature), cut to its likeliest tokens.

  Temperature 0 takes the likeliest; NO_TOKEN is drawn where a logit is NaN.
  `top_k` and `top_p` are those of `likeliest`, in at least float32.
  """
  (logits,) = checks.arrays('sample', logits=(logits, 'B C', 'real'))
  checks.fraction('sample', 'temperature', temperature, math.inf)
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  scale = jnp.asarray(temperature, logits.dtype).reshape(())
  logits = logits / jnp.where(scale > 0, scale, 1)

  def draw():
    cut = likeliest(logits, top_k, top_p)
    return jax.random.categorical(key, cut).astype(jnp.int32)

  def take():  # without the cost of random numbers
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)

  token = jax.lax.cond(scale > 0, draw, take)
  return jnp.where(jnp.any(jnp.isnan(logits), axis=-1), NO_TOKEN, token)


def likeliest(
  logits: Float[Array, 'B C'],
  top_k: int | None = None,
  top_p: float | Float[Array, ''] | None = None,
) -> Float[Array, 'B C']:
  """Logits with -inf for all but the likeliest tokens; of equals the first.

  `top_k` keeps k tokens. Of what that leaves, `top_p` keeps the nucleus, the
  fewest tokens whose probability reaches p (Holtzman et al., 2020, eq. 2), one
  at least. A sum reaches p if it is smaller by no more than rounding: half the
  spacing of floats at p, and 4e-6 of the smaller of p and 1 - p.
  """
  (logits,) = checks.arrays('likeliest', logits=(logits, 'B C', 'real'))
  if top_k is None and top_p is None:
    return logits
  if top_k is not None:
    checks.size('likeliest', 'top_k', top_k)
  if top_p is not None:
    checks.fraction('likeliest', 'top_p', top_p)
  order = jnp.argsort(logits, axis=-1, stable=True, descending=True)
  ranked = jnp.take_along_axis(logits, order, axis=-1)
  if top_k is not None:
    beyond = jnp.arange(logits.shape[-1])[None] >= top_k
    ranked = jnp.where(beyond, -jnp.inf, ranked)
  if top_p is not None:
    ranked = jnp.where(_nucleus(ranked, top_p), ranked, -jnp.inf)
  rank = jnp.argsort(order, axis=-1)
  return jnp.take_along_axis(ranked, rank, axis=-1)


def _nucleus(
  ranked: Float[Array, 'B C'], top_p: float | Float[Array, '']
) -> Bool[Array, 'B C']:
  """Marks the fewest tokens whose probability reaches p; likeliest come first.

  A token is kept if those before it do not reach p, or, which is the same, if
  it and those after it hold more than 1 - p. The smaller of the two sides is
  summed, as a sum is rounded in proportion to itself: near p = 1 the tail is
  far below the rounding of a sum near 1.
  """
  ranked = ranked.astype(jnp.promote_types(ranked.dtype, jnp.float32))
  eps = jnp.finfo(ranked.dtype).eps
  # Relative to the likeliest: equal tokens are ones, whose sums are exact.
  mass = jnp.exp(ranked - ranked[:, :1])
  p = jnp.asarray(top_p, ranked.dtype)
  head = p <= 0.5
  summed = jnp.cumsum(jnp.where(head, mass, jnp.flip(mass, axis=-1)), axis=-1)
  before = jnp.pad(summed, ((0, 0), (1, 0)))[:, :-1]
  after, total = jnp.flip(summed, axis=-1), summed[:, -1:]
  # What sums may be off by, and p itself: 7 times 0.02 reaches 0.14.
  slack = (2 + math.log2(ranked.shape[-1])) * eps
  unreached = before < p * (1 - slack) * total
  beyond = after > ((1 - p) * (1 + slack) + eps / 4) * total
  first = jnp.arange(ranked.shape[-1])[None] == 0
  return first | jnp.where(head, unreached, beyond) | (p >= 1)
