"""The arguments of a run, checked once and handed on as one value."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import optax
from jax.sharding import Mesh

from seqjax.errors import check_value
from seqjax.training import sharding
from seqjax.training.state import Parts


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The arguments of `train`, but for key, learning rate and state.

  Raises:
    ValueError: one of them is out of range, or they do not fit together.
  """

  model: nn.Module
  task: Any
  optimizer: optax.GradientTransformation
  steps: int
  batch_size: int
  log_every: int
  pause: Callable[[int], int] | None = None
  mesh: Mesh | None = None
  carried: bool = False
  layer_norms: bool = False

  def __post_init__(self):
    for name, least in (('steps', 0), ('batch_size', 1), ('log_every', 1)):
      given = getattr(self, name)
      check_value('train', name, int, given)
      if given < least:
        raise ValueError(
          f'train needs {name} of at least {least}, but {name}={given} was '
          'given.'
        )
    if self.mesh is not None:
      sharding.check(self.mesh, self.batch_size)
    if jax.process_count() > 1 and _devices(self.mesh) < jax.device_count():
      raise ValueError(
        f'In {jax.process_count()} processes (jax.process_count()), train '
        f'needs a mesh over all devices, of which there are '
        f'{jax.device_count()}, but that given has {_devices(self.mesh)}: make '
        "it by jax.make_mesh((jax.device_count(),), ('rows',))."
      )
    if self.carried:
      check_carries(self.model, self.task)

  @property
  def parts(self) -> Parts:
    """The part that compiled functions depend on."""
    mesh = self.mesh and sharding.check(self.mesh, self.batch_size)
    return Parts(self.model, self.task, self.optimizer, mesh)

  @property
  def carried_rows(self) -> int | None:
    """The rows of the carry that a state holds; None: it holds no carry."""
    return self.batch_size if self.carried else None


def _devices(mesh: Mesh | None) -> int:
  return 0 if mesh is None else mesh.size


def check_carries(model, task):
  """Raises ValueError unless a carry can be handed from batch to batch."""
  if not getattr(task, 'sequential', False):
    raise ValueError(
      'A carry is handed from row to row of batches that read on where the one '
      f'before stood, but those of {task} do not: use a task that is '
      "sequential, such as Text(sampling='sequential')."
    )
  if getattr(type(model), 'initialize_carry', None) is None:
    raise ValueError(
      f'A {type(model).__name__} reads whole sequences and has no carry that '
      'could be handed on: use a SequenceModel of causal mixers.'
    )
  model.initialize_carry(1)  # which says what cannot stream
