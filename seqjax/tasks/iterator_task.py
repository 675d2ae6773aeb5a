"""A task of what an iterator yields."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from seqjax.tasks.own_data import IGNORED, OwnData, are_labels, as_numbers
from seqjax.typing import Batch, Spec, TaskShape


@dataclasses.dataclass(frozen=True, eq=False)
class IteratorTask(OwnData):
  """A task of what an iterator yields, such as a data loader.

      def make_iterator(split):
        for tokens, labels in my_loader(split):
          yield tokens, labels

      IteratorTask(make_iterator, Spec((), vocab=100), Spec((), vocab=2))

  An iterator yields (inputs, targets), (inputs, targets, weights) or a `Batch`,
  arrays whose first axis is examples, any number of
  them; they are regrouped into batches of the requested size. When an iterator
  ends, a new one is made. Batch `step` comes after `step` batches and depends
  on the iterator alone, so that an iterator must yield the same items each time
  it is made. If an earlier batch is requested, as when a run is resumed, a new
  iterator is read from its beginning.

  Chance is not known, unless it is given. Two tasks are the same if they are
  the same object.

  Attributes:
    make_iterator: from 'train', 'validation' or 'test' to an iterator.
    input: of what stands at a position of the inputs, [B T *I].
    output: of an answer; targets are [B *T], or [B *T *O] where they are
      values.
    per_position: says if there is a target at every position, or one a row.
    chance: the score of the best prediction without the inputs, if it is known.
  """

  make_iterator: Callable[[str], Iterator[Any]]
  input: Spec
  output: Spec
  per_position: bool = False
  chance: float | None = None

  def __post_init__(self):
    if not callable(self.make_iterator):
      raise ValueError(
        'IteratorTask needs a function from the name of a split to an iterator,'
        f' but {self.make_iterator!r} was given.'
      )
    for name in ('input', 'output'):
      if not isinstance(getattr(self, name), Spec):
        raise ValueError(
          f'IteratorTask needs {name} to be a Spec, such as Spec((), vocab=9), '
          f'but {getattr(self, name)!r} was given.'
        )
    object.__setattr__(self, '_readers', {})

  def __getstate__(self) -> dict[str, Any]:
    """Leaves out what has been read, which no other process can go on with."""
    return self.__dict__ | {'_readers': {}}

  @property
  def shape(self) -> TaskShape:
    to_one, to_many = TaskShape.MANY_TO_ONE, TaskShape.MANY_TO_MANY
    return to_many if self.per_position else to_one

  def _batch(self, key, step, batch_size: int, split: str) -> Batch:
    del key
    begin = int(step) * batch_size
    reader = self._readers.get(split)
    if reader is None or reader.place > begin:
      reader = self._readers[split] = _Reader(self.make_iterator, split)
    reader.skip(begin - reader.place)
    return reader.take(batch_size)


class _Reader:
  """Reads the examples of an iterator in turn, again and again.

  Attributes:
    place: the number of examples that have been read.
  """

  def __init__(self, make_iterator: Callable, split: str):
    self.place = 0
    self._make, self._split = make_iterator, split
    self._iterator, self._left = iter(make_iterator(split)), None

  def skip(self, count: int):
    """Leaves examples out."""
    while count > 0:
      size = min(count, self._fill())
      self._cut(size)
      count -= size

  def take(self, count: int) -> Batch:
    """Returns the next examples."""
    parts = []
    while count > 0:
      size = min(count, self._fill())
      parts.append(self._cut(size))
      count -= size
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

  def _cut(self, size: int) -> Batch:
    first = jax.tree.map(lambda leaf: leaf[:size], self._left)
    self._left = jax.tree.map(lambda leaf: leaf[size:], self._left)
    self.place += size
    return first

  def _fill(self) -> int:
    """Makes sure that an example is left; returns how many are."""
    made = False
    while self._left is None or not len(self._left.inputs):
      try:
        self._left = _as_batch(next(self._iterator))
      except StopIteration:
        if made:
          raise ValueError(
            f'The iterator of {self._split} yields no example.'
          ) from None
        self._iterator, made = iter(self._make(self._split)), True
    return len(self._left.inputs)


def _as_batch(item: Any) -> Batch:
  """Returns what an iterator has yielded as a batch of arrays."""
  if not isinstance(item, Batch):
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
      raise ValueError(
        'An iterator yields (inputs, targets), (inputs, targets, weights) or a '
        f'Batch, but a {type(item).__name__} came.'
      )
    inputs, targets, *weights = item
    item = Batch(inputs, targets, weights[0] if weights else None)
  item = jax.tree.map(lambda leaf: as_numbers(np.asarray(leaf)), item)
  if item.weights is None:
    item = _with_weights(item)
  return item


def _with_weights(batch: Batch) -> Batch:
  """Gives labels of -100 the weight 0, all other targets the weight 1."""
  targets = batch.targets
  scored = np.ones(targets.shape, bool)
  if are_labels(targets):
    scored = targets != IGNORED
  elif targets.ndim > 2:
    scored = scored.all(axis=tuple(range(2, targets.ndim)))
  return batch._replace(
    targets=np.where(targets == IGNORED, 0, targets)
    if are_labels(targets)
    else targets,
    weights=scored.astype(np.float32),
  )
