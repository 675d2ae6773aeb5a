"""FLOPs against formulas, in loops, branches, gradients and convolutions."""

import jax
import jax.numpy as jnp
import pytest

from seqjax.analysis import flops

B, T, D, N = 4, 20, 8, 16
SQUARE = 2 * N**3


def floats(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


MATRIX = floats(N, N)


def lstm_like(weights, x):
  """Four gates from the input and the state at every position."""

  def step(state, x_t):
    gates = jnp.concatenate([x_t, state], axis=-1) @ weights
    i, f, g, o = jnp.split(jnp.tanh(gates), 4, axis=-1)
    state = o * jnp.tanh(f * state + i * g)
    return state, state

  return jax.lax.scan(step, jnp.zeros((B, N)), x)[1]


def test_a_recurrence_costs_its_step_times_its_length():
  """2 T B (D + N) 4N, whether given arrays or shapes."""
  shapes = floats(D + N, 4 * N), floats(T, B, D)
  expected = 2 * T * B * (D + N) * 4 * N
  assert flops.count(lstm_like, *shapes) == expected
  arrays = [jnp.ones(s.shape) for s in shapes]
  assert flops.count(lstm_like, *arrays) == expected


def test_a_gradient_costs_the_forward_pass_and_twice_as_much_again():
  """Each product needs one for the weights and one for what it was given."""
  shapes = floats(D + N, 4 * N), floats(T, B, D)
  step = jax.value_and_grad(
    lambda *args: lstm_like(*args).sum(), argnums=(0, 1)
  )
  assert flops.count(step, *shapes) == 3 * flops.count(lstm_like, *shapes)


def test_the_compiler_counts_the_body_of_a_scan_once():
  """Why this module exists: cost_analysis() gives a step, not a sequence."""
  shapes = floats(D + N, 4 * N), floats(T, B, D)
  compiled = jax.jit(lstm_like).lower(*shapes).compile()
  assert compiled.cost_analysis()['flops'] < flops.count(lstm_like, *shapes) / 4


def square(a):
  return a @ a


def halves(a):
  return jax.lax.cond(a[0, 0] > 0, lambda a: square(square(a)), square, a)


@jax.custom_vjp
def own_derivative(a):
  return square(a)


own_derivative.defvjp(
  lambda a: (square(a), a), lambda a, g: (square(g) + square(a) @ g,)
)


@jax.custom_jvp
def own_tangent(a):
  return square(a)


own_tangent.defjvp(lambda primals, tangents: (square(*primals), *tangents))


@pytest.mark.parametrize(
  'function, squares',
  [
    (square, 1),
    (jax.jit(lambda a: square(a) + jax.jit(square)(2 * a)), 2),
    (lambda a: jax.lax.fori_loop(0, 5, lambda _, a: square(a), a), 5),
    (lambda a: jax.lax.map(lambda row: square(row * a), a[..., None]), N),
    (halves, 2),
    (jax.checkpoint(square), 1),
    (own_derivative, 1),
    (own_tangent, 1),
    (lambda a: jax.grad(lambda a: own_derivative(a).sum())(a), 3),
    (lambda a: jax.grad(lambda a: own_tangent(a).sum())(a), 0),
    (lambda a: jax.vmap(square)(jnp.stack([a, a, a])), 3),
    (lambda a: a[:, :1] @ a[:1], 1 / N),
    (lambda a: (square(a), a)[1], 0),
    (jnp.tanh, 0),
  ],
)
def test_every_way_to_call_a_function_counts_what_it_runs(function, squares):
  """Nested jit, loops, branches, own derivatives, batches; nothing unused."""
  assert flops.count(function, MATRIX) == squares * SQUARE


def test_a_gradient_that_nobody_asked_for_is_not_counted():
  """A scan's own derivative computes both; the compiler drops one."""

  @jax.custom_vjp
  def own(weights, x_t):
    return x_t @ weights

  own.defvjp(
    lambda weights, x_t: (x_t @ weights, (weights, x_t)),
    lambda kept, g: (kept[1].T @ g, g @ kept[0].T),
  )

  def loss(weights, x):
    def step(state, x_t):
      return jnp.tanh(state), own(weights, x_t)

    return jnp.sum(jax.lax.scan(step, x[0], x)[1])

  shapes = MATRIX, floats(T, B, N)
  one = 2 * T * B * N * N
  assert flops.count(jax.grad(loss, argnums=(0, 1)), *shapes) == 2 * one
  assert flops.count(jax.grad(loss), *shapes) == one


@pytest.mark.parametrize('groups, dilation', [(1, 1), (1, 4), (D, 1)])
def test_a_convolution_costs_its_taps_and_channels_at_every_output(
  groups, dilation
):
  """2 B T K D N / groups, dilated or not, depthwise too."""
  kernel, outputs = 3, D * 2

  def convolve(x, filters):
    return jax.lax.conv_general_dilated(
      x,
      filters,
      window_strides=(1,),
      padding=[((kernel - 1) * dilation, 0)],
      rhs_dilation=(dilation,),
      dimension_numbers=('NWC', 'WIO', 'NWC'),
      feature_group_count=groups,
    )

  shapes = floats(B, T, D), floats(kernel, D // groups, outputs)
  expected = 2 * B * T * kernel * D * outputs // groups
  assert flops.count(convolve, *shapes) == expected


def test_complex_products_cost_four_and_dtypes_are_apart():
  """A complex multiply-add is 8 FLOPs; integers count nothing."""

  def mixed(a):
    half, number = a.astype(jnp.bfloat16), a.astype(jnp.int32)
    return square(a), square(half), square(a + 1j), square(number)

  assert flops.count_by_dtype(mixed, MATRIX) == {
    'float32': SQUARE,
    'bfloat16': SQUARE,
    'complex64': 4 * SQUARE,
  }


def test_a_while_loop_around_a_matmul_is_an_error_that_names_it():
  """How often it runs is known too late; one without matmuls counts nothing."""

  def until(body):
    return lambda a: jax.lax.while_loop(lambda a: a[0, 0] < 1, body, a)

  with pytest.raises(ValueError, match=r'while loop \(.*test_flops.*by hand'):
    flops.count(until(square), MATRIX)
  assert flops.count(until(jnp.exp), MATRIX) == 0


def test_a_callback_cannot_be_counted():
  """What it does is not in the trace."""

  def hidden(a):
    return jax.pure_callback(lambda a: a @ a, a, a)

  with pytest.raises(ValueError, match='pure_callback.*cannot be counted'):
    flops.count(hidden, MATRIX)
