"""Matrix-valued recurrences by the kernels of jla (jax-linear-attention).

They are written for NVIDIA Hopper, and take queries, keys and values of
bfloat16; elsewhere, and for others, jla computes in chunks as is done here. It
is used only if it is named: it pins the versions of JAX and Python.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.errors import needs
from seqjax.typing import Array, Segments


def gated_outer(
  dtype: jnp.dtype,
  segments: Segments | None,
  carry: Float[Array, 'B H K V'],
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H V'],
  log_decay: Float[Array, 'B T H C'],
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B T H V']]:
  """Computes `linear_attention.gated_outer` of finite operands."""
  kind = 'simple_gla' if log_decay.shape[-1] == 1 else 'gla'
  gates = {'g': _per_head(log_decay)}
  return _run(kind, dtype, segments, carry, query, key, value, gates)


def delta_rule(
  dtype: jnp.dtype,
  segments: Segments | None,
  carry: Float[Array, 'B H K V'],
  query: Float[Array, 'B T H K'],
  key: Float[Array, 'B T H K'],
  value: Float[Array, 'B T H V'],
  beta: Float[Array, 'B T H _'],
  *others: Float[Array, 'B T H _'],
) -> tuple[Float[Array, 'B H K V'], Float[Array, 'B T H V']]:
  """Computes `linear_attention.delta_rule` of finite operands.

  `others` are removal keys, if there are any, and the log decay. Rates per
  channel are, in jla's terms, those of RWKV-7: S_t = D_t S_{t-1} + b_t (a_t^T
  S_{t-1}) + k_t v_t^T.
  """
  *removal, log_decay = others
  if not removal and beta.shape[-1] == 1:
    kind = 'gated_deltanet' if log_decay.shape[-1] == 1 else 'kda'
    gates = {'g': _per_head(log_decay), 'beta': beta[..., 0]}
    return _run(kind, dtype, segments, carry, query, key, value, gates)
  if removal:
    reader, writer = removal[0], beta * removal[0]
  else:
    reader, writer = jnp.exp(log_decay) * key, beta * key
    key = writer
  log_decay = jnp.broadcast_to(log_decay, key.shape)
  gates = {'w': log_decay, 'a': -reader, 'b': writer}
  return _run('rwkv7', dtype, segments, carry, query, key, value, gates)


def _per_head(log_decay):
  return log_decay[..., 0] if log_decay.shape[-1] == 1 else log_decay


def _run(kind, dtype, segments, carry, query, key, value, gates):
  """Calls jla with the dtype that queries, keys and values were given in."""
  with needs('hopper'):
    import jla.ops

  if carry.dtype != jnp.float32:
    raise ValueError(
      "algorithm='jla' computes in float32, but the carry is "
      f"{carry.dtype}; use algorithm='chunked', or a carry of float32."
    )
  ids = None
  if segments is not None:
    ids = jnp.cumsum(segments.start, axis=1, dtype=jnp.int32)
    start = jax.lax.expand_dims(segments.start[:, 0], (1, 2, 3))
    carry = jnp.where(start, jnp.zeros_like(carry), carry)
  with jax.numpy_rank_promotion('allow'):  # which jla relies on
    y, last = jla.ops.linear_attention(
      kind,
      *(array.astype(dtype) for array in (query, key, value)),
      **gates,
      scale=1.0,
      initial_state=carry,
      output_final_state=True,
      segment_ids=ids,
    )
  return last, y.astype(carry.dtype)
