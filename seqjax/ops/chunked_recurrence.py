"""Recurrences in chunks of time, with a derivative of their own.

The inputs of a chunk are projected by one matmul a gate; what remains inside
the loop is the product of state and kernel, and the gates. The derivative walks
back through the gates of a chunk, and then gets the gradients of weights and
inputs from one matmul each, where autodiff of a plain scan adds to the weights'
gradients at every step. Gates are saved where they are small, and computed
again where a long sequence would fill the memory with them (Chen et al., 2016,
"Training deep nets with sublinear memory cost"). Differentiable once in
reverse, and in every mode from there.

The loop over chunks cuts each out of batch-major arrays, with time first for
the loop inside, and pastes what it makes into one that it carries along: XLA
does that in place, where transposing the whole would copy it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, Shaped

from seqjax.ops.cells import Cell
from seqjax.ops.segments import zero_padding
from seqjax.typing import Array, Segments

ROWS = 512  # of a chunk, whose temporaries should fit into a cache
SHORTEST, LONGEST = 32, 256  # chunks, in positions
# Bytes of gates that are saved for the derivative; where there would be more,
# gates are computed again from the state before each chunk. An LSTM of 64
# features takes 2.5 MiB of temporary memory for a batch of 4 and 16,384
# positions, where the derivative of a plain scan takes 224 MiB.
SAVED_BYTES = 32 * 2**20
LARGE_BYTES = 2**19  # of a kernel that is not multiplied as a whole


class Weights(NamedTuple):
  """Blocks along the last axis, one per gate."""

  input: Float[Array, 'D G*H']
  recurrent: Float[Array, 'H G*H']
  bias: Float[Array, 'G*H']
  recurrent_bias: Float[Array, 'G*H'] | None = None


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def unroll(
  cell: Cell,
  weights: Weights,
  state: tuple[Float[Array, 'B H'], ...],
  x: Float[Array, 'B T D'],
  segments: Segments | None = None,
) -> tuple[tuple[Float[Array, 'B H'], ...], Float[Array, 'B T H']]:
  """Returns the state after all positions, and the outputs at all of them.

  Padding, whatever x is there, holds the state, and a start clears it.
  """
  y = _blank_outputs(state, x)
  state, y, _ = _forward_chunks(cell, weights, state, y, x, segments)
  return state, y


class _Trace(NamedTuple):
  """All that a derivative needs of a walk.

  Row t of the gates is that of position t, row t of the states that before it.
  """

  states: tuple[Float[Array, 'T+1 B H'], ...]
  gates: tuple[Float[Array, 'T B H'], ...]

  @property
  def y(self) -> Float[Array, 'B T H']:
    return jnp.swapaxes(self.states[-1][1:], 0, 1)


def _blank_outputs(state, x) -> Float[Array, 'B T H']:
  """Makes outputs to be written over."""
  shape = *x.shape[:2], state[-1].shape[-1]
  return jnp.zeros(shape, state[-1].dtype)


def _blank_trace(cell, state, length: int) -> _Trace:
  """Makes a trace to write over; arrays alike would be one that XLA copies."""
  # Hidden from XLA, which would fill rows around a constant while it compiles.
  state = jax.lax.optimization_barrier(state)

  def rows(number, num_rows):
    return jnp.full((num_rows, *state[-1].shape), number, state[-1].dtype)

  states = tuple(
    rows(i, length + 1).at[0].set(first) for i, first in enumerate(state, 1)
  )
  gates = range(len(state) + 1, len(state) + 1 + cell.num_saved)
  return _Trace(states, tuple(rows(i, length) for i in gates))


def _chunk_size(batch_size: int, length: int) -> int:
  """Positions whose rows make good matmuls of weights and gradients.

  Chunks are all of one size where there is a size like that, since a rest of
  another size is compiled for itself.
  """
  size = min(max(ROWS // max(batch_size, 1), SHORTEST), LONGEST)
  if length < 2 * size:
    return max(length, 1)
  near = range(size - size // 2, size + size // 2)
  even = [number for number in near if length % number == 0]
  return min(even, key=lambda number: abs(number - size), default=size)


def _forward_chunks(cell, weights, state, trace, x, segments):
  """Runs all chunks: the last state, the trace, the states before every chunk.

  The trace may also be the outputs alone.
  """
  batch_size, length = x.shape[:2]

  def chunk(size, carry, begin):
    part = _cut_inputs(x, segments, begin, size)
    return _chunk(cell, weights, *carry, begin, *part), carry[0]

  carry, befores = (state, trace), []
  for size, begins in _chunks(length, _chunk_size(batch_size, length)):
    carry, before = jax.lax.scan(functools.partial(chunk, size), carry, begins)
    befores.append(before)
  return *carry, befores


def _cut_inputs(x, segments, begin, size: int):
  """Returns a chunk of the inputs, zeros at padding, and of the segments."""
  x, masks = _cut((x, segments), begin, size)
  return zero_padding(x, masks), masks


def _chunk(cell, weights, state, trace, begin, x, segments):
  """Forwards through a chunk, written into the trace from `begin` on."""
  # One product of all rows of a chunk: in the loop, the kernel would be read
  # from memory at every position, for a few rows.
  kernels = jnp.split(weights.input, cell.num_gates, axis=1)
  biases = jnp.split(weights.bias, cell.num_gates)
  drives = tuple(
    _matmul(x, kernel, state[-1]) + bias[None, None]
    for kernel, bias in zip(kernels, biases, strict=True)
  )
  products = _products(cell, weights)

  def body(carry, inputs):
    state, trace = carry
    position, drive, masks = inputs
    state = _clear(state, masks)
    after, gates = cell.forward(state, drive, products(state[-1]))
    after = _hold(after, state, masks)
    return (after, _write(trace, position, after, gates)), None

  positions = begin + jnp.arange(len(x), dtype=jnp.int32)
  carry, _ = jax.lax.scan(body, (state, trace), (positions, drives, segments))
  return carry


def _write(trace, position, state, gates):
  """Writes a position into the trace, or into the outputs."""
  put = jax.lax.dynamic_update_index_in_dim
  if not isinstance(trace, _Trace):
    return put(trace, state[-1], position, 1)
  states = zip(trace.states, state, strict=True)
  gates = zip(trace.gates, gates, strict=True)
  return _Trace(
    tuple(put(rows, row, position + 1, 0) for rows, row in states),
    tuple(put(rows, row, position, 0) for rows, row in gates),
  )


def _unroll_forward(cell, weights, state, x, segments):
  num_bytes = x[..., :1].size * weights.bias.size * state[0].dtype.itemsize
  if num_bytes <= SAVED_BYTES:
    blank = _blank_trace(cell, state, x.shape[1])
    state, saved, _ = _forward_chunks(cell, weights, state, blank, x, segments)
    y = saved.y
  else:
    y = _blank_outputs(state, x)
    state, y, saved = _forward_chunks(cell, weights, state, y, x, segments)
  return (state, y), (weights, x, segments, saved)


def _unroll_backward(cell, residuals, gradients):
  """Walks backwards, through the chunks in reverse."""
  weights, x, segments, saved = residuals
  gradient, dy = gradients
  batch_size, length = x.shape[:2]
  accumulate = functools.partial(jnp.zeros_like, dtype=dy.dtype)
  totals = jax.tree.map(accumulate, weights)
  transposed = weights.recurrent.T
  # Where they fit, the gradients of inputs take the place of the outputs' ones.
  fits = (dy.shape, dy.dtype) == (x.shape, x.dtype)
  dx = dy if fits else jnp.zeros_like(x)

  def chunk(size, carry, inputs):
    gradient, totals, dx = carry
    begin, before = inputs
    x_part, masks = _cut_inputs(x, segments, begin, size)
    trace, first = saved, begin
    if before is not None:
      trace, first = _blank_trace(cell, before, size), 0
      _, trace = _chunk(cell, weights, before, trace, first, x_part, masks)
    dy_part = _cut(dx if fits else dy, begin, size)
    seen, of_drive, of_product, gradient = _chunk_backward(
      cell, transposed, trace, first, masks, gradient, dy_part
    )
    totals = jax.tree.map(
      jnp.add, totals, _of_weights(weights, x_part, seen, of_drive, of_product)
    )
    dx_chunk = _matmul(of_drive, weights.input.T, dy)
    return (gradient, totals, _paste(dx, dx_chunk, begin)), None

  carry = gradient, totals, dx
  parts = _chunks(length, _chunk_size(batch_size, length))
  befores = [None] * len(parts) if isinstance(saved, _Trace) else saved
  for (size, begins), before in reversed(
    list(zip(parts, befores, strict=True))
  ):
    carry, _ = jax.lax.scan(
      functools.partial(chunk, size), carry, (begins, before), reverse=True
    )
  gradient, totals, dx = carry
  totals = jax.tree.map(lambda a, w: a.astype(w.dtype), totals, weights)
  return totals, gradient, dx, None


unroll.defvjp(_unroll_forward, _unroll_backward)


def _products(cell, weights) -> Callable:
  """Makes the map from the state that the kernel sees to each gate's product.

  By one matmul, or by one per gate where the kernel is large and there are many
  rows: XLA's matmul then copies the whole kernel into another order first, and
  a gate's part of it stays in the cache.
  """

  def product(kernel, state):
    return _matmul(state, kernel, state)

  def products(state):
    if len(state) > 1 and weights.recurrent.nbytes > LARGE_BYTES:
      parts = [product(kernel, state) for kernel in kernels]
    else:
      parts = jnp.split(
        product(weights.recurrent, state), cell.num_gates, axis=-1
      )
    return [
      part if bias is None else part + bias[None]
      for part, bias in zip(parts, biases, strict=True)
    ]

  kernels = jnp.split(weights.recurrent, cell.num_gates, axis=1)
  biases = [None] * cell.num_gates
  if weights.recurrent_bias is not None:
    biases = jnp.split(weights.recurrent_bias, cell.num_gates)
  return products


def _chunk_backward(cell, transposed, trace, first, segments, gradient, dy):
  """Backwards through a chunk, whose rows of the trace begin with the first.

  Returns the hidden states that the kernel saw, the gradients of drives and of
  products at all positions, and that of the state before the chunk.
  """

  def row(tree, position):
    pick = jax.lax.dynamic_index_in_dim
    return tuple(pick(a, position, keepdims=False) for a in tree)

  # The loop computes gradients of gates alone; those of weights and inputs are
  # products of all rows of the chunk, after it. Autodiff of a scan adds to the
  # gradient of every weight at every position instead.
  def body(gradient, inputs):
    position, masks, dy = inputs
    *others, hidden = gradient
    gradient = *others, hidden + dy
    inner = _hold(gradient, jax.tree.map(jnp.zeros_like, gradient), masks)
    before = _clear(row(trace.states, position), masks)
    after = row(trace.states, position + 1)
    direct, of_product, of_drive = cell.backward(
      before, row(trace.gates, position), after, inner
    )
    *others, hidden = direct
    hidden = hidden + _matmul(of_product, transposed, hidden)
    passed = _hold((*others, hidden), gradient, masks)
    return _clear(passed, masks), (of_product, of_drive)

  positions = first + jnp.arange(len(dy), dtype=jnp.int32)
  gradient, (of_product, of_drive) = jax.lax.scan(
    body, gradient, (positions, segments, dy), reverse=True
  )
  seen = jax.lax.dynamic_slice_in_dim(trace.states[-1], first, len(dy))
  if of_drive is None:
    of_drive = of_product
  return _clear(seen, segments), of_drive, of_product, gradient


def _of_weights(weights, x, states, of_drive, of_product) -> Weights:
  """Gradients of the weights from one chunk, one matmul a kernel."""

  def outer(a, b):
    a, b = (
      c.reshape(-1, c.shape[-1]).astype(weights.input.dtype) for c in (a, b)
    )
    # Transposed beforehand, since XLA's product of a large one is slower.
    a = jax.lax.optimization_barrier(a.T)
    return jnp.matmul(a, b, preferred_element_type=of_drive.dtype)

  return Weights(
    outer(x, of_drive),
    outer(states, of_product),
    jnp.sum(of_drive, axis=(0, 1)),
    None
    if weights.recurrent_bias is None
    else jnp.sum(of_product, axis=(0, 1)),
  )


def _matmul(x, kernel, like):
  """Multiplies in the kernel's precision, sums in that of the state."""
  return jnp.matmul(
    x.astype(kernel.dtype), kernel, preferred_element_type=like.dtype
  )


def _clear(state, masks):
  """Zeros where a segment begins."""
  if masks is None:
    return state
  start = masks.start[..., None]
  return jax.tree.map(lambda a: jnp.where(start, 0, a), state)


def _hold(new, old, masks):
  """Keeps the old state where a position is padding."""
  if masks is None:
    return new
  valid = masks.valid[:, None]
  return jax.tree.map(lambda a, b: jnp.where(valid, a, b), new, old)


def _chunks(length: int, size: int) -> list[tuple[int, Int[Array, 'N']]]:
  """Lists (size, where chunks of that size begin); the rest is smaller."""
  whole = length - length % size
  cuts = []
  if whole:
    cuts.append((size, jnp.arange(0, whole, size, dtype=jnp.int32)))
  if length > whole:
    cuts.append((length - whole, jnp.array([whole], jnp.int32)))
  return cuts


def _cut(tree: Any, begin: int | Int[Array, ''], size: int) -> Any:
  """Cuts positions begin..begin + size of batch-major arrays, time first."""

  def cut_one(a):
    return jnp.swapaxes(jax.lax.dynamic_slice_in_dim(a, begin, size, 1), 0, 1)

  return jax.tree.map(cut_one, tree)


def _paste(
  whole: Shaped[Array, 'B T *D'],
  part: Shaped[Array, 'C B *D'],
  begin: int | Int[Array, ''],
) -> Shaped[Array, 'B T *D']:
  """Writes a time-major part into the batch-major array, from `begin` on."""
  part = jnp.swapaxes(part, 0, 1).astype(whole.dtype)
  return jax.lax.dynamic_update_slice_in_dim(whole, part, begin, 1)
