"""What the contract says of tensors that are zero, and of empty mixers."""

import flax.linen as nn
import jax.numpy as jnp
import pytest

from seqjax import testing
from seqjax.nn import GRU, LSTM, MinGRU, SequenceMixer
from seqjax.tasks import Recall


class WithDeadParameter(MinGRU):
  """A minGRU with a parameter that nothing depends on."""

  def setup(self):
    super().setup()
    self.dead = self.param('dead', nn.initializers.ones, (3,), self.param_dtype)

  def step(self, carry, x_t):
    carry, y_t = super().step(carry, x_t)
    return carry, y_t + 0 * jnp.sum(self.dead).astype(y_t.dtype)

  def unroll(self, carry, x, segments=None):
    carry, y = super().unroll(carry, x, segments)
    return carry, y + 0 * jnp.sum(self.dead).astype(y.dtype)


class Silent(SequenceMixer):
  """Its outputs are zero, so that it agrees with everything."""

  features: int = 8
  dtype: type = jnp.float32
  param_dtype: type = jnp.float32

  def __call__(self, x, segments=None):
    return jnp.zeros_like(x)


def test_a_tensor_that_is_always_zero_proves_nothing():
  """Unless it is named as zero by construction."""
  with pytest.raises(testing.LawBroken, match="zero=.'params/dead'"):
    testing.assert_mixer_contract(WithDeadParameter(8))
  testing.assert_mixer_contract(WithDeadParameter(8), zero=('params/dead',))


def test_what_is_named_as_zero_has_to_be():
  """A name is no way around a law."""
  with pytest.raises(testing.LawBroken, match='said to be zero, and is not'):
    testing.assert_mixer_contract(GRU(8), zero=('params/bias',))


def test_a_mixer_that_says_nothing_breaks_the_laws():
  """Agreeing on zeros is vacuous."""
  with pytest.raises(testing.LawBroken, match='proves nothing'):
    testing.assert_mixer_contract(Silent())


@pytest.mark.parametrize(
  'given, said',
  [(nn.Dense(4), 'a Dense was given'), (LSTM, 'the class LSTM, not an inst')],
)
def test_what_is_no_mixer_is_refused_in_a_sentence(given, said):
  """A layer without the protocol, and a class."""
  with pytest.raises(ValueError, match=said):
    testing.assert_mixer_contract(given)


def test_at_most_two_tensors_may_be_zero():
  """More would be an empty contract."""
  with pytest.raises(ValueError, match='At most two'):
    testing.assert_mixer_contract(GRU(8), zero=('a', 'b', 'c'))


def test_a_task_of_the_running_file_is_held_to_the_other_laws(monkeypatch):
  """No other process could load it: that law is left out, with a note."""
  task = Recall(lag=40)
  monkeypatch.setattr(Recall, '__module__', '__main__')
  with pytest.warns(UserWarning, match='Recall is defined in the running file'):
    testing.assert_task_contract(task, batches=4)
