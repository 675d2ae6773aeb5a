"""A mixer that defines a step and its options gets all else from its base."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from seqjax import testing
from seqjax.models import SequenceModel, generate
from seqjax.nn import Bidirectional, CausalMixer, carry_dtype
from seqjax.typing import Segments, Spec


class Leaky(CausalMixer):
  """A leaky average whose rate a layer of Flax computes at every step."""

  sharpness: float = 2.0

  @nn.nowrap
  def initialize_carry(self, batch_size):
    return jnp.zeros((batch_size, self.features), carry_dtype(self.dtype))

  def setup(self):
    self.gate = nn.Dense(
      self.features, dtype=self.dtype, param_dtype=self.param_dtype
    )

  def step(self, carry, x_t):
    keep = nn.sigmoid(self.sharpness * self.gate(x_t)).astype(carry.dtype)
    carry = keep * carry + (1 - keep) * x_t
    return carry, carry.astype(self.dtype)


class Compact(Leaky):
  """A leaky average whose layers are declared in its step."""

  def setup(self):
    pass

  @nn.compact
  def step(self, carry, x_t):
    gate = nn.Dense(
      self.features, dtype=self.dtype, param_dtype=self.param_dtype
    )
    keep = nn.sigmoid(gate(x_t)).astype(carry.dtype)
    carry = keep * carry + (1 - keep) * x_t
    return carry, carry.astype(self.dtype)


@pytest.fixture
def x():
  return jax.random.normal(jax.random.key(0), (2, 5, 8))


def test_options_follow_the_fields_that_every_mixer_has():
  """By position and by name."""
  mixer = Leaky(8, 16, jnp.bfloat16, jnp.float16, 3.0)
  assert mixer == Leaky(
    features=8,
    context=16,
    dtype=jnp.bfloat16,
    param_dtype=jnp.float16,
    sharpness=3.0,
  )
  with pytest.raises(ValueError, match='Leaky needs features of at least 1'):
    Leaky(0)


class Redeclared(CausalMixer):
  """A mixer that declares the fields of its base itself."""

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  rate: float = 0.5


def test_fields_that_are_declared_again_keep_their_places():
  """The context, too, of a class that leaves out some of them."""
  assert Redeclared(8, 16, rate=0.1) == Redeclared(
    8, 16, jnp.float32, jnp.float32, 0.1
  )

  class Some(CausalMixer):
    rate: float = 0.5
    dtype: Any = jnp.bfloat16

  assert Some(8, 16).context == 16
  assert Some(8).dtype == jnp.bfloat16 and Some(8).param_dtype == jnp.float32


@pytest.mark.parametrize('mixer', [Leaky(8), Compact(8)])
def test_a_mixer_with_a_step_alone_keeps_the_contract(mixer):
  """Its unroll is a scan of the step, under segments."""
  testing.assert_mixer_contract(mixer)


@pytest.mark.parametrize('mixer', [Leaky(8), Compact(8)])
def test_no_tracer_leaks_out_of_a_scanned_step(mixer, x):
  """Parameters begin as those of a step, under every transformation."""
  carry = mixer.initialize_carry(2)
  init_step = jax.jit(functools.partial(mixer.init, method='step'))
  expected = init_step(jax.random.key(1), carry, x[:, 0])
  with jax.check_tracer_leaks():
    variables = jax.jit(mixer.init)(jax.random.key(1), x)
    jax.tree.map(np.testing.assert_array_equal, variables, expected)
    variables = mixer.init(jax.random.key(1), x)
    jax.tree.map(np.testing.assert_array_equal, variables, expected)

    def loss(variables, x):
      return jnp.sum(mixer.apply(variables, x) ** 2)

    alone = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(variables, x[:, None])
    whole = jax.jit(jax.grad(loss))(variables, x)
    jax.eval_shape(jax.jacfwd(loss), variables, x)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a.sum(axis=0), b, rtol=1e-4),
    alone,
    whole,
  )


def test_no_positions_leave_the_carry_of_a_scanned_step_as_it_was(x):
  """Segments or none, in `init` too."""
  mixer = Leaky(8)
  variables = mixer.init(jax.random.key(1), x[:, :0])
  carry = x[:, 0]
  for segments in (None, Segments(*(jnp.zeros((2, 0), bool),) * 2)):
    after, y = mixer.apply(
      variables, carry, x[:, :0], segments, method='unroll'
    )
    np.testing.assert_array_equal(after, carry)
    assert y.shape == (2, 0, 8)


def test_a_scanned_step_takes_part_in_models(x):
  """Stacked, read both ways, generating, and as a module of NNX."""
  model = SequenceModel(Spec((), 5), Spec((), 5), (Leaky(8), Compact(8)))
  prompt = jnp.array([[1, 2, 3]])
  variables = jax.jit(model.init)(jax.random.key(0), prompt)
  drawn = generate(model, variables, jax.random.key(1), prompt, 4)
  assert drawn.shape == (1, 4)
  testing.assert_mixer_contract(Bidirectional(8, mixer=Leaky(8)))
  bridged = nnx.bridge.ToNNX(Leaky(8), rngs=nnx.Rngs(0)).lazy_init(x)
  carry, _ = bridged.unroll(Leaky(8).initialize_carry(2), x)
  last = bridged(x)[:, -1]
  np.testing.assert_allclose(carry, last, rtol=1e-6)
