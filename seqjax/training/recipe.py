"""The arguments of a run, checked once and handed on as one value."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import optax
from jax.sharding import Mesh

from seqjax.errors import check_value
from seqjax.training import meshes, sharding
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
  shard_states: bool = False

  def __post_init__(self):
    for name, least in (('steps', 0), ('batch_size', 1), ('log_every', 1)):
      given = getattr(self, name)
      check_value('train', name, int, given)
      if given < least:
        raise ValueError(
          f'train needs {name} of at least {least}, but {name}={given} was '
          'given.'
        )
    _ = self.parts  # which checks the mesh
    if self.carried:
      check_carries(self.model, self.task)

  @functools.cached_property
  def parts(self) -> Parts:
    """The part that compiled functions depend on."""
    mesh = check_spread(
      self.mesh, self.shard_states, self.model, self.task, self.batch_size
    )
    return Parts(self.model, self.task, self.optimizer, mesh, self.shard_states)

  @property
  def carried_rows(self) -> int | None:
    """The rows of the carry that a state holds; None: it holds no carry."""
    return self.batch_size if self.carried else None


def _devices(mesh: Mesh | None) -> int:
  return 0 if mesh is None else mesh.size


def check_spread(
  mesh: Mesh | None,
  shard_states: bool,
  model: nn.Module,
  task: Any,
  batch_size: int,
) -> Mesh | None:
  """Returns the mesh of a training run, its axes left to the compiler.

  Raises:
    ValueError: it does not suit the batches, the model or the processes.
  """
  if jax.process_count() > 1 and _devices(mesh) < jax.device_count():
    raise ValueError(
      f'In {jax.process_count()} processes (jax.process_count()), train '
      f'needs a mesh over all devices, of which there are '
      f'{jax.device_count()}, but that given has {_devices(mesh)}: '
      "training.meshes.parse('rows:-1') makes one, as --mesh=rows:-1 does."
    )
  if shard_states and meshes.size(mesh, meshes.ROWS) == 1:
    raise ValueError(
      'States are shared by several devices along rows (shard_states), but '
      'there is one: give a mesh such as rows:4.'
    )
  return mesh and check_mesh(mesh, model, task, batch_size)


def check_mesh(
  mesh: Mesh,
  model: nn.Module,
  task: Any,
  batch_size: int,
  split: str = 'train',
) -> Mesh:
  """Returns the mesh, its axes left to the compiler.

  Raises:
    ValueError: it does not divide the task's batches of this split, or cuts
      rows that the model can only read as a whole.
  """
  checked = meshes.check(mesh, batch_size)
  if meshes.TIME in mesh.axis_names:
    _check_cut(checked, model, task, batch_size, split)
  return checked


@functools.lru_cache(maxsize=8)  # every evaluation of a run asks again
def _check_cut(
  mesh: Mesh, model: nn.Module, task: Any, batch_size: int, split: str
):
  """Raises ValueError unless positions can be cut; compiles nothing."""
  check_unpooled(
    model,
    ', so that its rows cannot be cut among devices: use a mesh of rows alone, '
    'or a SequenceModel',
  )
  draw = functools.partial(task.batch, jax.random.key(0), 0, batch_size, split)
  batch = jax.eval_shape(draw) if task.on_device else draw()
  meshes.check(mesh, batch_size, sharding.num_positions_of(batch))

  def read(params, key, carry, inputs, segments):
    return None, model.apply({'params': params}, inputs, segments)

  def read_first(key, inputs, segments):
    variables = model.init(key, inputs, segments)
    cut = sharding.by_parts(read, mesh)
    return cut(variables['params'], None, None, inputs, segments)

  # Layers that need whole rows refuse as they are traced.
  jax.eval_shape(read_first, jax.random.key(0), batch.inputs, batch.segments)


def check_carries(model, task):
  """Raises ValueError unless a carry can be handed from batch to batch."""
  if not getattr(task, 'sequential', False):
    raise ValueError(
      'A carry is handed from row to row of batches that read on where the one '
      f'before stood, but those of {task} do not: use a task that is '
      "sequential, such as Text(sampling='sequential')."
    )
  check_unpooled(
    model,
    ' and has no carry that could be handed on: use a SequenceModel of causal '
    'mixers',
  )
  model.initialize_carry(1)  # which says what cannot stream


def check_unpooled(model: nn.Module, consequence: str):
  """Raises ValueError, with what follows, for a model of whole sequences."""
  if getattr(type(model), 'initialize_carry', None) is None:
    raise ValueError(
      f'A {type(model).__name__} reads whole sequences{consequence}.'
    )
