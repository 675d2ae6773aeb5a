"""The protocol of sequence layers: whole sequences, or one step at a time."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from seqjax.errors import check_fields
from seqjax.ops import over_time
from seqjax.ops import segments as segments_lib
from seqjax.ops.wavefront import in_turns
from seqjax.typing import Array, Segments


class SequenceLayer(nn.Module):
  """A layer that maps a sequence to another one of the same length.

  Each output may depend on the whole input. Mixers, and blocks and models made
  of them, are sequence layers.
  """

  def __call__(
    self,
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ) -> Float[Array, 'B T F']:
    """Computes the outputs at all positions, zero at padding.

    Args:
      x: the inputs.
      segments: where segments begin, and which positions count.
      lengths: in their place, how many positions of each row count, from its
        first on.
    """
    raise NotImplementedError(f'{type(self).__name__} defines no __call__.')


class StreamingLayer(SequenceLayer):
  """A sequence layer whose output at t needs nothing after t.

  `step` is the definition. `unroll` computes the same for many positions, in
  parallel where a subclass can, else one after the other.
  `seqjax.testing.assert_mixer_contract` checks that the two agree. Every leaf
  of a carry has the batch as its first axis.
  """

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Any:
    """Makes the carry before the first position; needs no parameters."""
    raise NotImplementedError(
      f'{type(self).__name__} defines no initialize_carry.'
    )

  def step(
    self, carry: Any, x_t: Float[Array, 'B D']
  ) -> tuple[Any, Float[Array, 'B F']]:
    """Reads one position; returns the next carry and the output."""
    raise NotImplementedError(f'{type(self).__name__} defines no step.')

  def unroll(
    self,
    carry: Any,
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
  ) -> tuple[Any, Float[Array, 'B T F']]:
    """Reads many positions; returns the last carry and all outputs."""

    def read(layer, carry, inputs):
      x_t, masks = inputs
      if masks is None:
        return layer.step(carry, x_t)
      initial = layer.initialize_carry(x_t.shape[0])
      carry = select_rows(masks.start, initial, carry)
      new, y_t = layer.step(carry, x_t)
      return select_rows(masks.valid, new, carry), y_t

    return scan_positions(self, read, carry, x, segments)

  def __call__(
    self,
    x: Float[Array, 'B T D'],
    segments: Segments | None = None,
    *,
    lengths: Int[Array, 'B'] | None = None,
  ) -> Float[Array, 'B T F']:
    """Unrolls from the initial carry; the last one is left out."""
    segments = segments_lib.chosen(segments, lengths, x)
    _, y = self.unroll(self.initialize_carry(len(x)), x, segments)
    return y

  @property
  def causal(self) -> bool:
    """False where an option makes outputs depend on later positions."""
    return True

  @property
  def receptive_field(self) -> int | None:
    """The number of positions an output sees, itself included; None: all."""
    return None


class SequenceMixer(SequenceLayer):
  """A layer that moves information along time, seeing the whole sequence.

  A subclass adds its options to these fields.

  Attributes:
    features: D, of inputs and outputs.
    context: number of positions that is provided for by what grows with the
      past (caches, tables of positions); it sets nothing else.
    dtype: the precision of the arithmetic and of the outputs.
    param_dtype: that of the parameters.
  """

  features: int
  context: int | None = None
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32

  def __post_init__(self):
    super().__post_init__()
    check_sizes(self, 'features', 'context')
    for name in ('dtype', 'param_dtype'):
      _check_floating(self, name)

  @property
  def _types(self) -> dict[str, Any]:
    """The precisions, as the options of a Flax layer inside."""
    return {'dtype': self.dtype, 'param_dtype': self.param_dtype}


class CausalMixer(SequenceMixer, StreamingLayer):
  """A mixer that can stream: a subclass defines `initialize_carry` and `step`.

  It defines `unroll` too where there is a parallel form. A layer that takes
  its features from the layers that it contains derives from `StreamingLayer`.
  """


def scan_positions(
  layer: nn.Module,
  read: Callable,
  carry: Any,
  x: Float[Array, 'B T D'],
  segments: Segments | None,
) -> tuple[Any, Float[Array, 'B T F']]:
  """Calls `read(layer, carry, (x_t, masks))` at one position after the other.

  Lifted, since `read` may call submodules, which leak out of `lax.scan`. Each
  position has a key of its own for dropout. Where positions are cut over
  devices, rows take turns, and `read` is given some of them.
  """
  lift = functools.partial(
    nn.scan,
    variable_broadcast='params',
    split_rngs={'params': False, 'dropout': True},
  )
  scan = lift(read, in_axes=1, out_axes=1)
  inputs = segments_lib.zero_padding(x, segments), segments
  if over_time.is_cut():

    def take(turn, first, turns):
      def body(layer, received, time):
        return turn(functools.partial(scan, layer), received, time)

      return lift(body)(layer, first, turns)

    carry, y = in_turns(take, carry, inputs)
  else:
    carry, y = scan(layer, carry, inputs)
  return carry, segments_lib.zero_padding(y, segments)


def input_width(layer: nn.Module) -> int:
  """Returns the number of features that a layer reads at each position.

  The class is asked first: Linen would run `setup` to find what is not there.
  """
  there = hasattr(type(layer), 'input_features')
  return (layer.input_features if there else None) or layer.features


def check_width_kept(layer: nn.Module, mixer: nn.Module):
  """Raises ValueError unless a mixer inside a layer keeps its width."""
  if input_width(mixer) != mixer.features:
    raise ValueError(
      f'{type(layer).__name__} needs a mixer that reads as many features as it '
      f'gives, but {type(mixer).__name__} has '
      f'input_features={mixer.input_features} and features={mixer.features}; '
      'leave input_features out.'
    )


def can_stream(layer: SequenceLayer) -> bool:
  """Returns True if it is causal, and so is every layer that it is made of."""
  if not isinstance(layer, StreamingLayer) or not layer.causal:
    return False
  for field in dataclasses.fields(layer):
    value = getattr(layer, field.name, None)
    parts = value if isinstance(value, tuple) else (value,)
    for part in parts:
      if isinstance(part, SequenceLayer) and field.name != 'parent':
        if not can_stream(part):
          return False
  return True


def check_sizes(module: nn.Module, *names: str):
  """Raises ValueError unless the fields that are there are at least 1.

  Types are checked first, those of all fields. Other attributes are not asked
  for: Linen would run `setup` to find them.
  """
  check_fields(module)
  fields = {field.name for field in dataclasses.fields(module)}
  for name in fields.intersection(names):
    size = getattr(module, name)
    if size is not None and not size >= 1:
      raise ValueError(
        f'{type(module).__name__} needs {name} of at least 1, but '
        f'{name}={size} was given.'
      )


def _check_floating(module: nn.Module, name: str):
  """Raises ValueError unless a field is a type of floating-point numbers."""
  given = getattr(module, name)
  try:
    floating = jnp.issubdtype(jnp.dtype(given), jnp.floating)
  except TypeError:
    floating = False
  if given is None or not floating:
    raise ValueError(
      f'{type(module).__name__} needs {name} to be a type of floating-point '
      f'numbers, such as float32 or bfloat16, but {given!r} was given.'
    )


def choose_heads(module: nn.Module, *, even: bool = False):
  """Sets `num_heads` where it is None: 2 if features split evenly, else 1.

  Called before Linen's own `__post_init__`, after which no field can be set.

  Args:
    module: the mixer that is being made.
    even: whether the head size must also be even.
  """
  check_fields(module)
  if module.num_heads is None:
    module.num_heads = 1 if module.features % (4 if even else 2) else 2


def check_heads(module: nn.Module):
  """Raises ValueError unless `num_heads` divides `features`."""
  if module.num_heads < 1 or module.features % module.num_heads:
    raise ValueError(
      f'{type(module).__name__} splits features evenly over heads, but '
      f'features={module.features} is not a multiple of '
      f'num_heads={module.num_heads}.'
    )


def check_inputs(
  mixer: SequenceMixer, x: Array, segments: Segments | None = None
):
  """Raises ValueError unless x is [B T D] and `segments` are like it."""
  _check_shape(mixer, x, '[batch, positions, features]')
  segments_lib.check(segments, *x.shape[:2])


def check_unroll(
  mixer: CausalMixer, carry: Any, x: Array, segments: Segments | None = None
):
  """Raises ValueError unless inputs and carry fit this mixer and each other."""
  check_inputs(mixer, x, segments)
  _check_carry(mixer, carry, x)


def check_step(mixer: CausalMixer, carry: Any, x_t: Array):
  """Raises ValueError as `check_unroll` does; one position, x_t is [B D]."""
  _check_shape(mixer, x_t, '[batch, features]')
  _check_carry(mixer, carry, x_t)


def _check_shape(mixer, x, axes: str):
  if not isinstance(x, Array):
    raise ValueError(
      f'{type(mixer).__name__} reads an array {axes}, but a {type(x).__name__} '
      'was given; convert it by jnp.asarray(x, jnp.float32).'
    )
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise ValueError(
      f'{type(mixer).__name__} reads floating-point numbers, but inputs of '
      f'{x.dtype} were given; convert them, or embed them if they are tokens '
      '(models.SequenceModel does).'
    )
  num_axes = len(axes.split())
  name = 'input_features' if _reads_another_width(mixer) else 'features'
  width = input_width(mixer)
  if x.ndim == num_axes - 1 and x.shape[-1] == width:
    raise ValueError(
      f'{type(mixer).__name__} reads inputs of shape {axes}, but '
      f'{list(x.shape)} were given, without a batch axis; add one by x[None].'
    )
  if x.ndim != num_axes or x.shape[-1] != width:
    if name == 'features' and hasattr(type(mixer), 'input_features'):
      change = 'set input_features'
    else:
      change = f'change {name}'
    raise ValueError(
      f'{type(mixer).__name__} has {name}={width}, but inputs of '
      f'shape {list(x.shape)} were given; they must be {axes}, so {change}, '
      'or project the inputs to that width first.'
    )


def _reads_another_width(mixer) -> bool:
  return input_width(mixer) != mixer.features


def _check_carry(mixer, carry, x):
  batch_size = x.shape[0]
  expected = jax.eval_shape(lambda: mixer.initialize_carry(batch_size))
  given, wanted = (
    jax.tree.map(lambda leaf: list(jnp.shape(leaf)), tree)
    for tree in (carry, expected)
  )
  if given != wanted:
    raise ValueError(
      f'{type(mixer).__name__} was given inputs of shape {list(x.shape)}, for '
      f'which a carry has the shapes {wanted}, but one of {given} came with '
      f'them; begin with initialize_carry({batch_size}).'
    )
  leaves = map(jax.tree.leaves, (carry, expected))
  for leaf, like in zip(*leaves, strict=True):
    if np.dtype(leaf.dtype).kind != np.dtype(like.dtype).kind and not all(
      jnp.issubdtype(a.dtype, jnp.floating) for a in (leaf, like)
    ):
      raise ValueError(
        f'{type(mixer).__name__} needs {like.dtype} where its carry holds '
        f'{leaf.dtype}; begin with initialize_carry({batch_size}).'
      )


def carry_dtype(dtype: Any) -> np.dtype:
  """Returns the dtype of states for a module of `dtype`: at least float32."""
  return jnp.promote_types(dtype, jnp.float32)


def select_rows(keep: Bool[Array, 'B'], new: Any, old: Any) -> Any:
  """Takes the rows of `new` where `keep`, and those of `old` elsewhere.

  For a ragged stream, after `step`: rows without an input keep their carry.
  """

  def select(a, b):
    return jnp.where(jax.lax.expand_dims(keep, range(1, a.ndim)), a, b)

  return jax.tree.map(select, new, old)


def state_floats(layer: StreamingLayer) -> int:
  """Counts the real numbers in a row's carry; a complex one counts twice."""
  carry = jax.eval_shape(lambda: layer.initialize_carry(1))
  leaves = jax.tree.leaves(carry)
  return sum(
    leaf.size * (2 if jnp.iscomplexobj(leaf) else 1)
    for leaf in leaves
    if jnp.issubdtype(leaf.dtype, jnp.inexact)
  )
