"""Positions cut over devices: a mixer gives what it gives on one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from seqjax import testing
from seqjax.models import MLPClassifier, SequenceModel
from seqjax.nn import (
  GRU,
  MIXERS,
  Attention,
  Bidirectional,
  Elman,
  FullAttention,
  InitialCarry,
  LocalAttention,
  MinGRU,
  RecurrentLayers,
)
from seqjax.nn.cross_attention import CrossAttention
from seqjax.ops import over_time
from seqjax.testing import another_process, over_devices
from seqjax.typing import Segments, Spec
from tests.nn import over_devices_there

DEVICES = 4
QUICK = ('elman', 'mingru', 'gla', 'gated_conv', 'full_attention')
MODEL = SequenceModel(
  Spec(vocab=7),
  Spec(vocab=7),
  (MinGRU(8), Attention(8, 16)),
)
OTHERS = {
  'full_attention': FullAttention(8),
  'attention-of-everything': Attention(8, 64, num_kv_heads=1),
  'attention-with-slopes': Attention(8, 16, positions='alibi'),
  'attention-with-a-table': LocalAttention(8, 80, positions='learned'),
  'attention-within-a-part': LocalAttention(8, window=5),
  'gates-within-a-part': LocalAttention(8, window=5, forget=True),
  'gates-of-everything': Attention(8, 64, num_kv_heads=1, forget=True),
  'linoss-associative': MIXERS['linoss'](8, algorithm='associative'),
  'mingru-associative': MinGRU(8, algorithm='associative'),
  'mamba-associative': MIXERS['mamba'](8, algorithm='associative'),
  'gru-newton': GRU(4, algorithm='newton'),
  'gru-plain': GRU(4, algorithm='plain'),
  'gla-plain': MIXERS['gla'](8, algorithm='plain'),
  's4d-scan': MIXERS['s4d'](8, initialization='real', algorithm='scan'),
  'model': MODEL,
  'step': over_devices_there.StepByStep(4),
  'learned-carry': InitialCarry(GRU(4)),
}


def cases():
  mixers = {name: mixer(8, 16) for name, mixer in MIXERS.items()} | OTHERS
  for name, mixer in mixers.items():
    marks = () if name in QUICK else pytest.mark.slow
    yield pytest.param(mixer, id=name, marks=marks)


@pytest.mark.parametrize('mixer', list(cases()))
def test_a_mixer_is_the_same_over_devices(mixer):
  """Outputs, carries, gradients, and what NaN and infinity reach."""
  testing.assert_same_over_devices(mixer, DEVICES)


@pytest.mark.parametrize(
  'mixer, devices',
  [
    pytest.param(MinGRU(4), 3, id='three'),
    pytest.param(Elman(4), 2, id='more-rows-than-devices'),
  ],
)
def test_any_number_of_devices_will_do(mixer, devices):
  """Rounds of messages need no power of two, and rows no multiple."""
  arguments = mixer, devices, ()
  call = functools.partial(another_process.call, devices=DEVICES)
  assert call(over_devices.check, arguments) is None


@pytest.mark.parametrize('bug', over_devices_there.BUGS)
def test_every_planted_bug_breaks_the_law(bug):
  """Readings of a program show what is sent, and to whom."""
  call = functools.partial(another_process.call, devices=DEVICES)
  broken = call(over_devices_there.check, bug)
  assert broken and broken[0] == testing.OVER_DEVICES, broken


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=pytest.mark.slow if name == 'mean' else ())
    for name in over_devices_there.MODELS
  ],
)
def test_models_are_the_same_over_rows_and_positions(name):
  """On a mesh of two by two devices; pools see the parts of all."""
  call = functools.partial(another_process.call, devices=DEVICES)
  spread, alone = call(over_devices_there.on_a_square_mesh, name)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6),
    spread,
    alone,
  )


def on_a_mesh(function, *arguments):
  """Traces a function of parts of rows; one device has all of them."""
  mesh = jax.make_mesh((1,), (over_time.AXIS,), axis_types=(AxisType.Auto,))
  spec = PartitionSpec()
  mapped = jax.shard_map(
    function, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
  )
  return jax.eval_shape(mapped, *arguments)


@pytest.mark.parametrize('name', MIXERS)
def test_a_carry_keeps_its_shapes_and_dtypes(name):
  """And annotations hold, in half precision, with segments."""
  mixer = MIXERS[name](8, 16, dtype=jnp.bfloat16)
  x, mask = jnp.zeros((2, 5, 8), jnp.bfloat16), jnp.ones((2, 5), bool)
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)
  carry = jax.eval_shape(lambda: mixer.initialize_carry(2))
  unroll = functools.partial(mixer.apply, method='unroll')
  given = variables, carry, x, Segments(mask, mask)
  after, y = on_a_mesh(unroll, *given)
  assert jax.tree.map(described, after) == jax.tree.map(described, carry)
  assert described(y) == described(x)


def described(leaf):
  return leaf.shape, leaf.dtype


@pytest.mark.parametrize(
  'layer, options, said',
  [
    (Bidirectional(8), {}, 'Reading a row backwards needs all positions'),
    (RecurrentLayers((GRU(8),), bidirectional=True), {}, 'Reading a row back'),
    (CrossAttention(8), {}, 'CrossAttention needs all'),
    (Attention(8, 16), {'return_weights': True}, 'A table of attention weigh'),
    (MLPClassifier(Spec((8,)), 2, 6, 4), {}, 'MLPClassifier needs all'),
  ],
)
def test_what_cannot_be_cut_is_refused(layer, options, said):
  """With what was cut, and what can be."""
  x = jnp.zeros((2, 6, 8))
  inputs = (x, x) if isinstance(layer, CrossAttention) else (x,)
  variables = jax.eval_shape(layer.init, jax.random.key(0), *inputs)
  apply = functools.partial(layer.apply, **options)
  with pytest.raises(ValueError, match=said) as caught:
    on_a_mesh(apply, variables, *inputs)
  assert "the mesh axis 'time' cuts them into 1 parts" in str(caught.value)


def test_cut_positions_are_noticed_wherever_an_op_runs():
  """Inside of jit, loops, vmap and derivatives, and nowhere else."""
  seen = {}

  def note(where, x):
    seen.setdefault(where, []).append(over_time.is_cut())
    return x

  @jax.custom_vjp
  def own(x):
    return note('custom_vjp', x)

  def backward(_, gradient):
    return (note('backward', gradient),)

  own.defvjp(lambda x: (note('forward', x), None), backward)

  @jax.jit
  def compiled(x):
    return note('jit', x)

  def function(x):
    x = compiled(note('body', x))
    _, x = jax.lax.scan(lambda c, a: (c, note('scan', a)), 0.0, x)
    return jax.vmap(functools.partial(note, 'vmap'))(own(x))

  def with_gradient(x):
    return jax.grad(lambda x: jnp.sum(function(x)))(x)

  jax.eval_shape(with_gradient, jnp.ones(3))
  assert not any(flag for flags in seen.values() for flag in flags), seen
  outside = {name: len(flags) for name, flags in seen.items()}
  on_a_mesh(with_gradient, jnp.ones(3))
  inside = {name: flags[outside[name] :] for name, flags in seen.items()}
  assert set(inside) >= {'jit', 'scan', 'vmap', 'forward', 'backward'}
  assert all(flags and all(flags) for flags in inside.values()), inside
  assert not over_time.is_cut()
