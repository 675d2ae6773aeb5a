"""Attention against Flax's own, and what each option says it does."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.nn.attention import (
  Attention,
  ForgettingAttention,
  FullAttention,
  LocalAttention,
)
from seqjax.nn.cross_attention import SCORES, CrossAttention
from seqjax.ops.positions import alibi_slopes, sinusoids
from seqjax.ops.segments import from_ids, from_lengths
from seqjax.typing import Segments

RNG = np.random.default_rng(0)
X = np.float32(RNG.normal(size=(2, 6, 8)))
SOURCE = np.float32(RNG.normal(size=(2, 5, 7)))


def variables_of(module, *inputs):
  return jax.jit(module.init)(jax.random.key(2), *inputs)


def apply(module, variables, *inputs, method='__call__', **arguments):
  mutable = arguments.pop('mutable', False)
  function = functools.partial(module.apply, method=method, mutable=mutable)
  return jax.jit(function)(variables, *inputs, **arguments)


def assert_close(given, expected):
  np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


FLAX = nn.MultiHeadDotProductAttention(num_heads=2, use_bias=False)


@pytest.mark.parametrize(
  'mixer, mask',
  [
    (Attention(8, 6, positions='none'), nn.make_causal_mask(X[..., 0])),
    (FullAttention(8, positions='none'), None),
    (
      LocalAttention(8, window=2, positions='none'),
      jnp.tri(6, dtype=bool) & ~jnp.tri(6, k=-2, dtype=bool),
    ),
  ],
  ids=['causal', 'full', 'local'],
)
def test_attention_is_that_of_flax(mixer, mask):
  """With the same parameters, under the same names."""
  variables = variables_of(mixer, X)
  if mask is not None:
    mask = jnp.broadcast_to(mask, (2, 1, 6, 6))
  expected = apply(FLAX, variables, X, mask=mask)
  assert_close(apply(mixer, variables, X), expected)


@pytest.mark.parametrize('algorithm', ['plain', 'blockwise'])
def test_weights_are_those_of_flax(algorithm):
  """Requested weights are returned; queries of shared keys have their own."""
  mixer = Attention(8, 6, positions='none', algorithm=algorithm)
  variables = variables_of(mixer, X)
  assert set(variables) == {'params'}
  _, found = apply(mixer, variables, X, mutable='intermediates')
  (weights,) = found['intermediates']['weights']
  mask = jnp.broadcast_to(nn.make_causal_mask(X[..., 0]), (2, 1, 6, 6))
  _, expected = FLAX.apply(
    variables, X, mask=mask, sow_weights=True, mutable='intermediates'
  )
  assert_close(weights, expected['intermediates']['attention_weights'][0])
  shared = mixer.copy(num_kv_heads=1, positions='alibi')
  _, found = apply(
    *(shared, variables_of(shared, X), X, from_lengths(np.array([6, 4]), 6)),
    mutable='intermediates',
  )
  (weights,) = found['intermediates']['weights']
  assert weights.shape == (2, 2, 6, 6)
  assert_close(weights[0].sum(-1), 1.0)
  assert (np.asarray(weights)[1, :, :4, 4:] == 0).all()


@pytest.mark.parametrize(
  'mixer, reach',
  [
    (Attention(8, 6, positions='none'), (5, 0)),
    (FullAttention(8, positions='alibi', num_kv_heads=1), (5, 5)),
    (LocalAttention(8, window=2, positions='none'), (1, 0)),
  ],
  ids=['causal', 'full', 'local'],
)
def test_a_call_returns_weights_when_asked(mixer, reach):
  """They are a softmax over what is seen, and zero at padding."""
  rows = from_ids(np.array([[1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 0, 0]]))
  variables = variables_of(mixer, X)
  call = functools.partial(mixer.apply, variables)
  y, weights = jax.jit(lambda x: call(x, rows, return_weights=True))(X)
  assert_close(y, call(X, rows))

  kernels = {n: p['kernel'] for n, p in variables['params'].items()}
  query = jnp.einsum('btd,dhk->bhtk', X, kernels['query'])
  key = jnp.einsum('bsd,dhk->bhsk', X, kernels['key'])
  logits = jnp.einsum(
    'bhtk,bhsk->bhts', query, jnp.broadcast_to(key, query.shape)
  ) / np.sqrt(4)
  distance = np.arange(6)[:, None] - np.arange(6)[None]
  if mixer.positions == 'alibi':
    logits -= (alibi_slopes(2)[:, None, None] * np.abs(distance)[None])[None]
  piece = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, -1, -1]])
  seen = (piece[:, :, None] == piece[:, None]) & (piece >= 0)[:, None]
  seen &= ((distance <= reach[0]) & (distance >= -reach[1]))[None]
  logits = jnp.where(seen[:, None], logits, -jnp.inf)
  expected = jnp.nan_to_num(jax.nn.softmax(logits, axis=-1))
  assert_close(weights, expected)


def test_weights_cost_nothing_unless_they_are_asked_for():
  """They take a product of matrices of their own."""
  mixer = Attention(8, 6)
  variables = variables_of(mixer, X)

  def products(**options):
    call = functools.partial(mixer.apply, variables, **options)
    return str(jax.make_jaxpr(call)(X)).count('dot_general')

  assert products() == products(return_weights=False)
  assert products() < products(return_weights=True)


@pytest.mark.parametrize('algorithm', ['blockwise', 'cudnn'])
def test_algorithms_that_hold_no_weights_return_none(algorithm):
  """The sentence says which do."""
  mixer = Attention(8, 6, algorithm=algorithm)
  with pytest.raises(ValueError, match=f"'plain' or 'auto', .*'{algorithm}'"):
    mixer.init(jax.random.key(0), X, return_weights=True)


def test_cross_attention_is_that_of_flax():
  """Over a padded source."""
  segments = from_lengths(jnp.array([5, 3]), 5)
  cross = CrossAttention(8)
  variables = variables_of(cross, X, SOURCE)
  given = apply(cross, variables, X, SOURCE, segments)
  mask = jnp.broadcast_to(segments.valid[:, None, None], (2, 1, 6, 5))
  expected = apply(FLAX, variables, X, SOURCE, mask=mask)
  assert_close(given, expected)


def test_shared_keys_and_values_are_repeated_ones():
  """Two heads of keys for four of queries are four, each of them twice."""
  grouped = Attention(8, 6, num_heads=4, num_kv_heads=2)
  parameters = variables_of(grouped, X)['params']
  assert parameters['key']['kernel'].shape == (8, 2, 2)
  carry = jax.eval_shape(lambda: grouped.initialize_carry(3))
  assert carry.keys.shape == (3, 2, 2, 6)
  repeated = {
    name: {'kernel': np.repeat(parameters[name]['kernel'], 2, axis=1)}
    for name in ('key', 'value')
  }
  assert_close(
    apply(grouped, {'params': parameters}, X),
    apply(Attention(8, 6, num_heads=4), {'params': parameters | repeated}, X),
  )


@pytest.mark.parametrize('mixer', [Attention, FullAttention])
def test_sinusoidal_positions_are_added_to_the_inputs(mixer):
  """Queries, keys and values are projected from the sums."""
  places = np.tile(np.arange(6)[None], (2, 1))
  variables = variables_of(mixer(8, 6, positions='none'), X)
  assert_close(
    apply(mixer(8, 6, positions='sinusoidal'), variables, X),
    apply(
      mixer(8, 6, positions='none'),
      variables,
      X + sinusoids(places, 8, jnp.float32),
    ),
  )


@pytest.mark.parametrize('causal', [True, False])
def test_without_content_alibi_is_a_softmax_of_distances(causal):
  """Heads whose queries are zero weigh by exp(-slope |distance|)."""
  mixer = (Attention if causal else FullAttention)(8, 6, positions='alibi')
  parameters = variables_of(mixer, X)['params']
  silent = jax.tree.map(np.zeros_like, parameters['query'])
  given = apply(mixer, {'params': parameters | {'query': silent}}, X)
  distance = np.arange(6)[:, None] - np.arange(6)[None]
  weights = np.exp(-alibi_slopes(2)[:, None, None] * np.abs(distance)[None])
  weights = np.where((distance >= 0) | (not causal), weights, 0)
  weights /= weights.sum(axis=-1, keepdims=True)
  values = np.einsum('bsd,dhk->bshk', X, parameters['value']['kernel'])
  read = np.einsum('hts,bshk->bthk', weights, values)
  assert_close(
    given, np.einsum('bthk,hkd->btd', read, parameters['out']['kernel'])
  )


def test_forgetting_attention_is_the_loop_of_its_paper():
  """Weights times the gates between, over the last six valid positions."""
  mixer = ForgettingAttention(8, 6, num_kv_heads=1)
  rng = np.random.default_rng(0)
  x = np.float32(rng.normal(size=(1, 11, 8)))
  shapes = jax.eval_shape(mixer.init, jax.random.key(0), x)
  variables = jax.tree.map(
    lambda a: np.float32(rng.normal(size=a.shape)), shapes
  )
  rows = from_ids(np.array([[1] * 8 + [0] + [1] * 2]))
  given = np.asarray(jax.jit(mixer.apply)(variables, x, rows))[0]
  p = variables['params']
  query, key, value = (
    np.einsum('td,dhk->thk', x[0], p[name]['kernel'])
    for name in ('query', 'key', 'value')
  )
  gate = p['forget_gate']
  gate = 1 / (1 + np.exp(-(x[0] @ gate['kernel'] + gate['bias'])))
  valid = [*range(8), 9, 10]
  assert not given[8].any()
  for place, t in enumerate(valid):
    read = np.zeros((2, 4))
    seen = valid[max(place - 5, 0) : place + 1]
    for h in range(2):
      weights = []
      for s in seen:
        between = [gate[r, h] for r in valid if s < r <= t]
        weight = np.exp(query[t, h] @ key[s, 0] / 2) * np.prod(between)
        weights.append(weight)
      read[h] = np.array(weights) @ value[seen, 0] / sum(weights)
    expected = np.einsum('hk,hkd->d', read, p['out']['kernel'])
    np.testing.assert_allclose(given[t], expected, rtol=1e-4, atol=1e-5)


def test_full_attention_sees_everything_of_its_piece_and_nothing_else():
  """Both ways, up to the padding and the next piece."""
  mixer = FullAttention(8)
  variables = variables_of(mixer, X)
  segments = Segments(np.zeros((2, 6), bool), np.ones((2, 6), bool))
  segments.start[:, 4], segments.valid[:, 1] = True, False

  @jax.jit
  @jax.grad
  def gradient(x):  # of position 2, whose piece is 0, 2 and 3
    return jnp.sum(jnp.sin(mixer.apply(variables, x, segments)[:, 2]))

  felt = np.any(np.asarray(gradient(X)) != 0, axis=-1)
  assert felt.tolist() == 2 * [[True, False, True, True, False, False]]


def test_learned_positions_end_with_an_error_or_with_nan():
  """A longer call is refused; a later step is NaN, never a clamped position."""
  mixer = Attention(4, context=3, positions='learned')
  ones = np.ones((1, 4, 4), np.float32)
  variables = variables_of(mixer, ones[:, :3])
  with pytest.raises(ValueError, match='end at context=3, but 4 positions'):
    mixer.apply(variables, ones)
  carry = mixer.initialize_carry(1)
  carry, _ = apply(mixer, variables, carry, ones[:, :3], method='unroll')
  _, y_t = apply(mixer, variables, carry, ones[:, 0], method='step')
  assert np.isnan(y_t).all()


def test_a_window_is_not_a_context():
  """The one sets the reach and the cache, the other the learned positions."""
  mixer = LocalAttention(8, context=30, window=4, positions='learned')
  assert mixer.receptive_field == 4
  carry = jax.eval_shape(lambda: mixer.initialize_carry(1))
  assert carry.keys.shape == (1, 2, 4, 4)
  assert variables_of(mixer, X)['params']['table'].shape == (30, 8)


@pytest.mark.parametrize('score', SCORES)
def test_reading_step_by_step_is_reading_at_once(score):
  """Keys and values are made once."""
  cross = CrossAttention(8, score=score)
  variables = variables_of(cross, X, SOURCE)
  memory = apply(cross, variables, SOURCE, method='project')
  steps = [
    apply(cross, variables, memory, X[:, t : t + 1], method='read')
    for t in range(2)
  ]
  expected = apply(cross, variables, X, SOURCE)[:, :2]
  assert_close(np.concatenate(steps, axis=1), expected)


@pytest.mark.parametrize('score', SCORES)
def test_padding_of_the_source_changes_nothing(score):
  """NaN or zeros, outputs or gradients; without a source zeros are read."""
  cross = CrossAttention(8, score=score)
  segments = from_lengths(jnp.array([3, 0]), 5)
  variables = variables_of(cross, X, SOURCE)

  @jax.jit
  @jax.value_and_grad
  def loss(inputs):
    variables, x, source = inputs
    y = apply(cross, variables, x, source, segments)
    return jnp.sum(jnp.sin(y[0])) + jnp.sum(y[1] != 0)

  def with_padding(value):
    valid = segments.valid[..., None]
    return loss((variables, X, np.where(valid, SOURCE, np.float32(value))))

  given, expected = with_padding(np.nan), with_padding(0.0)
  jax.tree.map(np.testing.assert_array_equal, given, expected)
  _, (_, felt, from_source) = given
  assert felt[0].any() and not felt[1].any()
  assert from_source[0, :3].any() and not from_source[0, 3:].any()


@pytest.mark.parametrize('score', SCORES)
def test_cross_attention_in_bfloat16_stays_near_float32(score):
  """The parameters are those of float32."""
  cross = CrossAttention(8, score=score)
  variables = variables_of(cross, X, SOURCE)
  half = CrossAttention(8, score=score, dtype=jnp.bfloat16)
  given = apply(half, variables, X, SOURCE)
  assert given.dtype == jnp.bfloat16
  expected = apply(cross, variables, X, SOURCE)
  np.testing.assert_allclose(np.float32(given), expected, atol=0.05)


@pytest.mark.parametrize('score', SCORES)
def test_cross_attention_mixes_no_precisions(score):
  """With x64 on, float64 is float64 throughout and float32 is float32."""
  inputs = variables_of(CrossAttention(8, score=score), X, SOURCE), X, SOURCE
  with jax.enable_x64(True):
    for dtype, other in (('float32', 'f64['), ('float64', 'f32[')):
      cross = CrossAttention(8, score=score, dtype=dtype, param_dtype=dtype)
      typed = jax.tree.map(lambda a: np.asarray(a, dtype), inputs)  # noqa: B023
      assert other not in str(jax.make_jaxpr(cross.apply)(*typed))


@pytest.mark.parametrize(
  'make, message',
  [
    (lambda: Attention(8), 'needs context='),
    (lambda: Attention(8, 0), 'context of at least 1'),
    (lambda: Attention(10, 4, num_heads=4), 'features=10 is not a multiple of '
     'num_heads=4'),
    (lambda: Attention(8, 4, num_heads=0), 'num_heads=0'),
    (lambda: Attention(8, 4, num_heads=4, num_kv_heads=3), 'num_heads=4 is not '
     'a multiple of num_kv_heads=3'),
    (lambda: Attention(8, 4, num_kv_heads=0), 'num_kv_heads=0'),
    (lambda: Attention(6, 4, num_heads=2), 'even head size'),
    (lambda: Attention(8, 4, positions='rotery'), "mean 'rotary'"),
    (lambda: LocalAttention(8, window=0), 'window=0'),
    (lambda: FullAttention(8, positions='learned'), 'context=None'),
    (lambda: CrossAttention(9), 'features=9 is not a multiple'),
    (lambda: CrossAttention(8, score='additiv'), "mean 'additive'"),
  ],
)  # fmt: skip
def test_bad_options_are_refused_at_construction(make, message):
  """One sentence, with what was expected and what was given."""
  with pytest.raises(ValueError, match=message):
    make()


def test_a_carry_can_be_donated():
  """Its arrays are three, none of them given twice."""
  mixer = Attention(8, 6)
  variables = variables_of(mixer, X)

  @jax.jit(donate_argnums=0)
  def step(carry, x_t):
    return mixer.apply(variables, carry, x_t, method='step')

  carry, y_t = step(mixer.initialize_carry(2), X[:, 0])
  assert carry.count.tolist() == [1, 1] and jnp.isfinite(y_t).all()
