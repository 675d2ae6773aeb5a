"""Elman, GRU, LSTM, sLSTM: one step, and whole sequences of them.

How a sequence is computed is the argument `algorithm`:

    'plain'   `jax.lax.scan` over the step, differentiable in every mode. Inputs
              are projected inside the step, where XLA fuses them; one matmul
              for all positions made this form slower where it was tried.
    'fast'    in chunks, with a derivative of its own (`chunked_recurrence`):
              differentiable once in reverse, and in forward mode from there.
    'newton'  in parallel over time, in few steps where the recurrence forgets;
              rows for which they do not suffice are scanned (`ops.newton`).
    'auto'    'fast' where there is such a form, else 'plain'.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax.errors import unknown
from seqjax.ops import algorithms, cells, over_time
from seqjax.ops import chunked_recurrence as chunked
from seqjax.ops.newton import newton
from seqjax.ops.recurrent_weights import (
  ElmanWeights,
  GRUWeights,
  LSTMCarry,
  LSTMWeights,
  SLSTMCarry,
  SLSTMWeights,
  checked,
)
from seqjax.ops.segments import zero_padding
from seqjax.ops.wavefront import wavefront
from seqjax.typing import Array, Segments

ALGORITHMS = ('auto', 'plain', 'fast', 'newton')
SLSTM_ALGORITHMS = ('auto', 'plain', 'newton')
ACTIVATIONS = {'tanh': jnp.tanh, 'relu': jax.nn.relu}

# The logarithm of sLSTM's forget gate, of what projections give.
FORGET_GATES = {'sigmoid': jax.nn.log_sigmoid, 'exponential': lambda f: f}


def elman_step(
  weights: ElmanWeights,
  carry: Float[Array, 'B H'],
  x_t: Float[Array, 'B D'],
  *,
  activation: str = 'tanh',
) -> Float[Array, 'B H']:
  """h_t = tanh(W x_t + U h_{t-1} + b), or relu   (Elman, 1990)."""
  check_activation(activation)
  weights, carry, x_t, _ = checked('elman_step', weights, carry, x_t)
  drive = _project(x_t, weights.input, carry) + weights.bias[None]
  drive = drive + _project(carry, weights.recurrent, carry)
  return ACTIVATIONS[activation](drive)


def gru_step(
  weights: GRUWeights, carry: Float[Array, 'B H'], x_t: Float[Array, 'B D']
) -> Float[Array, 'B H']:
  """h_t = (1 - z_t) n_t + z_t h_{t-1}   (Cho et al., 2014, eqs. 5 to 8).

  r_t, z_t = sigmoid(W x_t + U h_{t-1} + b), and n_t = tanh(W_n x_t + b_n +
  r_t (U_n h_{t-1} + c_n)): the reset gate acts after the recurrent product, as
  in cuDNN and Flax, where the paper has it before.
  """
  weights, carry, x_t, _ = checked('gru_step', weights, carry, x_t)
  from_input = _project(x_t, weights.input, carry) + weights.bias[None]
  from_state = _project(carry, weights.recurrent, carry)
  reset_x, update_x, new_x = jnp.split(from_input, 3, axis=-1)
  reset_h, update_h, new_h = jnp.split(from_state, 3, axis=-1)
  reset = jax.nn.sigmoid(reset_x + reset_h)
  update = jax.nn.sigmoid(update_x + update_h)
  new = jnp.tanh(new_x + reset * (new_h + weights.candidate_bias[None]))
  return (1 - update) * new + update * carry


def lstm_step(
  weights: LSTMWeights, carry: LSTMCarry, x_t: Float[Array, 'B D']
) -> LSTMCarry:
  """c_t = f_t c_{t-1} + i_t g_t;  h_t = o_t tanh(c_t).

  i, f, o = sigmoid(W x_t + U h_{t-1} + b) and g = tanh(...) likewise
  (Hochreiter & Schmidhuber, 1997, with the forget gate of Gers et al., 2000).
  """
  weights, carry, x_t, _ = checked('lstm_step', weights, carry, x_t)
  gates = (
    _project(x_t, weights.input, carry.hidden)
    + _project(carry.hidden, weights.recurrent, carry.hidden)
    + weights.bias[None]
  )
  i, f, g, o = jnp.split(gates, 4, axis=-1)
  cell = jax.nn.sigmoid(f) * carry.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
  return LSTMCarry(cell, jax.nn.sigmoid(o) * jnp.tanh(cell))


def slstm_step(
  weights: SLSTMWeights,
  carry: SLSTMCarry,
  x_t: Float[Array, 'B D'],
  *,
  forget_gate: str = 'sigmoid',
) -> SLSTMCarry:
  """c_t = f_t c_{t-1} + i_t z_t; n_t = f_t n_{t-1} + i_t; h_t = o_t c_t / n_t.

  i = exp(W x_t + R h_{t-1} + b), f = sigmoid or exp, z = tanh and o = sigmoid
  of the same (Beck et al., 2024, eqs. 8 to 14). c and n are kept divided by
  exp(m_t), with m_t = max(log f_t + m_{t-1}, log i_t) (eqs. 15 to 17), so that
  no gate overflows. At the first position, where n = 0, m_t is log i_t: the
  paper's m_0 = -infinity without infinities. Afterwards n is at least 1.
  """
  check_forget_gate(forget_gate)
  weights, carry, x_t, _ = checked('slstm_step', weights, carry, x_t)
  gates = (
    _project(x_t, weights.input, carry.hidden)
    + _project_heads(carry.hidden, weights.recurrent)
    + weights.bias[None]
  )
  log_i, f, z, o = jnp.split(gates, 4, axis=-1)
  log_f = FORGET_GATES[forget_gate](f)
  kept = jnp.where(carry.normalizer > 0, log_f + carry.stabilizer, log_i)
  stabilizer = jnp.maximum(kept, log_i)
  keep, enter = jnp.exp(kept - stabilizer), jnp.exp(log_i - stabilizer)
  cell = keep * carry.cell + enter * jnp.tanh(z)
  normalizer = keep * carry.normalizer + enter
  hidden = jax.nn.sigmoid(o) * cell / normalizer
  return SLSTMCarry(cell, normalizer, stabilizer, hidden)


def elman(
  weights: ElmanWeights,
  carry: Float[Array, 'B H'],
  x: Float[Array, 'B T D'],
  segments: Segments | None = None,
  *,
  activation: str = 'tanh',
  algorithm: str = 'auto',
) -> tuple[Float[Array, 'B H'], Float[Array, 'B T H']]:
  """Applies `elman_step` at all positions; returns last and all states."""
  check_activation(activation)
  check_algorithm(algorithm)
  weights, carry, x, segments = checked('elman', weights, carry, x, segments)
  if algorithm in SOLVERS:
    step = functools.partial(elman_step, activation=activation)
    return SOLVERS[algorithm](step, weights, carry, x, segments)
  (carry,), y = _fast(
    cells.ELMAN[activation], chunked.Weights(*weights), (carry,), x, segments
  )
  return carry, y


def gru(
  weights: GRUWeights,
  carry: Float[Array, 'B H'],
  x: Float[Array, 'B T D'],
  segments: Segments | None = None,
  *,
  algorithm: str = 'auto',
) -> tuple[Float[Array, 'B H'], Float[Array, 'B T H']]:
  """Applies `gru_step` at all positions; returns last and all states."""
  check_algorithm(algorithm)
  weights, carry, x, segments = checked('gru', weights, carry, x, segments)
  if algorithm in SOLVERS:
    return SOLVERS[algorithm](gru_step, weights, carry, x, segments)
  *kernels, candidate_bias = weights
  others = jnp.zeros((2 * candidate_bias.size,), candidate_bias.dtype)
  bias = jnp.concatenate([others, candidate_bias])
  (carry,), y = _fast(
    cells.GRU, chunked.Weights(*kernels, bias), (carry,), x, segments
  )
  return carry, y


def lstm(
  weights: LSTMWeights,
  carry: LSTMCarry,
  x: Float[Array, 'B T D'],
  segments: Segments | None = None,
  *,
  algorithm: str = 'auto',
) -> tuple[LSTMCarry, Float[Array, 'B T H']]:
  """Applies `lstm_step` at all positions; returns last carry, hidden states."""
  check_algorithm(algorithm)
  weights, carry, x, segments = checked('lstm', weights, carry, x, segments)
  if algorithm in SOLVERS:
    solve = SOLVERS[algorithm]
    return solve(lstm_step, weights, carry, x, segments, lambda c: c.hidden)
  state, y = _fast(
    cells.LSTM, chunked.Weights(*weights), tuple(carry), x, segments
  )
  return LSTMCarry(*state), y


def slstm(
  weights: SLSTMWeights,
  carry: SLSTMCarry,
  x: Float[Array, 'B T D'],
  segments: Segments | None = None,
  *,
  forget_gate: str = 'sigmoid',
  algorithm: str = 'auto',
) -> tuple[SLSTMCarry, Float[Array, 'B T H']]:
  """Applies `slstm_step` at all positions; returns last carry, hidden states.

  There is no 'fast' form.
  """
  check_algorithm(algorithm, SLSTM_ALGORITHMS)
  check_forget_gate(forget_gate)
  weights, carry, x, segments = checked('slstm', weights, carry, x, segments)
  step = functools.partial(slstm_step, forget_gate=forget_gate)
  solve = SOLVERS.get(algorithm, _unroll)
  return solve(step, weights, carry, x, segments, lambda c: c.hidden)


def check_algorithm(algorithm: str, known: tuple[str, ...] = ALGORITHMS):
  """Raises ValueError unless `algorithm` is one of those known."""
  algorithms.check_algorithm(algorithm, known)


def check_activation(activation: str):
  """Raises ValueError unless `activation` is one of ACTIVATIONS."""
  if activation not in ACTIVATIONS:
    raise ValueError(unknown('activation', activation, ACTIVATIONS))


def check_forget_gate(forget_gate: str):
  """Raises ValueError unless `forget_gate` is one of FORGET_GATES."""
  if forget_gate not in FORGET_GATES:
    raise ValueError(unknown('forget gate', forget_gate, FORGET_GATES))


def _project(x, kernel, like):
  """Multiplies in the kernel's precision, sums in that of the state."""
  return jnp.matmul(
    x.astype(kernel.dtype), kernel, preferred_element_type=like.dtype
  )


def _project_heads(state, kernel):
  """Multiplies each head's state by its kernel, in the order of gates."""
  num_heads, size = kernel.shape[:2]
  heads = state.reshape(-1, num_heads, size).astype(kernel.dtype)
  # XLA's CPU backend of jax 0.12 has no batched product of bfloat16 that sums
  # in float32: there the rounded numbers are widened first.
  precision = algorithms.by_platform(cpu=state.dtype, accelerator=kernel.dtype)
  gates = jnp.einsum(
    'bhk,hkj->bhj',
    heads.astype(precision),
    kernel.astype(precision),
    preferred_element_type=state.dtype,
  )
  gates = gates.reshape(-1, num_heads, 4, size).swapaxes(1, 2)
  return gates.reshape(-1, 4 * num_heads * size)


def _fast(cell, weights, carry, x, segments):
  """Reads chunks of positions, by a derivative of its own."""
  run = functools.partial(chunked.unroll, cell, weights)
  if over_time.is_cut():
    carry, y = wavefront(run, carry, x, segments)
  else:
    carry, y = run(carry, x, segments)
  return carry, zero_padding(y, segments)


def _unroll(
  step: Callable,
  weights: Any,
  carry: Any,
  x: Float[Array, 'B T D'],
  segments: Segments | None,
  read: Callable[[Any], Array] = lambda carry: carry,
) -> tuple[Any, Float[Array, 'B T H']]:
  """Scans `step` over time."""
  move, inputs = _masked(step, weights, x, segments)

  def body(carry, inputs):
    carry = move(carry, inputs)
    return carry, read(carry)

  def run(carry, inputs):
    time_major = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
    carry, states = jax.lax.scan(body, carry, time_major)
    return carry, jnp.swapaxes(states, 0, 1)

  if over_time.is_cut():
    carry, states = wavefront(run, carry, inputs)
  else:
    carry, states = run(carry, inputs)
  return carry, zero_padding(states, segments)


def _solve(
  step: Callable,
  weights: Any,
  carry: Any,
  x: Float[Array, 'B T D'],
  segments: Segments | None,
  read: Callable[[Any], Array] = lambda carry: carry,
) -> tuple[Any, Float[Array, 'B T H']]:
  """Solves for all states by Newton's method; scans the rows that it fails."""
  move, inputs = _masked(step, weights, x, segments)
  start = None if segments is None else segments.start
  solution = newton(move, carry, inputs, start=start)
  return solution.carry, zero_padding(read(solution.states), segments)


SOLVERS = {'plain': _unroll, 'newton': _solve}


def _masked(step, weights, x, segments):
  """Puts a step under segments, and collects its inputs.

  Padding holds the carry, a start clears it.
  """
  if segments is None:
    return functools.partial(step, weights), x

  def move(carry, inputs):
    x_t, start, valid = inputs
    carry = _select(~start, carry, jax.tree.map(jnp.zeros_like, carry))
    return _select(valid, step(weights, carry, x_t), carry)

  return move, (zero_padding(x, segments), *segments)


def _select(keep, new, old):
  """Takes rows of `new` where `keep`, else of `old`."""
  return jax.tree.map(lambda a, b: jnp.where(keep[:, None], a, b), new, old)
