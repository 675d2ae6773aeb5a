"""Causal convolution over the valid positions of a segment."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.ops import checks, halo, over_time
from seqjax.ops.halo import gather
from seqjax.ops.segments import positions, zero_padding
from seqjax.typing import Array, Segments


def causal_convolution_step(
  window: Float[Array, 'B W D'],
  x_t: Float[Array, 'B D'],
  kernel: Float[Array, 'L D E'],
  *,
  dilation: int = 1,
) -> tuple[Float[Array, 'B W D'], Float[Array, 'B E']]:
  """y_t = sum_l x_{t - l dilation} kernel_l; `window` holds the last inputs.

  W = (L - 1) dilation positions are remembered, the most recent last.
  """
  window, x_t, kernel = _checked(
    'causal_convolution_step', window, x_t, kernel, dilation
  )
  seen = jnp.concatenate([window, x_t[:, None].astype(window.dtype)], axis=1)
  taps = seen[:, ::-1][:, ::dilation].astype(kernel.dtype)
  y_t = jnp.einsum(
    'bld,lde->be', taps, kernel, preferred_element_type=window.dtype
  )
  return seen[:, 1:], y_t


def causal_convolution(
  window: Float[Array, 'B W D'],
  x: Float[Array, 'B T D'],
  kernel: Float[Array, 'L D E'],
  segments: Segments | None = None,
  *,
  dilation: int = 1,
) -> tuple[Float[Array, 'B W D'], Float[Array, 'B T E']]:
  """Takes `causal_convolution_step` at every position, one matmul per tap.

  Under segments the valid positions are first moved together, so that a tap
  counts positions of the segment and never padding, and a tap that would reach
  beyond the beginning of its segment reads zero.

  Returns:
    The window after the last position, and the outputs (zero at padding).
  """
  op = 'causal_convolution'
  window, x, kernel = _checked(op, window, x, kernel, dilation)
  segments = checks.segments(op, segments, *x.shape[:2])
  return _convolve(window, x, kernel, segments, dilation, _matmul)


def depthwise_convolution_step(
  window: Float[Array, 'B W D'],
  x_t: Float[Array, 'B D'],
  kernel: Float[Array, 'L D'],
) -> tuple[Float[Array, 'B W D'], Float[Array, 'B D']]:
  """y_t = sum_l x_{t - l} * kernel_l, every feature with taps of its own.

  The last W = L - 1 positions are remembered, the most recent last.
  """
  window, x_t, kernel = _checked(
    'depthwise_convolution_step', window, x_t, kernel
  )
  seen = jnp.concatenate([window, x_t[:, None].astype(window.dtype)], axis=1)
  terms = _multiply(seen[:, ::-1].astype(kernel.dtype), kernel, window.dtype)
  return seen[:, 1:], jnp.sum(terms, axis=1)


def depthwise_convolution(
  window: Float[Array, 'B W D'],
  x: Float[Array, 'B T D'],
  kernel: Float[Array, 'L D'],
  segments: Segments | None = None,
) -> tuple[Float[Array, 'B W D'], Float[Array, 'B T D']]:
  """Takes `depthwise_convolution_step` at every position.

  Segments mean what they mean to `causal_convolution`.

  Returns:
    The window after the last position, and the outputs (zero at padding).
  """
  op = 'depthwise_convolution'
  window, x, kernel = _checked(op, window, x, kernel)
  segments = checks.segments(op, segments, *x.shape[:2])
  return _convolve(window, x, kernel, segments, 1, _multiply)


def add_bias(
  y: Float[Array, 'B *T E'], bias: Float[Array, 'E']
) -> Float[Array, 'B *T E']:
  """Adds a number per feature, in the precision of the bias."""
  bias = jax.lax.expand_dims(bias, range(y.ndim - 1))
  return y.astype(bias.dtype) + bias


def _checked(op, window, x, kernel, dilation=1):
  """Returns the arrays, if they fit each other and the dilation."""
  checks.size(op, 'dilation', dilation)
  taps = 'L D' if op.startswith('depthwise') else 'L D E'
  time = 'B' if op.endswith('_step') else 'B T'
  sizes = {}
  x, kernel = checks.arrays(
    op, sizes, x=(x, f'{time} D', 'real'), kernel=(kernel, taps, 'real')
  )
  checks.size(op, 'the number of taps', len(kernel))
  sizes['W'] = (len(kernel) - 1) * dilation
  (window,) = checks.arrays(op, sizes, window=(window, 'B W D', 'real'))
  return window, x, kernel


def _convolve(window, x, kernel, segments, dilation, product):
  """Returns the sum over taps of `product`, and the window that is left."""
  num_positions, reach = x.shape[1], window.shape[1]
  x = zero_padding(x, segments).astype(window.dtype)
  if segments is None:
    if over_time.is_cut():
      window = halo.before_part(window, x, None)
    seen = jnp.concatenate([window, x], axis=1)
    y = _taps(seen, kernel, dilation, num_positions, product)
    return over_time.from_last(seen[:, num_positions:]), y

  # A segment without a start here continues the window: all taps reach.
  full = jnp.full(x.shape[:1], reach, jnp.int32)
  after, before = positions(full, segments, num_positions)
  if over_time.is_cut():
    window = halo.before_part(window, x, segments.valid)
  order = jnp.argsort(~segments.valid, axis=1, stable=True)
  seen = jnp.concatenate([window, gather(x, order)], axis=1)
  before = gather(before, order)
  y = _taps(seen, kernel, dilation, num_positions, product, before)
  rank = jnp.cumsum(segments.valid, axis=1) - 1
  y = zero_padding(gather(y, jnp.maximum(rank, 0)), segments)

  last = jnp.sum(segments.valid, axis=1)[:, None] + jnp.arange(reach)[None]
  lag = reach - jnp.arange(reach)[None]
  window = jnp.where(
    (lag <= after[:, None])[..., None],
    gather(seen, last),
    jnp.zeros((), seen.dtype),
  )
  return over_time.from_last(window), y


def _taps(seen, kernel, dilation, num_positions, product, before=None):
  """Sums x_{t - l dilation} kernel_l; lags beyond `before` read zero."""
  y = None
  for lag, weight in enumerate(kernel):
    begin = (len(kernel) - 1 - lag) * dilation
    tap = seen[:, begin : begin + num_positions]
    if before is not None:
      reaches = (lag * dilation <= before)[..., None]
      tap = jnp.where(reaches, tap, jnp.zeros((), tap.dtype))
    term = product(tap.astype(kernel.dtype), weight, seen.dtype)
    y = term if y is None else y + term
  return y


def _matmul(tap, weight, dtype):
  """Multiplies so that every output feature reads every input feature."""
  return jnp.matmul(tap, weight, preferred_element_type=dtype)


def _multiply(tap, weight, dtype):
  """Multiplies so that every output feature reads its own input feature."""
  weight = jax.lax.expand_dims(weight, range(tap.ndim - weight.ndim))
  return tap.astype(dtype) * weight.astype(dtype)
