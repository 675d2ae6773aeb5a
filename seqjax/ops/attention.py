"""Softmax attention; a cache is just more keys.

A query that is not finite gets NaN in all heads, and so does a query that sees
a key or value that is not finite. No other output or gradient becomes NaN:
entries that are not finite are replaced by zero before products with masked
weights, where zero times NaN would be NaN.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from seqjax.ops import algorithms, checks, finite, over_time
from seqjax.ops import cudnn_attention as cudnn
from seqjax.ops.blockwise_attention import (
  LogForget,
  Places,
  Rule,
  blockwise_attention,
  by_group,
  see,
)
from seqjax.ops.cotangents import change_cotangents
from seqjax.ops.ring_attention import (
  num_hops,
  ring_attention,
  with_keys_before,
)
from seqjax.typing import Array

ALGORITHMS = ('auto', 'plain', 'blockwise', 'cudnn')
BLOCK = 128  # queries, and keys, whose logits should fit into a cache


def no_flaws(
  query: Float[Array, 'B T *H'], key: Float[Array, 'B S *G']
) -> finite.Flaws:
  """Says that nothing has a flaw which could reach what must not see it."""
  return finite.Flaws(*(jnp.zeros(a.shape[:2], bool) for a in (query, key)))


def attention(
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B S G K'],
  value: Float[Array, 'B S G V'],
  *,
  query_positions: Int[Array, 'B T'] | None = None,
  key_positions: Int[Array, 'B S'] | None = None,
  query_segments: Int[Array, 'B T'] | None = None,
  key_segments: Int[Array, 'B S'] | None = None,
  causal: bool = True,
  window: int | None = None,
  slopes: Float[Array, 'H'] | None = None,
  log_forget: LogForget | None = None,
  flaws: finite.Flaws | None = None,
  algorithm: str = 'auto',
) -> Float[Array, 'B T H V']:
  """Computes softmax(Q K^T / sqrt(K)) V (Vaswani et al., 2017, eq. 1).

  H is a multiple of G: H / G consecutive heads share a key and a value head
  (Ainslie et al., 2023).

  Where positions are cut over devices, the last T of the keys are those of the
  queries' positions, and others before them, such as a cache, are equal on all
  devices. Keys of other devices travel: the last ones alone if the window fits
  into one part, else all of them around a ring, in blocks. Positions count what
  has a segment.

  Args:
    query, key, value: what attends, to what, and what it reads.
    query_positions, key_positions: positions within the segment, by which
      `causal`, `window` and `slopes` are applied. None: 0, 1, 2 ...
    query_segments, key_segments: the segment each belongs to, -1 where there is
      none (padding, an empty slot of a cache); None means one segment.
    causal: whether a query sees no position after its own.
    window: how many positions a query sees, its own included, to the left and,
      where not `causal`, to the right: `local_window_size=(window - 1, window -
      1)` of `jax.nn.dot_product_attention`; None: all.
    slopes: what a head's logits lose with every position of distance, to either
      side (Press et al., 2022, section 3); constants; None: nothing.
    log_forget: sums of the logarithms of forget gates, by which a logit loses
      those of the positions after the key, up to the query (Lin et al., 2025,
      section 3); None: nothing.
    flaws: masks of the queries, and of the keys or values, that were not
      finite. For callers that have already replaced those by finite numbers, or
      know that everything that a query does not see is finite. None: computed
      here, which costs about a twentieth of the time.
    algorithm: 'plain' holds all T x S logits and is differentiable in every
      mode; 'blockwise' holds O(T) numbers; 'cudnn' is that of
      `jax.nn.dot_product_attention` for sequences without segments, positions
      and slopes, in half precision on NVIDIA GPUs; 'auto' takes it there,
      'blockwise' where there is more than one block, 'plain' otherwise.

  Returns:
    What each query reads; zeros where it sees nothing.

  Raises:
    ValueError: the algorithm is unknown, or cannot do this here.
  """
  check_algorithm(algorithm)
  (
    query,
    key,
    value,
    query_positions,
    key_positions,
    query_segments,
    key_segments,
    slopes,
  ) = checks.arrays(
    'attention',
    query=(query, 'B T H K', 'real'),
    key=(key, 'B S G K', 'real'),
    value=(value, 'B S G V', 'real'),
    query_positions=(query_positions, 'B T', 'integer'),
    key_positions=(key_positions, 'B S', 'integer'),
    query_segments=(query_segments, 'B T', 'integer'),
    key_segments=(key_segments, 'B S', 'integer'),
    slopes=(slopes, 'H', 'real'),
  )
  log_forget = _checked_sums(log_forget, query, key)
  if window is not None:
    checks.size('attention', 'window', window)
  if query.shape[2] % max(key.shape[2], 1):
    raise ValueError(
      'attention shares each head of keys among as many heads of queries, but '
      f'{query.shape[2]} heads of queries and {key.shape[2]} of keys were '
      'given; make the former a multiple of the latter.'
    )
  bare = (
    slopes is None
    and log_forget is None
    and all(
      array is None
      for array in (
        query_positions,
        key_positions,
        query_segments,
        key_segments,
      )
    )
  )
  obstacle = cudnn.obstacle_to(query, key, bare)
  if over_time.is_cut():
    obstacle = 'reads whole rows, but positions are cut over devices'
  if algorithm == 'cudnn' and obstacle:
    raise ValueError(
      f"algorithm='cudnn' {obstacle}; there are 'blockwise' and 'plain', and "
      "'auto' chooses."
    )
  if query.size == 0 or key.size == 0:
    return jnp.zeros((*query.shape[:-1], value.shape[-1]), value.dtype)
  if flaws is None:
    query, key, value, flaws, log_forget = _without_flaws(
      query, key, value, log_forget
    )
  if algorithm == 'cudnn' or (algorithm == 'auto' and not obstacle):
    return cudnn.cudnn_attention(query, key, value, flaws, causal, window)
  places = (
    _places(query_positions, query_segments, query),
    _places(key_positions, _key_pieces(query_segments, key_segments), key),
  )
  rule = Rule(causal, window, BLOCK)
  if over_time.is_cut():
    if key.shape[1] < query.shape[1]:
      over_time.check_whole('attention to fewer keys than there are queries')
    contiguous = query_segments is None
    if not (causal and window is not None and window <= query.shape[1] + 1):
      hops = num_hops(rule, query.shape[1], contiguous)
      arguments = query, key, value, slopes, log_forget, flaws, *places
      return _ring(rule, hops, *arguments)
    key, value, flaws, places, log_forget = with_keys_before(
      window - 1, contiguous, key, value, flaws, places, log_forget
    )
  if algorithm == 'auto':
    large = query.shape[1] > BLOCK and key.shape[1] > BLOCK
    algorithm = 'blockwise' if large else 'plain'
  read = _blockwise if algorithm == 'blockwise' else _plain
  return read(rule, query, key, value, slopes, log_forget, flaws, *places)


def check_algorithm(algorithm: str):
  """Raises ValueError unless `algorithm` is one of ALGORITHMS."""
  algorithms.check_algorithm(algorithm, ALGORITHMS)


def _checked_sums(log_forget, query, key):
  """Returns the sums as JAX arrays, one per head and position, or None."""
  if log_forget is None:
    return None
  checks.fields('attention', 'log_forget', log_forget, LogForget)
  batch_size, length, heads = query.shape[:3]
  sizes = {'B': batch_size, 'T': length, 'S': key.shape[1], 'H': heads}
  return LogForget(
    *checks.arrays(
      'attention',
      sizes,
      **{
        'log_forget.query': (log_forget[0], 'B T H', 'real'),
        'log_forget.key': (log_forget[1], 'B S H', 'real'),
      },
    )
  )


def _without_flaws(query, key, value, log_forget=None):
  """Replaces what is not finite, in any head, by zero; also marks it."""
  lost = jnp.any(finite.flawed(query), axis=-1)
  flawed = jnp.any(finite.flawed(key, value), axis=-1)
  if log_forget is not None:
    lost, flawed = (
      mask | finite.flawed(sums)
      for mask, sums in zip((lost, flawed), log_forget, strict=True)
    )
    log_forget = LogForget(
      finite.zero_where(lost, log_forget.query),
      finite.zero_where(flawed, log_forget.key),
    )
  return (
    finite.zero_where(lost, query),
    finite.zero_where(flawed, key),
    finite.zero_where(flawed, value),
    finite.Flaws(lost, flawed),
    log_forget,
  )


def _key_pieces(query_segments, key_segments):
  """Puts all keys into one segment, or none, if queries have no segments."""
  if key_segments is None or query_segments is not None:
    return key_segments
  return jnp.minimum(key_segments, 0)


def _places(positions, pieces, x) -> Places:
  """Positions and segments of x, counted and of one segment if not given."""
  batch_size, length = x.shape[:2]
  if positions is None:
    positions = jnp.arange(length, dtype=jnp.int32)[None]
    positions = positions + over_time.offset(length)
    positions = jnp.broadcast_to(positions, (batch_size, length))
  if pieces is None:
    pieces = jnp.zeros((batch_size, length), jnp.int32)
  return Places(positions, pieces)


def _plain(
  rule, query, key, value, slopes, log_forget, flaws, query_places, key_places
):
  """Computes all logits at once."""
  visible = see(rule, query_places, key_places)
  groups, sums = key.shape[2], ()
  if log_forget is not None:  # of queries, what no weight depends on
    of_query, *sums = log_forget
    of_query = jax.lax.stop_gradient(by_group(of_query, groups))

  def read(query, key, value, *sums):
    wide = jnp.promote_types(query.dtype, jnp.float32)
    logits = _times_keys(_heads_first(query, groups), key, wide)
    if slopes is not None:
      logits -= _slopes(slopes, logits, query_places, key_places)
    for of_key in sums:
      of_key = by_group(of_key, groups)[..., None, :]
      logits += (of_query[..., None] - of_key).astype(logits.dtype)
    return _read(logits, visible, value)

  return _without_spreading(read, visible, flaws, query, (key, value, *sums))


def _slopes(slopes, logits, query_places, key_places):
  """Returns what logits [B G R T S] lose by distance."""
  distance = query_places.position[:, :, None] - key_places.position[:, None]
  slopes = jax.lax.stop_gradient(jnp.asarray(slopes, logits.dtype))
  slopes = slopes.reshape(1, logits.shape[1], -1, 1, 1)
  return slopes * jnp.abs(distance)[:, None, None].astype(logits.dtype)


def _blockwise(
  rule, query, key, value, slopes, log_forget, flaws, query_places, key_places
):
  """Computes block by block; filling in the last ones is seen by none."""
  query, key, slopes = _marked(query, key, slopes, flaws)
  read = blockwise_attention(
    rule,
    _fill(query),
    _fill(key),
    _fill(value),
    slopes,
    jax.tree.map(_fill, log_forget),
    Places(*(_fill(a, -1) for a in query_places)),
    Places(*(_fill(a, -1) for a in key_places)),
  )
  return read[:, : query.shape[1]]


def _ring(
  rule,
  hops,
  query,
  key,
  value,
  slopes,
  log_forget,
  flaws,
  query_places,
  key_places,
):
  """Computes block by block, of the keys of all devices."""
  query, key, slopes = _marked(query, key, slopes, flaws)
  length = query.shape[1]
  num_common = key.shape[1] - length

  def fill(array, value=0):
    common, own = array[:, :num_common], array[:, num_common:]
    return jnp.concatenate([_fill(common, value), _fill(own, value)], axis=1)

  read = ring_attention(
    rule,
    hops,
    num_common + -num_common % BLOCK,
    _fill(query),
    fill(key),
    fill(value),
    slopes,
    log_forget and LogForget(_fill(log_forget.query), fill(log_forget.key)),
    Places(*(_fill(a, -1) for a in query_places)),
    Places(*(fill(a, -1) for a in key_places)),
  )
  return read[:, :length]


def _marked(query, key, slopes, flaws):
  """Puts NaN where there were flaws, and slopes by heads of keys."""
  if slopes is not None:
    slopes = jnp.asarray(slopes).reshape(key.shape[2], -1)
  query, key = (
    array + jnp.where(flaw, jnp.nan, 0).astype(array.dtype)[..., None, None]
    for array, flaw in zip((query, key), flaws, strict=True)
  )
  return query, key, slopes


def _heads_first(query, groups: int):
  """Returns scaled queries [B G R T K], contiguous matrices for matmuls.

  On a CPU this more than halves the time.
  """
  batch_size, length, heads, size = query.shape
  query = query.reshape(batch_size, length, groups, heads // groups, size)
  return jnp.transpose(query, (0, 2, 3, 1, 4)) * size**-0.5


def _times_keys(query: Float[Array, 'B G R T K'], key, dtype):
  """Returns the products [B G R T S] of queries and keys."""
  queries = jax.lax.collapse(query, 2, 4)
  if query.shape[3] == 1:  # positions last, as in a cache, or a CPU copies it
    spec, key = 'bgqk,bgks->bgqs', jnp.moveaxis(key, 1, -1)
  else:
    spec, key = 'bgqk,bgsk->bgqs', jnp.swapaxes(key, 1, 2)
  product = jnp.einsum(spec, queries, key, preferred_element_type=dtype)
  return product.reshape(*query.shape[:-1], product.shape[-1])


def _times_values(weights: Float[Array, 'B G R T S'], value, dtype):
  """Returns the sums [B G R T V] of weighted values."""
  rows = jax.lax.collapse(weights, 2, 4)
  if weights.shape[3] == 1:
    spec, value = 'bgqs,bgvs->bgqv', jnp.moveaxis(value, 1, -1)
  else:
    spec, value = 'bgqs,bgsv->bgqv', jnp.swapaxes(value, 1, 2)
  product = jnp.einsum(spec, rows, value, preferred_element_type=dtype)
  return product.reshape(*weights.shape[:-1], product.shape[-1])


def _positions_first(read):
  """Returns [B G R T V] as [B T H V]."""
  batch_size, groups, heads, length, size = read.shape
  read = jnp.transpose(read, (0, 3, 1, 2, 4))
  return read.reshape(batch_size, length, groups * heads, size)


def _fill(x, value=0):
  """Pads positions, up to a multiple of the block."""
  widths = [(0, 0)] * x.ndim
  widths[1] = 0, -x.shape[1] % BLOCK
  return jnp.pad(x, widths, constant_values=value)


def additive_attention(
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B S H K'],
  value: Float[Array, 'B S H V'],
  weight: Float[Array, 'H K'],
  valid: Bool[Array, 'B S'],
) -> Float[Array, 'B T H V']:
  """Sums softmax_s(w^T tanh(q_t + k_s)) v_s (Bahdanau et al., 2015, A.1.2).

  Every head has a weight vector of its own; the paper has one head. Every
  query sees every valid key.

  Returns:
    What each query reads; zeros where no key is valid.
  """
  query, key, value, weight, valid = checks.arrays(
    'additive_attention',
    query=(query, 'B T H K', 'real'),
    key=(key, 'B S H K', 'real'),
    value=(value, 'B S H V', 'real'),
    weight=(weight, 'H K', 'real'),
    valid=(valid, 'B S', 'bool'),
  )
  over_time.check_whole('additive_attention')
  query, key, value, flaws, _ = _without_flaws(query, key, value)
  visible = valid[:, None]

  def read(query, key, value, weight):
    query, key = jnp.swapaxes(query, 1, 2), jnp.swapaxes(key, 1, 2)
    hidden = jnp.tanh(query[:, :, :, None] + key[:, :, None])
    logits = jnp.einsum(
      'bhtsk,hk->bhts',
      hidden,
      weight,
      preferred_element_type=jnp.promote_types(hidden.dtype, jnp.float32),
    )
    return _read(logits[:, :, None], visible, value)

  keys = key, value
  return _without_spreading(read, visible, flaws, query, keys, weight)


def _without_spreading(
  read, visible: Bool[Array, 'B #T S'], flaws, query, keys, *parameters
):
  """Reads; NaN where a query has a flaw, or sees a key or value that has.

  The same of gradients: NaN where an output's cotangent is not finite, for its
  query and for the keys and values that it sees (`keys`, all arrays that have
  their positions); and for parameters.
  """
  marks = finite.no_marks(query, 2)
  spread = functools.partial(_spread_back, len(keys))
  arrays = [query, *keys, *parameters, marks]
  *inputs, tied = change_cotangents(arrays, spread, visible)
  y, _ = change_cotangents([read(*inputs), tied], _mark_cotangents)
  return _put_back(flaws, visible, y)


@jax.jit
def _mark_cotangents(cotangents):
  """Replaces cotangents that are not finite by zero, and marks them."""
  y, marks = cotangents
  lost = jnp.any(finite.not_finite(y), axis=-1)
  y = finite.where_any(lost, lambda y: finite.zero_where(lost, y), y)
  return [y, lost.astype(marks.dtype)]


@functools.partial(jax.jit, static_argnums=0)
def _spread_back(num_keys, cotangents, visible):
  """Makes NaN of the cotangents of what marked outputs depend on."""
  *others, marks = cotangents
  lost = marks > 0

  def spread(query, *others):
    keys, parameters = others[:num_keys], others[num_keys:]
    seen = jnp.any(visible & lost[..., None], axis=1)
    keys = (finite.nan_where(seen, array) for array in keys)
    parameters = (jnp.full_like(array, jnp.nan) for array in parameters)
    return finite.nan_where(lost, query), *keys, *parameters

  return [*finite.where_any(lost, spread, *others), jnp.zeros_like(marks)]


@jax.jit
def _put_back(flaws, visible, y):
  """Makes NaN of outputs whose query has a flaw, or sees one."""

  def put(y):
    lost = flaws.query[..., None] | flaws.key[:, None]
    return finite.nan_where(jnp.any(visible & lost, axis=-1), y)

  return finite.where_any(flaws, put, y)


def _read(
  logits: Float[Array, 'B G R T S'],
  visible: Bool[Array, 'B #T S'],
  value: Float[Array, 'B S G V'],
) -> Float[Array, 'B T _ V']:
  """Reads values weighted by the softmax of the logits of what is visible."""
  weights, total = _unnormalized_softmax(logits, visible)
  read = _times_values(weights.astype(value.dtype), value, logits.dtype)
  return _positions_first(read / total).astype(value.dtype)


def _unnormalized_softmax(
  logits: Float[Array, 'B G R T S'], visible: Bool[Array, 'B #T S']
) -> tuple[Float[Array, 'B G R T S'], Float[Array, 'B G R T 1']]:
  """exp(logits - max) and its sum, to divide by once the values are read.

  Where nothing is visible the weights are zero and the sum is said to be 1.
  """
  lowest = jnp.finfo(logits.dtype).min
  logits = jnp.where(visible[:, None, None], logits, lowest)
  # Half of the lowest: exp() of what is not visible is zero in any row.
  highest = jnp.max(logits, axis=-1, keepdims=True, initial=lowest / 2)
  highest = jax.lax.stop_gradient(highest)
  weights = jnp.exp(logits - highest)
  total = jnp.sum(weights, axis=-1, keepdims=True)
  return weights, jnp.where(total > 0, total, jnp.ones((), total.dtype))
