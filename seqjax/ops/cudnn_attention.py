"""Softmax attention by cuDNN, which knows nothing of what is not finite."""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.ops import finite


def obstacle_to(query, key, bare: bool) -> str | None:
  """Says why cuDNN cannot compute this, or None."""
  if jax.default_backend() != 'gpu':
    return f'needs a GPU, but this is a {jax.default_backend()}'
  if query.dtype not in (jnp.bfloat16, jnp.float16):
    return f'needs bfloat16 or float16, but queries are {query.dtype}'
  if not bare:
    return 'takes no positions, segments, slopes or gates, but some were given'
  if query.shape[1] != key.shape[1] or query.shape[-1] % 8:
    return (
      'needs as many keys as queries and a head size that is a multiple of 8, '
      f'but queries are {query.shape} and keys {key.shape}'
    )
  return None


def cudnn_attention(query, key, value, flaws, causal, window):
  """Reads values for each query, all of one segment, and no others."""
  length, reach = query.shape[1], None
  if window is not None:
    reach = window - 1, 0 if causal else window - 1
  read = jax.nn.dot_product_attention(
    query,
    key,
    value,
    is_causal=causal,
    local_window_size=reach,
    implementation='cudnn',
  )
  before, after = (length, 0 if causal else length) if reach is None else reach
  place = np.arange(length)
  count = jnp.cumsum(flaws.key, axis=1, dtype=jnp.int32)
  count = jnp.pad(count, ((0, 0), (1, 0)))
  seen = (
    count[:, np.minimum(place + after + 1, length)]
    > count[:, np.maximum(place - before, 0)]
  )
  return finite.nan_where(flaws.query | seen, read)
