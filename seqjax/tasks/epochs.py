"""Finite data by random access: a batch is a function of its number.

Every epoch goes through all examples once, in an order that is a function of
(key, split, epoch), so that any batch can be had without those before it.
"""

import functools

import jax
import numpy as np
from jaxtyping import Int

from seqjax.tasks.task import split_key


def examples(
  key: jax.Array, step: int, batch_size: int, split: str, count: int
) -> Int[np.ndarray, 'B']:
  """Returns the indices of batch `step` among `count` examples, shuffled."""
  index = np.empty(batch_size, np.int64)
  for epoch, rows, places in _epochs(step, batch_size, count):
    index[rows] = _permutation(seed(key, split, epoch), count)[places]
  return index


def windows(
  key: jax.Array, step: int, batch_size: int, split: str, size: int, span: int
) -> Int[np.ndarray, 'B']:
  """Returns the begins of windows of `span` + 1 elements in a series.

  An epoch cuts the series every `span` elements, from an offset that is sampled
  anew from all that leave room for its windows, and shuffles them; the next
  one's first element is the last of each window.

  Raises:
    ValueError: the series is shorter than a window.
  """
  if size < span + 1:
    raise ValueError(
      f'A window takes {span + 1} elements, but there are only {size}.'
    )
  count = max(1, (size - span) // span)
  room = size - count * span  # the number of offsets, at least `span`
  begin = np.empty(batch_size, np.int64)
  for epoch, rows, places in _epochs(step, batch_size, count):
    of_epoch = seed(key, split, epoch)
    begin[rows] = (
      of_epoch[0] % room + span * (_permutation(of_epoch, count)[places])
    )
  return begin


def seed(key: jax.Array, split: str, epoch: int) -> tuple[int, ...]:
  """Returns the seed of an epoch of a split: integers below 2^32."""
  data = tuple(np.asarray(jax.random.key_data(key)).tolist())
  return _seed(data, jax.random.key_impl(key), split, epoch)


@functools.lru_cache(maxsize=64)
def _seed(data, impl, split, epoch):
  """Caches `seed`: folding in a key takes longer than reading a batch."""
  key = jax.random.wrap_key_data(np.array(data, np.uint32), impl=impl)
  data = jax.random.key_data(split_key(key, split, epoch))
  return tuple(np.asarray(data).ravel().tolist())


def _epochs(step, batch_size, count):
  """Yields (epoch, its rows of the batch, their places in its order)."""
  epochs, places = np.divmod(
    int(step) * batch_size + np.arange(batch_size), count
  )
  for epoch in np.unique(epochs).tolist():
    rows = epochs == epoch
    yield epoch, rows, places[rows]


@functools.lru_cache(maxsize=8)
def _permutation(of_epoch: tuple[int, ...], count: int):
  # Of NumPy's generators this one is promised never to change.
  return np.random.RandomState(of_epoch).permutation(count)
