"""Sizes of functions are known without running them, of huge ones at once."""

import jax
import pytest

from seqjax.analysis import memory, timing
from seqjax.launch import memory_limits

HUGE = jax.ShapeDtypeStruct((2**20,), 'float32')


def outer(x):
  return x[:, None] * x[None]


def refused(*args):
  raise AssertionError('the compiler was asked')


def test_what_cannot_fit_is_not_compiled(monkeypatch):
  """One array of four tebibytes is enough to know."""
  monkeypatch.setattr(timing, 'predicted_bytes', refused)
  assert memory_limits.needed_bytes(outer, HUGE) == 2**42


def test_what_may_fit_is_compiled(monkeypatch):
  """Arguments and outputs count too, and what the compiler avoids does not."""
  monkeypatch.setattr(memory, 'available_memory', lambda: 2**42)
  assert memory_limits.needed_bytes(outer, HUGE) == 2**42 + 2**22


def test_what_is_small_is_compiled_only_if_it_must_be_exact(monkeypatch):
  """A share of the memory says what is small."""
  x = jax.ShapeDtypeStruct((4,), 'float32')
  assert memory_limits.needed_bytes(outer, x) == 64 + 16
  monkeypatch.setattr(timing, 'predicted_bytes', refused)
  assert memory_limits.needed_bytes(outer, x, exact_from=0.1) == 64
  monkeypatch.setattr(memory, 'available_memory', lambda: 100)
  with pytest.raises(AssertionError, match='was asked'):
    memory_limits.needed_bytes(outer, x, exact_from=0.1)
