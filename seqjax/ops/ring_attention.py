"""Softmax attention over keys that other devices hold.

Where a window fits into one part, the last keys before a part are sent to it.
Else every device keeps its queries, and reads the keys and values of one device
after the other, in blocks (Liu et al., 2023, "Ring attention with blockwise
transformers for near-infinite context", section 3). What it reads of each is
merged by the logarithms of the sums of exponentials. The derivative sends keys
and values around again, and their gradients with them, until those are back
where they belong. Differentiable as `blockwise_attention` is.

Blocks in which nothing is seen are skipped, but under a causal rule the last
device still computes about twice the mean.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.ops import blockwise_attention as blockwise
from seqjax.ops import finite, halo, over_time
from seqjax.ops.blockwise_attention import LogForget, Places, Rule
from seqjax.typing import Array


def num_hops(rule: Rule, length: int, contiguous: bool) -> int:
  """Returns how many devices before this one hold keys that it may see."""
  others = over_time.num_parts() - 1
  if rule.causal and rule.window is not None and contiguous:
    return min(others, -(-(rule.window - 1) // length))
  return others


def with_keys_before(
  size: int,
  contiguous: bool,
  key: Float[Array, 'B S G K'],
  value: Float[Array, 'B S G V'],
  flaws: finite.Flaws,
  places: tuple[Places, Places],
  log_forget: LogForget | None,
):
  """Puts the last keys of devices before this one beside its own keys.

  Args:
    size: how many.
    contiguous: whether every position has a segment.
    key, value, flaws, places, log_forget: of the keys that all devices have in
      common, and then of this device's.

  Returns:
    The same, with those keys between.
  """
  query_places, key_places = places
  length = query_places.position.shape[1]
  places = key_places._replace(piece=key_places.piece + 1)  # 0: none
  sums = None if log_forget is None else log_forget.key
  keys = key, value, flaws.key, sums, places
  common, own = (
    jax.tree.map(lambda a: a[:, cut], keys)  # noqa: B023
    for cut in (slice(None, -length), slice(-length, None))
  )
  none = jax.tree.map(
    lambda a: jnp.zeros((len(a), size, *a.shape[2:]), a.dtype), own
  )
  valid = None if contiguous else own[-1].piece > 0
  keys = jax.tree.map(
    lambda *parts: jnp.concatenate(parts, axis=1),
    common,
    halo.before_part(none, own, valid),
    own,
  )
  key, value, flaws_of_keys, sums, places = keys
  places = places._replace(piece=places.piece - 1)
  flaws = finite.Flaws(flaws.query, flaws_of_keys)
  log_forget = log_forget and log_forget._replace(key=sums)
  return key, value, flaws, (query_places, places), log_forget


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def ring_attention(
  rule: Rule,
  hops: int,
  num_common: int,
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B S G K'],
  value: Float[Array, 'B S G V'],
  slopes: Float[Array, 'G R'] | None,
  log_forget: LogForget | None,
  query_places: Places,
  key_places: Places,
) -> Float[Array, 'B T H V']:
  """Reads values of all devices for each query of this one.

  Args:
    rule, query, key, value, slopes, log_forget, query_places, key_places: as in
      `blockwise_attention`.
    hops: how many devices before this one are read, in the order of a ring.
    num_common: how many keys, the first ones, all devices have in common: they
      are not sent.
  """
  arguments = query, key, value, slopes, log_forget, query_places, key_places
  read, _ = _forward(rule, hops, num_common, *arguments)
  return read


def _forward(
  rule,
  hops,
  num_common,
  query,
  key,
  value,
  slopes,
  log_forget,
  query_places,
  key_places,
):
  """Returns what is read, and the log-sum over the keys of all devices."""
  sums = log_forget or LogForget(None, None)

  def read(key, value, key_sums, key_places):
    log_forget = _of_both(sums.query, key_sums)
    places = query_places, key_places
    arguments = query, key, value, slopes, log_forget, *places
    read, log_sum = blockwise.forward(rule, *arguments)
    return read.astype(log_sum.dtype), log_sum

  def hop(carry, _):
    held, found = carry
    held = over_time.rotate(held)
    return (held, _merge(found, read(*held))), None

  keys = key, value, sums.key, key_places
  found, held = read(*keys), _own(num_common, keys)
  (_, (y, log_sum)), _ = jax.lax.scan(hop, (held, found), None, length=hops)
  return y.astype(value.dtype), log_sum


def _merge(one, other):
  """Joins what was read of two sets of keys; lowest log-sums: nothing was."""
  total = jnp.logaddexp(one[1], other[1])

  def share(found):
    read, log_sum = found
    return read * jnp.swapaxes(jnp.exp(log_sum - total), 1, 2)[..., None]

  return share(one) + share(other), total


def _save(rule, hops, num_common, *arguments):
  read, log_sum = _forward(rule, hops, num_common, *arguments)
  return read, (*arguments, read, log_sum)


def _backward(rule, hops, num_common, saved, gradient):
  """Adds to the gradients of keys and values wherever they are."""
  query, key, value, slopes, log_forget, *places, y, log_sum = saved
  query_places, key_places = places
  dtype = log_sum.dtype
  sums = log_forget or LogForget(None, None)

  def differentiate(key, value, key_sums, key_places):
    # With the log-sum over all keys, these are shares of the whole gradient.
    log_forget = _of_both(sums.query, key_sums)
    places = query_places, key_places
    arguments = query, key, value, slopes, log_forget, *places
    found = blockwise.backward(rule, (*arguments, y, log_sum), gradient)
    of_sums = found[4] and found[4].key
    found = *found[:3], of_sums
    of_query, *of_keys = jax.tree.map(lambda a: a.astype(dtype), found)
    return of_query, of_keys

  def hop(carry, _):
    of_query, *sent = carry
    held, of_keys = over_time.rotate(sent)
    more, more_of_keys = differentiate(*held)
    of_keys = jax.tree.map(jnp.add, of_keys, more_of_keys)
    return (of_query + more, held, of_keys), None

  keys = key, value, sums.key, key_places
  of_query, of_keys = differentiate(*keys)
  held, of_own = _own(num_common, (keys, of_keys))
  carry = of_query, held, of_own
  (of_query, _, of_own), _ = jax.lax.scan(hop, carry, None, length=hops)
  of_own = over_time.rotate(of_own, -hops)

  def join(like, whole, own):
    whole = jnp.concatenate([whole[:, :num_common], own], axis=1)
    return whole.astype(like.dtype)

  of_key, of_value, of_sums = jax.tree.map(
    join, [key, value, sums.key], of_keys, of_own
  )
  of_slopes = None if slopes is None else jnp.zeros_like(slopes)
  of_query = of_query.astype(query.dtype)
  of_forget = log_forget and LogForget(jnp.zeros_like(sums.query), of_sums)
  return of_query, of_key, of_value, of_slopes, of_forget, None, None


def _of_both(of_queries, of_keys):
  """Returns the sums of gates of both, or None where there are no gates."""
  return None if of_queries is None else LogForget(of_queries, of_keys)


def _own(num_common, tree):
  """Leaves out the keys that all devices have."""
  return jax.tree.map(lambda array: array[:, num_common:], tree)


ring_attention.defvjp(_save, _backward)
