"""Finds what fits into the device's memory, by sizes of compiled functions.

Used by programs to say what would fit after something did not.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from seqjax.analysis import flops, memory, timing

SIGNS = ('RESOURCE_EXHAUSTED', str(2**31 - 1))  # of too much, in errors of XLA


@contextlib.contextmanager
def named(too_large: Callable[[], str]) -> Iterator[None]:
  """Raises MemoryError(too_large()) where the device's memory was exhausted.

  Or would have been: arrays of more than 2^31 numbers are not even tried.
  """
  try:
    yield
  except (OverflowError, jax.errors.JaxRuntimeError) as error:
    overflow = isinstance(error, OverflowError)
    if not overflow and not any(sign in str(error) for sign in SIGNS):
      raise
    raise MemoryError(too_large()) from error


def needed_bytes(
  function: Callable, *args: Any, exact_from: float = 0.0
) -> int:
  """Returns the bytes that a function takes, without running it.

  Where one array of the traced function is larger than the device's memory,
  these are the bytes of that array, a lower bound: compiling could take
  minutes in vain.

  Args:
    function: what is to be compiled.
    *args: its arguments, or their shapes.
    exact_from: the share of the memory below which the largest array's bytes
      are returned, too.
  """
  limit = memory.available_memory()
  largest = flops.largest_array(function, *args)
  if not exact_from * limit <= largest <= limit:
    return largest
  return timing.predicted_bytes(function, *args)


def largest_batch(one: int, two: int, limit: int, below: int) -> int:
  """Returns the largest power of two, less than `below`, that fits as a batch.

  0 if none does. `one` and `two`: bytes that batches of 1 and 2 examples take.
  """
  fitting = (_usable(limit) - one) // max(two - one, 1) + 1
  fitting = min(fitting, below - 1)
  return 2 ** (fitting.bit_length() - 1) if fitting > 0 else 0


def largest_half(bytes_of: Callable[[int], int], limit: int, size: int) -> int:
  """Returns the first of size / 2, size / 4 ... that fits; 0 if none does.

  `bytes_of` may be any function; sizes for which it raises ValueError do not
  count, nor do those below them.
  """
  while size := size // 2:
    try:
      needed = bytes_of(size)
    except ValueError:
      return 0
    if needed <= _usable(limit):
      return size
  return 0


def _usable(limit: int) -> int:
  """Returns four fifths: the rest is for what surrounds a compiled function."""
  return limit * 4 // 5


def gibibytes(num_bytes: int) -> str:
  """Returns a number of bytes in GiB, as text."""
  return f'{num_bytes / 2**30:,.1f} GiB'
