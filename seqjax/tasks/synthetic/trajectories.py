"""Trajectories of points in the plane, of several lengths."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from seqjax.ops.segments import from_lengths, zero_padding
from seqjax.tasks.synthetic._random import coins, lengths
from seqjax.tasks.task import Classification, Regression, at_least
from seqjax.typing import Array, Batch, Spec, TaskShape

RADIUS = (0.5, 1.0)  # of the circle
SPEED = (0.1, 0.5)  # radians per position


@dataclasses.dataclass(frozen=True)
class _Trajectory:
  """A point that goes round a circle at a constant speed."""

  min_length: int = 8
  length: int = 64

  input: ClassVar[Spec] = Spec((2,))

  def __post_init__(self):
    at_least(self, min_length=3)
    at_least(self, length=self.min_length)

  def _trajectories(self, key, batch_size: int):
    """Samples (T + 1 points; the direction, 1 or -1; the length) of each."""
    center_key, circle_key, direction_key, length_key = jax.random.split(key, 4)
    center = jax.random.uniform(
      center_key, (batch_size, 1, 2), jnp.float32, -1, 1
    )
    low = jnp.array([RADIUS[0], SPEED[0], 0], jnp.float32)[None]
    high = jnp.array([RADIUS[1], SPEED[1], 2 * math.pi], jnp.float32)[None]
    unit = jax.random.uniform(circle_key, (batch_size, 3), jnp.float32)
    radius, speed, phase = jnp.split(low + unit * (high - low), 3, axis=1)
    left = coins(direction_key, 0.5, (batch_size,))
    direction = jnp.where(left, 1, -1).astype(jnp.int32)
    time = jnp.arange(self.length + 1, dtype=jnp.float32)[None]
    angle = phase + direction[:, None] * speed * time
    circle = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    points = center + radius[..., None] * circle
    size = lengths(length_key, batch_size, self.min_length, self.length)
    return points, direction, size


@dataclasses.dataclass(frozen=True)
class TrajectoryDirection(Classification, _Trajectory):
  """The direction of a point on a circle: left (1) or right (0).

  With 3 to 6 points, padded with zeros; each has an x and a y, here one above
  the other:

      inputs    .60  .48  .35  .22    0    0
               1.13 1.19 1.22 1.23    0    0
      target      1

  Center, radius, speed, phase, direction and length are uniform: the center
  in [-1, 1) x [-1, 1), the radius in [0.5, 1), the speed in [0.1, 0.5) radians
  per position. `Batch.group` is the length.

  Attributes:
    min_length: the shortest length, in positions, at least 3.
    length: the longest one, T.
  """

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_ONE
  output: ClassVar[Spec] = Spec((), vocab=2)
  chance: ClassVar[float] = 0.5
  ceiling: ClassVar[float] = 1.0

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    points, direction, size = self._trajectories(key, batch_size)
    segments = from_lengths(size, self.length)
    return Batch(
      inputs=zero_padding(points[:, :-1], segments),
      targets=(direction > 0).astype(jnp.int32),
      weights=jnp.ones(batch_size, jnp.float32),
      segments=segments,
      group=size,
    )

  def solve(self, batch: Batch) -> Int[Array, 'B']:
    """Returns the targets, from the turn between the first two moves."""
    moves = jnp.diff(batch.inputs[:, :3], axis=1)
    (x_1, y_1), (x_2, y_2) = (jnp.moveaxis(moves[:, i], 1, 0) for i in (0, 1))
    return (x_1 * y_2 > y_1 * x_2).astype(jnp.int32)


@dataclasses.dataclass(frozen=True)
class TrajectoryNext(Regression, _Trajectory):
  """The next place of a point on a circle.

  With 3 to 6 points, padded with zeros; each has an x and a y, here one above
  the other:

      inputs    .60  .48  .35  .22    0    0
               1.13 1.19 1.22 1.23    0    0
      targets     -    -  .22  .08    -    -
                  -    - 1.23 1.21    -    -      (- has weight 0)

  Trajectories are those of `TrajectoryDirection`. The third point is the first
  from which the next one follows: every move is the one before it, turned by
  the same angle. Chance is the variance of a coordinate, that of the center
  plus half the mean square of the radius. `Batch.group` is the length.

  Attributes:
    min_length: the shortest length, in positions, at least 3.
    length: the longest one, T.
  """

  shape: ClassVar[TaskShape] = TaskShape.MANY_TO_MANY
  output: ClassVar[Spec] = Spec((2,))
  ceiling: ClassVar[float] = 0.0

  @property
  def chance(self) -> float:
    low, high = RADIUS
    square = (high**3 - low**3) / (3 * (high - low))
    return 1 / 3 + square / 2

  def _sample(self, key: jax.Array, batch_size: int) -> Batch:
    points, _, size = self._trajectories(key, batch_size)
    segments = from_lengths(size, self.length)
    scored = segments.valid & (jnp.arange(self.length) >= 2)[None]
    return Batch(
      inputs=zero_padding(points[:, :-1], segments),
      targets=zero_padding(points[:, 1:], segments),
      weights=scored.astype(jnp.float32),
      segments=segments,
      group=jnp.broadcast_to(size[:, None], scored.shape),
    )

  def solve(self, batch: Batch) -> Float[Array, 'B T 2']:
    """Returns the targets from the inputs; zeros where nothing is scored."""
    x, y = jnp.moveaxis(jnp.asarray(batch.inputs), -1, 0)
    scored = batch.weights[:, 2:] != 0
    move = jnp.diff(jax.lax.complex(x, y), axis=1)
    before = jnp.where(scored, move[:, :-1], 1)
    point = jax.lax.complex(x, y)[:, 2:] + move[:, 1:] ** 2 / before
    point = jnp.pad(jnp.where(scored, point, 0), ((0, 0), (2, 0)))
    return jnp.stack([point.real, point.imag], axis=-1)
