"""Many seeds and learning rates of one model, trained side by side."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Float, Int

from seqjax.errors import unknown
from seqjax.ops.algorithms import by_platform
from seqjax.training import interval, meshes, sharding, traced
from seqjax.training import optimizer as optimizers
from seqjax.training.loop import (
  NotFinite,
  check_finite,
  concluded,
  follow,
  started,
  stops,
)
from seqjax.training.recipe import Recipe
from seqjax.training.state import (
  Parts,
  TrainState,
  check_continues,
  check_fits,
  init,
  means,
)
from seqjax.training.step import FINITE
from seqjax.typing import Array

HOW = ('auto', 'one_by_one', 'map', 'vmap')


class MemberNotFinite(NotFinite):
  """A member of a population met what is not finite.

  Attributes:
    member: its index; of several in one interval, the lowest.
    step, key, parameter: as in `NotFinite`; the key is the member's.
  """

  def __init__(self, member: int, fault: NotFinite):
    super().__init__(fault.step, fault.key, fault.parameter)
    self.member = member
    self.args = (f'Member {member}: {fault}',)


def train_population(
  model: nn.Module,
  task: Any,
  optimizer: optax.GradientTransformation,
  keys: Sequence[jax.Array] | jax.Array,
  *,
  learning_rates: Sequence[float] | Float[np.ndarray, ' M'],
  steps: int,
  batch_size: int,
  log_every: int = 100,
  how: str = 'auto',
  pause: Callable[[int], int] | None = None,
  state: TrainState | None = None,
  mesh: Mesh | None = None,
) -> Iterator[tuple[TrainState, dict[str, jax.Array]]]:
  """Trains a member for each key and its learning rate; yields as `train` does.

  Member i is the run of `train` with `keys[i]` and `learning_rates[i]`: its
  parameters, batches and dropout are its own. To choose the learning rate for
  which the mean over five seeds is best, on validation (from flags alone:
  `seqjax-train-population`):

      cells = list(itertools.product(range(5), (1e-3, 3e-3, 1e-2)))
      for states, metrics in train_population(
        model, task, optimizer, [jax.random.key(seed) for seed, _ in cells],
        learning_rates=[rate for _, rate in cells], steps=1000, batch_size=32):
        pass
      scores = collections.defaultdict(list)
      for i, (_, rate) in enumerate(cells):
        params = select_members(states, i).params
        found = evaluate(model, params, task, batches=8, batch_size=64)
        scores[rate].append(overall(found))
      chosen = analysis.selection.best_learning_rate(scores)

  'one_by_one' calls what `train` compiles for one member after the other, so
  that each is its solo run bit by bit. 'map' does the same inside one compiled
  call. 'vmap' makes each step for all members at once and needs the memory of
  all of them; sums run in another order, so that losses agree with solo ones
  to rounding, until training itself amplifies it (in float32 a run at a large
  learning rate may lose track of its twin, in float64 it does not).

  'auto' is 'vmap' on an accelerator, where small steps leave most of the device
  idle and each operation is launched once instead of once per member. It is
  'map' on a CPU, which one member of some size keeps busy: on a core of an AMD
  EPYC 'map' took 1.0 to 2.6 times as many steps per second as 'one_by_one',
  'vmap' 0.8 times as many where 5 members had 64 features, 64 positions and 32
  rows, and 1.8 to 2.9 times where 8 members had 8, 16 and 8: so request 'vmap'
  for small models. `experiments/costs` measures all three. For tasks whose
  batches are made on the host, 'auto' is 'one_by_one'.

  Args:
    model, task, optimizer, steps, batch_size, log_every: as in `train`.
    keys: one per member; keys may be equal where learning rates differ.
    learning_rates: one per member.
    how: 'auto', 'one_by_one', 'map' or 'vmap'.
    pause: as in `train`, asked once for all members.
    state: resume from it; members are the first axis of every leaf.
    mesh: has the axis `members` alone. Each device trains an equal share of
      them, one by one, with what is compiled for it, and sends nothing to the
      others.

  Yields:
    The state and the metrics of `train`, with members as the first axis of
    every leaf.

  Raises:
    ValueError: an argument is out of range, or the state does not fit.
    MemberNotFinite: like `NotFinite`, and names the member. The others can be
      resumed from `select_members` of the last yielded state.

  Example:
    >>> import jax
    >>> from seqjax import nn, training
    >>> from seqjax.models import model_for
    >>> from seqjax.tasks import Recall
    >>> task = Recall(lag=4)
    >>> for states, metrics in training.train_population(
    ...   model_for(task, (nn.GRU(8),)), task, training.adamw(20),
    ...   [jax.random.key(seed) for seed in (0, 1, 2)],
    ...   learning_rates=[1e-2] * 3, steps=20, batch_size=8
    ... ):
    ...   print(metrics['loss'].shape)
    (3,)
  """
  how = resolve(how, task, mesh)
  for rate in learning_rates:
    optimizers.check_learning_rate(rate)
  _check_members(keys, learning_rates, state)
  if mesh is not None:
    mesh = meshes.check_members(mesh, len(keys))
  if pause is not None:
    pause = functools.cache(pause)  # asked once for all members
  recipe = Recipe(model, task, optimizer, steps, batch_size, log_every, pause)
  members = [
    {
      'key': keys[i],
      'learning_rate': float(learning_rates[i]),
      'state': None if state is None else select_members(state, i),
    }
    for i in range(len(keys))
  ]
  if mesh is not None:
    runs = [started(recipe, **member) for member in members]
    return _over_devices(runs, recipe, mesh)
  if how == 'one_by_one':
    return _one_by_one([follow(recipe, **member) for member in members])
  states = _stack([_begin(recipe.parts, **member) for member in members])
  return _together(states, recipe, how)


def select_members(
  states: Any, index: int | slice | Int[np.ndarray, ' N']
) -> Any:
  """Returns the state of one member, as of a solo run, or of a few.

  Raises:
    ValueError: there is no such member.
  """
  size = len(jax.tree.leaves(states)[0])
  chosen = np.arange(size)[index] if isinstance(index, slice) else index
  if np.any((np.asarray(chosen) < 0) | (np.asarray(chosen) >= size)):
    raise ValueError(
      f'Members of this population are 0..{size - 1}, but {index} was given.'
    )
  return jax.tree.map(lambda leaf: leaf[index], states)


def _one_by_one(runs):
  """Runs each member's interval in turn."""
  named = [_naming_faults(i, run) for i, run in enumerate(runs)]
  return map(_stack, zip(*named, strict=True))


def _naming_faults(member, run):
  with _naming(member):
    yield from run


def _over_devices(runs, recipe: Recipe, mesh: Mesh):
  """Runs each member's interval on its device, all devices at a time."""
  devices = np.repeat(mesh.devices.ravel(), len(runs) // mesh.size)
  states = [
    jax.device_put(state, device)
    for (_, state), device in zip(runs, devices, strict=True)
  ]
  for stop, is_end in stops(int(states[0].step), recipe):
    began = [
      run(interval.Progress.begin(state), stop)
      for (run, _), state in zip(runs, states, strict=True)
    ]  # all of them, before one is waited for
    ended = []
    for i, progress in enumerate(began):
      with _naming(i):
        ended.append(concluded(progress, is_end, recipe))
    states = [state for state, _ in ended]
    together, metrics = sharding.members_together(ended, mesh)
    yield together, {name: metrics[name] for name in ended[0][1]}


def _together(states: TrainState, recipe: Recipe, how: str):
  """Runs all members' intervals in one call to the device."""
  parts, batch_size = recipe.parts, recipe.batch_size
  for stop, is_end in stops(int(states.step[0]), recipe):
    task, numbers = traced.split(parts.task)
    progress = _interval(
      states, stop, numbers, parts._replace(task=task), batch_size, how
    )
    for i in np.flatnonzero(np.asarray(progress.fault) != FINITE).tolist():
      with _naming(i):
        check_finite(select_members(progress, i))
    states, metrics = progress.state, {}
    if is_end:
      rates = jax.vmap(optimizers.learning_rate)(states.opt_state)
      metrics = means(states.sums) | {'learning_rate': rates}
      states = states._replace(sums=jax.tree.map(jnp.zeros_like, states.sums))
    yield states, metrics


@functools.partial(jax.jit, static_argnames=('parts', 'batch_size', 'how'))
def _interval(
  states: TrainState,
  stop: int | Int[Array, ''],
  numbers: traced.Numbers,
  parts: Parts,
  batch_size: int,
  how: str,
) -> interval.Progress:
  """Runs an interval of `train` for each member."""
  parts = parts._replace(task=traced.join(parts.task, numbers))

  def run(state):
    progress = interval.Progress.begin(state)
    return interval.steps_on_device(
      progress, stop, parts=parts, batch_size=batch_size
    )

  return jax.vmap(run)(states) if how == 'vmap' else jax.lax.map(run, states)


@contextlib.contextmanager
def _naming(member: int):
  """Says which member a fault is of."""
  try:
    yield
  except NotFinite as fault:
    raise MemberNotFinite(member, fault) from None


def _begin(parts: Parts, key, learning_rate, state) -> TrainState:
  made_of = parts[:3]  # of one device
  if state is None:
    return init(*made_of, key, learning_rate)
  check_fits(state, *made_of)
  check_continues(state, key, learning_rate)
  return state


def _stack(trees):
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def resolve(how: str, task, mesh: Mesh | None = None) -> str:
  """Returns the way that `how` stands for on this device, or on a mesh.

  Raises:
    ValueError: there is no such way, or the task cannot be trained by it.
  """
  if how not in HOW:
    raise ValueError(unknown('way to train a population', how, HOW))
  if mesh is not None:
    if how not in ('auto', 'one_by_one'):
      raise ValueError(
        'On a mesh, each device trains its members one by one, but '
        f"how={how!r} was given: leave it out, or use 'one_by_one'."
      )
    return 'one_by_one'
  if not task.on_device and how in ('map', 'vmap'):
    raise ValueError(
      f'The batches of {task} are drawn on the host, which a population does '
      f"one by one, but how={how!r} was given: use 'one_by_one' or 'auto'."
    )
  if how != 'auto':
    return how
  if not task.on_device:
    return 'one_by_one'
  return by_platform(cpu='map', accelerator='vmap')


def _check_members(keys, learning_rates, state):
  size = len(keys)
  if not size or size != len(learning_rates):
    raise ValueError(
      'A population has a learning rate for each of its keys, at least one, '
      f'but {size} keys and {len(learning_rates)} learning rates were given.'
    )
  if state is None:
    return
  steps = np.asarray(state.step)
  if steps.shape != (size,) or np.any(steps != steps[0]):
    raise ValueError(
      f'The state of a population of {size} holds as many equal steps, but '
      f'this one holds {steps.tolist()}.'
    )
