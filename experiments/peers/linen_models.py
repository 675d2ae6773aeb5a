"""The models of `training`, written in Linen as its users write them."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

LAYERS = 2


class LinenModel(nn.Module):
  """Tokens [B T] to logits [B T C]: pre-norm blocks, each of which has what
  `make_mixer` makes, and a multilayer perceptron twice as wide."""

  vocab: int
  features: int
  make_mixer: Callable[[], nn.Module]

  def setup(self):
    self.embedding = nn.Embed(self.vocab, self.features)
    self.blocks = [LinenBlock(self.make_mixer) for _ in range(LAYERS)]
    self.norm = nn.RMSNorm()
    self.readout = nn.Dense(self.vocab)

  def __call__(self, tokens):
    x = self.embedding(tokens)
    for block in self.blocks:
      x = block(x)
    return self.readout(self.norm(x))


class LinenBlock(nn.Module):
  """x <- x + mixer(norm(x));  x <- x + mlp(norm(x))."""

  make_mixer: Callable[[], nn.Module]

  @nn.compact
  def __call__(self, x):
    features = x.shape[-1]
    x = x + self.make_mixer(name='mixer')(nn.RMSNorm(name='mixer_norm')(x))
    y = nn.Dense(2 * features, name='widen')(nn.RMSNorm(name='mlp_norm')(x))
    return x + nn.Dense(features, name='narrow')(nn.gelu(y))


class LinenAttention(nn.Module):
  """Causal attention with a table of positions."""

  num_heads: int

  @nn.compact
  def __call__(self, x):
    table = self.param('table', nn.initializers.normal(0.02), x.shape[1:])
    mask = nn.make_causal_mask(x[..., 0], dtype=bool)
    attention = nn.MultiHeadDotProductAttention(
      self.num_heads, use_bias=False, deterministic=True, name='attention'
    )
    return attention(x + jnp.expand_dims(table, 0), mask=mask)


class LinenStepLSTM(nn.Module):
  """One position of an LSTM, whose state is in the collection 'cache'."""

  @nn.compact
  def __call__(self, x):
    batch_size, _, features = x.shape
    cell = nn.OptimizedLSTMCell(features, name='cell')
    zeros = jnp.zeros((batch_size, features))
    state = self.variable('cache', 'state', lambda: (zeros, zeros))
    after, y = cell(state.value, x[:, 0])
    if not self.is_initializing():
      state.value = after
    return jnp.expand_dims(y, 1)


class LinenStepAttention(nn.Module):
  """One position of `LinenAttention`, after those in the collection 'cache'.

  It is initialised with as many positions as the cache will hold.
  """

  num_heads: int
  length: int

  @nn.compact
  def __call__(self, x):
    shape = self.length, x.shape[-1]
    table = self.param('table', nn.initializers.normal(0.02), shape)
    place = self.variable('cache', 'place', lambda: jnp.int32(0))
    attention = nn.MultiHeadDotProductAttention(
      self.num_heads,
      use_bias=False,
      deterministic=True,
      decode=True,
      name='attention',
    )
    y = attention(x + jnp.expand_dims(table[place.value], (0, 1)))
    if not self.is_initializing():
      place.value += 1
    return y
