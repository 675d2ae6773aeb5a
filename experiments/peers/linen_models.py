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
