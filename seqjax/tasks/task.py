"""The protocol of tasks, and the base classes that they derive from."""

import enum
import functools
import math
import warnings
import zlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
from jaxtyping import Float, Int

from seqjax.errors import Note, check_fields, field_kinds, unknown
from seqjax.ops import losses
from seqjax.typing import SPLITS, Array, Batch, Spec, TaskShape

HELD_OUT_BITS = 24  # log2 of the different examples needed to hold some out
MOST = 2**20  # positions, symbols, values of any option
MOST_MODULUS = 1024  # chance takes memory O(modulus^2) and time O(modulus^3)
UNLIMITED = ('seed', 'num_examples')  # options that no array grows with


class Metric(enum.StrEnum):
  """The unit of a score: right answers, bits, or squared error."""

  ACCURACY = 'accuracy'
  BITS = 'bits'
  SQUARED_ERROR = 'squared error'

  @property
  def higher_is_better(self) -> bool:
    return self is Metric.ACCURACY


@runtime_checkable
class Task(Protocol):
  """A hashable source of batches that owns its loss and its score.

  Models are built from `input` and `output`; a task knows no model.
  """

  @property
  def input(self) -> Spec:
    """Describes one position of the inputs."""

  @property
  def output(self) -> Spec:
    """Describes a prediction at one position: C logits if vocab is C."""

  @property
  def shape(self) -> TaskShape:
    """Names one of the five shapes of inputs and outputs."""

  @property
  def metric(self) -> Metric:
    """Names the unit of `score`, and with it the better direction."""

  @property
  def on_device(self) -> bool:
    """Tells if `batch` runs inside `jit` and `vmap`; else it gives NumPy.

    A solver then runs inside `jit` too.
    """

  @property
  def chance(self) -> float | None:
    """Returns the expected score of the best prediction without the inputs.

    That prediction knows which positions are scored. Chance refers to
    validation and test, whose scores it is compared with. For recorded data it
    refers to training, and so it does for language, where it is the unigram
    entropy. None if it is not known exactly.
    """

  @property
  def ceiling(self) -> float | None:
    """Returns the best attainable expected score; None where it is unknown.

    It equals chance, or is confirmed by a solver. Where the best answer to the
    inputs is not known, but the source that they are sampled from is, it is
    that of someone who knows the source, and a bound.
    """

  def batch(
    self,
    key: jax.Array,
    step: int | Int[Array, ''],
    batch_size: int,
    split: str = 'train',
  ) -> Batch:
    """Returns batch number `step` of a split; pure in its arguments."""

  def loss(self, outputs: Array, batch: Batch) -> Float[Array, '']:
    """Returns the loss that training minimises."""

  def score(self, outputs: Array, batch: Batch) -> tuple[Array, Array]:
    """Returns (score, weight) per example or position, as `batch.group`.

    If targets follow from inputs, the task also has `solve(batch)`. It returns
    them without reading `batch.targets`; under noise it returns the best
    prediction (logits if scores are in bits). For unaligned tasks it uses only
    the source and the length of the target.

    If they do not, but the targets tell what the inputs were sampled from, the
    task may have `informed(batch)` instead: the best prediction of someone who
    is told that, and not which sample was drawn.
    """


class Overlap(Note, ValueError):
  """A note that a task is too small to hold examples out of training.

  `warnings.simplefilter('error', Overlap)` makes an error of it.
  """


class BaseTask:
  """The checks in `batch` that all tasks of the catalogue share.

  A task defines `_sample`, which is given a different key for each batch. If
  its splits differ, or it reads examples from data, it defines `_batch`.

  Attributes:
    on_device: as in `Task`.
    bits: -log2 of the probability that two samples are the same example, or a
      lower bound of it; infinite where examples are continuous, or where they
      are held out in another way.
    reference: the publication that the task is from; 'here' for our own.
    traced: names of integer options that no array's shape depends on. Tasks
      that differ only in these share compiled training and evaluation code.
    chance_name: the name of chance where it depends on the files that are
      read, and so on the machine; None where it does not.
  """

  on_device: ClassVar[bool] = True
  bits: ClassVar[float] = math.inf
  reference: ClassVar[str] = 'here'
  traced: ClassVar[tuple[str, ...]] = ()
  chance_name: ClassVar[str | None] = None

  def __init_subclass__(cls, **kwargs: Any):
    """Makes every check of a subclass come after that of types and sizes."""
    super().__init_subclass__(**kwargs)
    if '__post_init__' in vars(cls):
      cls.__post_init__ = _after_check_options(cls.__post_init__)

  def __post_init__(self):
    check_options(self)
    inherited = getattr(super(), '__post_init__', None)
    if inherited is not None:
      inherited()

  def batch(
    self,
    key: jax.Array,
    step: int | Int[Array, ''],
    batch_size: int,
    split: str = 'train',
  ) -> Batch:
    """Returns batch number `step` of a split; pure in its arguments.

    Raises:
      FileNotFoundError: the task reads files that are not there; says which,
        and how they get there.
      ValueError: there is no such split, or a file is not what it should be.

    Warns:
      Overlap: there are too few different examples to hold some out for the
        split, so that training has seen what is scored.
    """
    if split not in SPLITS:
      raise ValueError(unknown('split', split, SPLITS))
    self._check_bits(split)
    return self._batch(key, step, batch_size, split)

  @property
  def fitted(self) -> dict[str, Any]:
    """Returns what was fitted to the training data, as JSON holds it.

    A vocabulary, say, or a mean: what outputs of a trained model mean depends
    on it. A run keeps it, and scores other data by it.
    """
    return {}

  def with_fitted(self, values: Mapping[str, Any]) -> 'BaseTask':
    """Returns the task with values that `fitted` has returned, for its own.

    Raises:
      ValueError: the values are not those of such a task.
    """
    if values:
      raise ValueError(
        f'{type(self).__name__} fits no values to training data, but '
        f'{sorted(values)} were given.'
      )
    return self

  def _batch(
    self,
    key: jax.Array,
    step: int | Int[Array, ''],
    batch_size: int,
    split: str,
  ) -> Batch:
    """Returns the batch that `batch` checked, from the key of the run."""
    return self._sample(split_key(key, split, step), batch_size)

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    """Samples examples on the device; works inside `jit` and `vmap`."""
    raise NotImplementedError

  def _check_bits(self, split: str):
    """Notes where training is bound to see the examples of another split."""
    if split != 'train' and self.bits < HELD_OUT_BITS:
      warnings.warn(
        f'{self} has {self.bits:.1f} bits of different examples, but '
        f'{HELD_OUT_BITS} are needed to hold some out for {split}: training '
        'has seen what is scored, unless examples are made longer.',
        Overlap,
        stacklevel=3,
      )


class Classification(BaseTask):
  """Loss and score of tasks that predict one of C classes per target."""

  metric: ClassVar[Metric] = Metric.ACCURACY

  def loss(
    self, outputs: Float[Array, 'B *T C'], batch: Batch
  ) -> Float[Array, '']:
    return losses.cross_entropy(outputs, batch.targets, batch.weights)

  def score(
    self, outputs: Float[Array, 'B *T C'], batch: Batch
  ) -> tuple[Float[Array, 'B *T'], Float[Array, 'B *T']]:
    """Returns 1 for each right answer, else 0."""
    return losses.accuracy(outputs, batch.targets, batch.weights)


class Language(Classification):
  """Loss and score of tasks that predict a distribution over C tokens."""

  metric: ClassVar[Metric] = Metric.BITS

  def score(
    self, outputs: Float[Array, 'B *T C'], batch: Batch
  ) -> tuple[Float[Array, 'B *T'], Float[Array, 'B *T']]:
    """Returns -log2 of the probability given to each target."""
    return losses.bits(outputs, batch.targets, batch.weights)


class Regression(BaseTask):
  """Loss and score of tasks that ask for numbers: the mean squared error."""

  metric: ClassVar[Metric] = Metric.SQUARED_ERROR

  def loss(
    self, outputs: Float[Array, 'B *T'], batch: Batch
  ) -> Float[Array, '']:
    return losses.weighted_mean(*self.score(outputs, batch))

  def score(
    self, outputs: Float[Array, 'B *T'], batch: Batch
  ) -> tuple[Float[Array, 'B *W'], Float[Array, 'B *W']]:
    """Returns the squared error of each answer, a mean over its components."""
    return losses.squared_error(outputs, batch.targets, batch.weights)


def split_key(
  key: jax.Array, split: str, step: int | Int[Array, '']
) -> jax.Array:
  """Returns the key of batch `step`; the three splits share no stream.

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


def _after_check_options(check: Callable[[Any], None]) -> Callable:
  """Returns a `__post_init__` that checks types and sizes first."""

  @functools.wraps(check)
  def checked(self):
    check_options(self)
    check(self)

  return checked


def check_options(task: Any):
  """Checks the options of a task: their types, and sizes up to MOST.

  Raises:
    ValueError: names the first option that is wrong, and its value.
  """
  names = set(field_kinds(type(task))).difference(UNLIMITED)
  check_fields(task, dict.fromkeys(names, MOST))


def at_most(task: Any, **bounds: int | float):
  """Refuses options of a task that are above their bounds.

  Raises:
    ValueError: names the first such option, its bound and its value.
  """
  for name, bound in bounds.items():
    value = getattr(task, name)
    if not value <= bound:
      raise ValueError(
        f'{type(task).__name__} needs {name} of at most {bound}, but '
        f'{name}={value} was given.'
      )


def at_least(task: Any, **bounds: int | float):
  """Refuses options of a task that are below their bounds.

  Raises:
    ValueError: names the first such option, its bound and its value.
  """
  for name, bound in bounds.items():
    value = getattr(task, name)
    if not value >= bound:
      raise ValueError(
        f'{type(task).__name__} needs {name} of at least {bound}, but '
        f'{name}={value} was given.'
      )
