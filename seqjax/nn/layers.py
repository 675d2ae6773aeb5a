"""Layers that act on every position alone: norms and perceptrons."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.errors import unknown
from seqjax.ops.convolution import add_bias
from seqjax.typing import Array

MLPS = ('plain', 'gated')

# Their derivatives start from what went in, and hold nothing in between: to
# compute it again takes less time than to write it and read it back.
RecomputedRMSNorm = nn.remat(nn.RMSNorm)
NORM_EPSILON = 1e-5  # of norms inside mixers, as in the code of their authors
_gelu = jax.checkpoint(nn.gelu)


class MLP(nn.Module):
  """A multilayer perceptron with one hidden layer.

  'plain' is W_2 gelu(W_1 x), 'gated' is W_2 (gelu(V x) * W_1 x) (Shazeer, 2020,
  eq. 6: GEGLU), all with biases, which the paper leaves out. At equal widths
  the gate adds half of the parameters; the paper then takes two thirds of the
  width.

  Attributes:
    hidden: width of the hidden layer.
    kind: 'plain' or 'gated'.
  """

  features: int
  hidden: int
  kind: str = 'plain'
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def __post_init__(self):
    super().__post_init__()
    if self.kind not in MLPS:
      raise ValueError(unknown('MLP', self.kind, MLPS))

  @nn.compact
  def __call__(self, x: Float[Array, '*B D']) -> Float[Array, '*B D']:
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    y = nn.Dense(self.hidden, name='widen', **types)(x)
    if self.kind == 'plain':
      y = _gelu(y)
    else:
      y = _gelu(nn.Dense(self.hidden, name='gate', **types)(x)) * y
    return nn.Dense(self.features, name='narrow', **types)(y)


class Drop(nn.Module):
  """Dropout that is on exactly when `apply` is given a 'dropout' key.

  Attributes:
    rate: probability with which an entry is dropped.
    variational: whether the entries dropped are the same at all positions of a
      row (Gal & Ghahramani, 2016).
  """

  rate: float
  variational: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, 'B *T D']) -> Float[Array, 'B *T D']:
    over = tuple(range(1, x.ndim - 1)) if self.variational else ()
    drop = nn.Dropout(self.rate, broadcast_dims=over)
    return drop(x, deterministic=not self.has_rng('dropout'))


class BlockDense(nn.Module):
  """A linear map of equal parts of the features, each by a kernel of its own.

  The kernels [N K K] are blocks on the diagonal of one [NK NK]; there is a bias
  of all features.

  Attributes:
    num_blocks: N, which divides the features.
  """

  num_blocks: int
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, '*B D']) -> Float[Array, '*B D']:
    size = x.shape[-1] // self.num_blocks
    init = nn.initializers.lecun_normal(batch_axis=0)
    shape = self.num_blocks, size, size
    kernel = self.param('kernel', init, shape, self.param_dtype)
    bias = self.param(
      'bias', nn.initializers.zeros, x.shape[-1:], self.param_dtype
    )
    parts = x.astype(self.dtype).reshape(*x.shape[:-1], self.num_blocks, size)
    y = jnp.einsum('...nk,nkl->...nl', parts, kernel.astype(self.dtype))
    return add_bias(y.reshape(x.shape), bias.astype(self.dtype))
