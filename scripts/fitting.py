"""What fits into the device's memory, from the sizes of compiled functions.

For the scripts that say so when something did not; not run by itself.
"""

from collections.abc import Callable


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
