"""Everything a run is at one step."""

import functools
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Float, Int

from seqjax.training import optimizer as optimizers
from seqjax.training import traced
from seqjax.typing import Array

MEANS = ('loss', 'gradient_norm', 'padding')  # metrics of an interval


class Parts(NamedTuple):
  """The arguments that an update is compiled for."""

  model: nn.Module
  task: Any
  optimizer: optax.GradientTransformation
  mesh: Mesh | None = None
  shard_states: bool = False


class TrainState(NamedTuple):
  """`step` updates have been made; batch number `step` is the next one.

  With the arguments of `train` it determines all that follows: `key` is the
  run's own and never changes. `sums` are those of the metrics since they were
  last yielded, and of how many `steps`. `carry` is the model's after batch
  `step` - 1 where training carries it on, else None.
  """

  step: Int[Array, '']
  params: Any
  opt_state: Any
  key: jax.Array
  sums: dict[str, Array]
  carry: Any = None


def no_sums(layers: Iterable[str] = ()) -> dict[str, Array]:
  """Returns the sums of the metrics where an interval begins: zeros.

  Args:
    layers: those whose gradient norms are metrics, too.
  """
  names = (*MEANS, *map(_of_layer, layers))
  sums = {name: jnp.zeros((), jnp.float32) for name in names}
  return sums | {'steps': jnp.zeros((), jnp.int32)}


def means(sums: dict[str, Array]) -> dict[str, Array]:
  """Divides the sums of the metrics by the number of steps.

  Norms of layers are named 'gradient_norm/' and the layer, such as
  'stack/blocks_0'; in the state a colon divides them, since programs that read
  checkpoints make a folder of a slash.
  """
  return {
    name.replace(':', '/'): sums[name] / sums['steps']
    for name in sums
    if name != 'steps'
  }


def layer_norms(grads: Any, wanted: Iterable[str]) -> dict[str, Array]:
  """Returns the norms of the gradients of layers, by their names in sums.

  Args:
    grads: of all parameters.
    wanted: names in sums; others than those of layers are passed over.
  """
  parts = by_layer(grads)
  return {
    name: optax.tree.norm(part).astype(jnp.float32)
    for layer, part in parts.items()
    if (name := _of_layer(layer)) in wanted
  }


def by_layer(params: Any) -> dict[str, list[Array]]:
  """Groups parameters by the first two modules on their path."""
  found = {}
  leaves = jax.tree.leaves(params)
  for path, leaf in zip(path_names(params), leaves, strict=True):
    layer = '/'.join(path.split('/')[:-1][:2])
    found.setdefault(layer or path, []).append(leaf)
  return found


def _of_layer(layer: str) -> str:
  return ':'.join(['gradient_norm', *layer.split('/')])


def stream_key(key: jax.Array, name: str) -> jax.Array:
  """Returns the run's key for one purpose; names give separate streams."""
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def init(
  model: nn.Module,
  task: Any,
  optimizer: optax.GradientTransformation,
  key: jax.Array,
  learning_rate: float | Float[Array, ''] | None,
  *,
  carried_rows: int | None = None,
  norms: bool = False,
) -> TrainState:
  """Returns the state at step 0, compiled once for all keys and learning rates.

  `learning_rate` is None for an optimizer whose state holds none.
  `carried_rows` is the batch size of training that carries the model's state
  on, None for all other. `norms` is whether the gradient norm of each layer is
  a metric.
  """
  drawn = None if task.on_device else task.batch(key, 0, 1)
  parts = Parts(model, traced.split(task)[0], optimizer)
  return _init(key, drawn, learning_rate, parts, carried_rows, norms)


@functools.partial(jax.jit, static_argnames=('parts', 'carried_rows', 'norms'))
def _init(
  key, drawn, learning_rate, parts: Parts, carried_rows, norms=False
) -> TrainState:
  """Makes the state; `drawn` is a batch of a task that is on the host."""
  model, task, optimizer, *_ = parts
  batch = task.batch(key, 0, 1) if drawn is None else drawn
  variables = model.init(
    {'params': stream_key(key, 'params')}, batch.inputs, batch.segments
  )
  params = variables['params']
  opt_state = optimizer.init(params)
  if learning_rate is not None:
    opt_state = optimizers.with_learning_rate(opt_state, learning_rate)
  carry = None if carried_rows is None else model.initialize_carry(carried_rows)
  step = jnp.zeros((), jnp.int32)
  sums = no_sums(by_layer(params) if norms else ())
  return TrainState(step, params, opt_state, key, sums, carry)


def check_fits(
  state: TrainState, model, task, optimizer, carried_rows=None, norms=False
):
  """Raises ValueError unless a run of these could have made the state."""
  drawn = None if task.on_device else task.batch(state.key, 0, 1)
  parts = Parts(model, traced.split(task)[0], optimizer)

  def made(key, drawn, learning_rate):
    return _init(key, drawn, learning_rate, parts, carried_rows, norms)

  held = optimizers.has_learning_rate(state.opt_state)
  expected = jax.eval_shape(made, state.key, drawn, 0.0 if held else None)
  expected = _leaves(expected)
  given = _leaves(jax.eval_shape(lambda: state))
  for path in expected | given:
    if expected.get(path) != given.get(path):
      raise ValueError(
        'The state does not fit the model and the optimizer: at '
        f'{path} they need {expected.get(path, "nothing")}, but it has '
        f'{given.get(path, "nothing")}. Give a state that was made with them.'
      )


def check_continues(
  state: TrainState, key: jax.Array, learning_rate: float | None
):
  """Raises ValueError where the state and the arguments contradict each other.

  Going on with other ones than those it was begun with must be said in the
  state, or one of the two would be ignored in silence.
  """
  kept, given = (np.asarray(jax.random.key_data(k)) for k in (state.key, key))
  if not np.array_equal(kept, given):
    raise ValueError(
      'The state was begun with another key than the one given: pass '
      'state.key, or put the new one there by state._replace(key=key).'
    )
  if learning_rate is None:
    return
  kept = np.asarray(optimizers.learning_rate(state.opt_state))
  if kept != np.float32(learning_rate):
    raise ValueError(
      f'The state holds the learning rate {kept:g}, but {learning_rate:g} was '
      'given: pass the same one, or set the new one by '
      'with_learning_rate(state.opt_state, learning_rate).'
    )


def path_names(tree: Any) -> list[str]:
  """Names the leaves of a tree, as in 'encoder/dense/kernel'."""
  paths, _ = jax.tree_util.tree_flatten_with_path(tree)
  return [
    jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in paths
  ]


def _leaves(shapes) -> dict[str, str]:
  leaves = [
    f'{leaf.dtype}{list(leaf.shape)}' for leaf in jax.tree.leaves(shapes)
  ]
  return dict(zip(path_names(shapes), leaves, strict=True))
