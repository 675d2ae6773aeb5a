"""What a task is: batches, a loss and a score, with chance stated exactly."""

import enum
import zlib
from typing import Protocol, runtime_checkable

import jax
from jaxtyping import Float, Int

from seqjax.errors import unknown
from seqjax.typing import Array, Batch, Spec

SPLITS = ('train', 'validation', 'test')


class TaskShape(enum.StrEnum):
  """How many positions go in and come out, as these networks are drawn.

  x-to-one tasks have targets and weights [B] and outputs [B C]; the others
  [B T] and [B T C]. One-to-many: the input stands at position 0, zeros after.
  Unaligned: inputs and segments are pairs (source, shifted target).
  """

  ONE_TO_ONE = 'one-to-one'
  ONE_TO_MANY = 'one-to-many'
  MANY_TO_ONE = 'many-to-one'
  MANY_TO_MANY = 'many-to-many aligned'
  MANY_TO_MANY_UNALIGNED = 'many-to-many unaligned'


@runtime_checkable
class Task(Protocol):
  """A hashable source of batches that owns its loss and its score.

  Models are built from `input` and `output`; a task knows no model.
  """

  @property
  def input(self) -> Spec:
    """What stands at one position of the inputs."""

  @property
  def output(self) -> Spec:
    """What is predicted at one position; with a vocab C, by C logits."""

  @property
  def shape(self) -> TaskShape:
    """Which of the five shapes inputs and outputs have."""

  @property
  def chance(self) -> float | None:
    """The expected score of the best prediction that ignores the inputs.

    It knows which positions are scored. None where it is not known exactly.
    """

  @property
  def ceiling(self) -> float | None:
    """The best attainable expected score; None where it is not known."""

  def batch(
    self,
    key: jax.Array,
    step: int | Int[Array, ''],
    batch_size: int,
    split: str = 'train',
  ) -> Batch:
    """Batch number `step` of a split: a pure function of the arguments."""

  def loss(self, outputs: Array, batch: Batch) -> Float[Array, '']:
    """What training makes small."""

  def score(self, outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """(score, weight) an example or a position, shaped as `batch.group`."""


def split_key(
  key: jax.Array, split: str, step: int | Int[Array, '']
) -> jax.Array:
  """The key of batch `step` of a split; the three splits share no stream.

  Validation and test ignore `key`: every run is measured on the same data.

  Raises:
    ValueError: there is no such split.
  """
  if split not in SPLITS:
    raise ValueError(unknown('split', split, SPLITS))
  if split != 'train':
    key = jax.random.key(0, impl='threefry2x32')
  stream = jax.random.fold_in(key, zlib.crc32(split.encode()))
  return jax.random.fold_in(stream, step)
