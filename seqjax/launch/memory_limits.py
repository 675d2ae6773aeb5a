"""What fits into the device's memory, from the sizes of compiled functions.

For the scripts that say so when something did not; not run by itself.
"""

import contextlib
from collections.abc import Callable, Iterator

import jax

SIGNS = ('RESOURCE_EXHAUSTED', str(2**31 - 1))  # of too much, in errors of XLA


@contextlib.contextmanager
def named(too_large: Callable[[], str]) -> Iterator[None]:
  """MemoryError with what `too_large` says, where the device's was exhausted.

  Or would have been: arrays of more than 2^31 numbers are not even tried.
  """
  try:
    yield
  except (OverflowError, jax.errors.JaxRuntimeError) as error:
    overflow = isinstance(error, OverflowError)
    if not overflow and not any(sign in str(error) for sign in SIGNS):
      raise
    raise MemoryError(too_large()) from error


def largest_batch(one: int, two: int, limit: int, below: int) -> int:
  """The largest power of two below a batch size that did not fit; 0: none.

  `one` and `two` are the bytes of batches of so many.
  """
  fitting = (_usable(limit) - one) // max(two - one, 1) + 1
  fitting = min(fitting, below - 1)
  return 2 ** (fitting.bit_length() - 1) if fitting > 0 else 0


def largest_half(bytes_of: Callable[[int], int], limit: int, size: int) -> int:
  """The first of size / 2, size / 4 ... that fits; 0 if none does.

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
  """A fifth is left for what surrounds a compiled function."""
  return limit * 4 // 5


def gibibytes(num_bytes: int) -> str:
  """As a person reads it."""
  return f'{num_bytes / 2**30:,.1f} GiB'
