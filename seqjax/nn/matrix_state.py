"""What mixers share whose heads keep matrices."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.nn.mixer import (
  CausalMixer,
  carry_dtype,
  check_heads,
  check_sizes,
)
from seqjax.ops.linear_attention import check_algorithm
from seqjax.typing import Array


class MatrixStateMixer(CausalMixer):
  """Heads with a state [K V] each, and what goes in and out of them.

  A subclass has the fields `algorithm` (how the op of `ops.linear_attention`
  computes it) and `num_heads`, and `key_size` unless it says K itself.
  """

  def __post_init__(self):
    super().__post_init__()
    check_algorithm(self.algorithm)
    check_heads(self)
    check_sizes(self, 'key_size', 'state_size', 'expand', 'kernel_size', 'rank')

  @property
  def _value_size(self) -> int:
    return self.features // self.num_heads

  @property
  def _key_size(self) -> int:
    return self._value_size if self.key_size is None else self.key_size

  @property
  def _types(self):
    return {'dtype': self.dtype, 'param_dtype': self.param_dtype}

  def _dense(self, size: int, **options) -> nn.Dense:
    return nn.Dense(size, **self._types, **{'use_bias': False} | options)

  def _split(self, size: int, **options) -> nn.DenseGeneral:
    """Features [.. D] to heads [.. H `size`]."""
    shape = self.num_heads, size
    options = {'use_bias': False} | options
    return nn.DenseGeneral(shape, **self._types, **options)

  def _merge(self) -> nn.DenseGeneral:
    """Heads [.. H V] to features [.. D]."""
    return nn.DenseGeneral(
      self.features, axis=(-2, -1), use_bias=False, **self._types
    )

  def _head_norm(self) -> nn.LayerNorm:
    """Every head [V] for itself, with scales and biases of its own."""
    return nn.LayerNorm(
      reduction_axes=-1,
      feature_axes=(-2, -1),
      use_fast_variance=False,
      **self._types,
    )

  @nn.nowrap
  def _zero_state(self, batch_size: int) -> Float[Array, 'B H K V']:
    shape = batch_size, self.num_heads, self._key_size, self._value_size
    return jnp.zeros(shape, carry_dtype(self.dtype))


def with_ones(value: Float[Array, '*B V']) -> Float[Array, '*B V+1']:
  """Values with a last entry of one, which gathers the keys themselves."""
  ones = jnp.ones((*value.shape[:-1], 1), value.dtype)
  return jnp.concatenate([value, ones], axis=-1)


def with_normalizer(
  state: Float[Array, 'B H K V'], normalizer: Float[Array, 'B H K']
) -> Float[Array, 'B H K V+1']:
  """The state that values with a one would have written."""
  return jnp.concatenate([state, normalizer[..., None]], axis=-1)
