"""A nonlinear recurrence h_t = f(h_{t-1}, x_t) solved in parallel over time.

The states of all positions are a root of f(h_{t-1}, x_t) - h_t. A step of
Newton's method linearises f at a guess of them and solves the linear recurrence
that results, in O(log T) parallel steps (Lim et al., 2024, "Parallelizing
non-linear sequential models over the sequence length": DEER). How many it takes
depends on the recurrence: a handful where it forgets, up to T where it is
chaotic, which is what `lyapunov.largest_lyapunov_exponent` estimates.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from seqjax.errors import unknown
from seqjax.ops import checks, over_time
from seqjax.ops.linear_recurrence import linear_recurrence
from seqjax.ops.matrix_recurrence import matrix_recurrence
from seqjax.ops.wavefront import wavefront
from seqjax.typing import Array, Segments

JACOBIANS = ('full', 'diagonal')
PROBES = 8  # patterns of rounding errors whose effect is looked at


class NewtonSolution(NamedTuple):
  """The states that `newton` found, and how it went.

  Attributes:
    carry: the state after the last position; leaves are [B ...].
    states: the states after every position; leaves are [B T ...].
    converged: which rows Newton's method solved; the others are the scan's.
    iterations: how many steps the slowest row took, without the full one at
      the end of others.
    update: of Newton's states, the largest |d_t| / (1 + |h_t|) in each row,
      where d is the full Newton update that would come next.
  """

  carry: Any
  states: Any
  converged: Bool[Array, 'B']
  iterations: Int[Array, '']
  update: Float[Array, 'B']


def newton(
  step: Callable[[Any, Any], Any],
  carry: Any,
  x: Any,
  *,
  start: Bool[Array, 'B T'] | None = None,
  jacobian: str = 'full',
  damping: float = 0.0,
  tolerance: float = 1e-5,
  max_iterations: int = 64,
  fallback: bool = True,
) -> NewtonSolution:
  """Solves a `jax.lax.scan` of `step` over time by Newton's method.

  A row has converged when, at the states returned, the next full update d is at
  most tolerance (1 + |h|) everywhere, and |d| plus what rounding errors grow to
  is at most 10 tolerance. A small residual would not do, since f may amplify
  it; nor would a small update, since states that follow f to the last bit have
  none, and still are those of another trajectory where f is chaotic. So errors
  of size eps (1 + |h|) and random sign are put into every position, several
  patterns of them, and sent through the same linear recurrence as the update.

  The first guess is what f makes of the carry at every position. A step changes
  h by at most 1 + |h|, and then puts f(h_{t-1}, x_t) in the place of h_t at all
  positions at once: states stay where f puts them, and the positions that are
  right from the beginning on are at least one more after every step, however
  far off the others went. (The paper begins with zeros and does neither.)

  Derivatives of any mode and order are those of the recurrence at the states
  returned, by solving its linearisation (in reverse: the adjoint recurrence
  l_t = J_{t+1}^T l_{t+1} + g_t); `step` may close over what is differentiated.

  Args:
    step: (carry, x_t) -> carry, for which rows are independent of each other.
    carry: the state before the first position; leaves are [B ...] of one
      floating dtype, N numbers per row in all.
    x: what `step` reads; leaves are [B T ...].
    start: where `step` forgets the carry, if anywhere: there nothing passes
      from states before it to those after it, nor gradients back, even where
      they are not finite.
    jacobian: 'full' takes N^3 operations a position where parallel. 'diagonal'
      (Gonzalez et al., 2024, "Towards scalable and stable parallelization of
      nonlinear RNNs": quasi-DEER) takes N, converges linearly, and ends with
      one full step. Either needs memory for full Jacobians, [B T N N], at the
      last step and in derivatives.
    damping: shrinks Jacobians by 1 - damping, from Newton's method at 0 to
      fixed-point iterations at 1. The paper (ELK) damps by a Kalman filter that
      holds states near the last ones; the limit on steps is what does so here.
    tolerance: see above.
    max_iterations: steps after which a row counts as not converged.
    fallback: whether such a row is scanned; it is Newton's otherwise.

  Raises:
    ValueError: an unknown `jacobian`, or a number out of its range.
  """
  _check(jacobian, damping, tolerance, max_iterations)
  sizes = {}
  carry = checks.leaves('newton', 'carry', carry, 'B', 'real', sizes)
  x = checks.leaves('newton', 'x', x, 'B T', 'any', sizes)
  (start,) = checks.arrays('newton', sizes, start=(start, 'B T', 'bool'))
  first, ravel, unravel = _raveled(carry)

  def cell(state, x_t):
    return ravel(step(unravel(state), x_t))

  def cells(states: Float[Array, 'B T N']) -> Float[Array, 'B T N']:
    return jax.vmap(cell, 1, 1)(_before(first, states), x)

  # The root is found without a derivative, which `custom_root` takes at the
  # solution: memory does not grow with the number of iterations.
  def solve(_, guess):
    advance = _step(cells, start, jacobian, damping)
    states, iterations = _iterate(advance, guess, tolerance, max_iterations)
    if jacobian != 'full' or damping > 0:
      states = _step(cells, start, 'full', 0.0)(states)
    converged, update = _check_convergence(cells, start, states, tolerance)
    if fallback:
      states = jax.lax.cond(
        over_time.anywhere(jnp.any(~converged)),
        lambda: _where(converged, states, _scan(cell, first, x)),
        lambda: states,
      )
    # The tangents of what comes beside a root must be floating like itself.
    diagnostics = converged, iterations, update
    return states, jax.tree.map(lambda a: a.astype(states.dtype), diagnostics)

  num_positions = jax.tree.leaves(x)[0].shape[1]
  everywhere = jnp.repeat(first[:, None], num_positions, axis=1)
  states, (converged, iterations, update) = jax.lax.custom_root(
    lambda states: states - cells(states),
    # Where it is not finite, products with zero would pass that to gradients.
    jax.lax.stop_gradient(cells(everywhere)),
    solve,
    functools.partial(_solve_tangent, start),
    has_aux=True,
  )
  last = states[:, -1] if num_positions else first
  return NewtonSolution(
    unravel(over_time.from_last(last)),
    jax.vmap(unravel, 1, 1)(states),
    converged.astype(bool),
    iterations.astype(jnp.int32),
    update,
  )


def _check(jacobian, damping, tolerance, max_iterations):
  if jacobian not in JACOBIANS:
    raise ValueError(unknown('jacobian', jacobian, JACOBIANS))
  if not 0 <= damping <= 1:
    raise ValueError(
      'newton takes a damping from 0 (none) to 1 (fixed-point iterations), but '
      f'damping={damping} was given.'
    )
  if not tolerance > 0:
    raise ValueError(
      f'newton needs a tolerance above 0, but tolerance={tolerance} was given.'
    )
  if max_iterations < 1:
    raise ValueError(
      'newton needs at least one iteration, but '
      f'max_iterations={max_iterations} was given.'
    )


def _raveled(carry):
  """Returns the carry as [B N], and the ways there and back."""
  leaves, structure = jax.tree.flatten(carry)
  shapes = [leaf.shape[1:] for leaf in leaves]
  sizes = [math.prod(shape) for shape in shapes]
  cuts = [sum(sizes[:i]) for i in range(1, len(sizes))]

  def ravel(tree) -> Float[Array, 'B N']:
    rows = [
      leaf.reshape(leaf.shape[0], size)
      for leaf, size in zip(jax.tree.leaves(tree), sizes, strict=True)
    ]
    return jnp.concatenate(rows, axis=1)

  def unravel(state: Float[Array, 'B N']):
    parts = jnp.split(state, cuts, axis=1)
    return structure.unflatten(
      part.reshape(part.shape[0], *shape)
      for part, shape in zip(parts, shapes, strict=True)
    )

  return ravel(carry), ravel, unravel


def _step(
  cells: Callable,
  start: Bool[Array, 'B T'] | None,
  jacobian: str,
  damping: float,
) -> Callable:
  """states -> states: solve the linearisation, then apply f once."""

  def advance(states):
    after, derivative = jax.linearize(cells, states)
    residual = after - states
    if jacobian == 'full':
      matrix = (1 - damping) * _jacobians(derivative, states)
      update = matrix_recurrence(matrix, residual[..., None], start)[..., 0]
    else:
      decay = (1 - damping) * _diagonals(derivative, states)
      _, update = linear_recurrence(
        jnp.zeros((states.shape[0], states.shape[2]), states.dtype),
        decay,
        residual,
        None if start is None else Segments(start, jnp.ones_like(start)),
      )
    # A limit on the update keeps the first iterations from overflowing, where
    # the linearisation is far off; then f is applied, so that one more position
    # from the beginning is right after every iteration.
    limit = 1 + jnp.abs(states)
    # Products of expanding Jacobians overflow; where they do, f alone advances.
    update = jnp.where(jnp.isnan(update), 0, jnp.clip(update, -limit, limit))
    return cells(states + update)

  return advance


def _iterate(advance, states, tolerance, max_iterations):
  """Steps until they are small, or too many: the states, and how many."""

  def body(loop):
    states, large, _, count = loop
    new = _where(large, advance(states), states)
    change = jnp.abs(new - states) <= tolerance * (1 + jnp.abs(new))
    large = over_time.total(jnp.any(~change, axis=(1, 2)))
    return new, large, over_time.anywhere(jnp.any(large)), count + 1

  def unfinished(loop):
    _, _, any_large, count = loop
    return (count < max_iterations) & any_large

  all_rows = jnp.ones(states.shape[:1], bool)
  any_large = over_time.anywhere(jnp.any(all_rows))
  states, *_, count = jax.lax.while_loop(
    unfinished, body, (states, all_rows, any_large, jnp.zeros((), jnp.int32))
  )
  return states, count


def _check_convergence(cells, start, states, tolerance):
  """Marks the rows that have converged, and measures their update."""
  after, derivative = jax.linearize(cells, states)
  scale = 1 + jnp.abs(states)
  signs = jax.random.rademacher(
    jax.random.key(0), (*states.shape, PROBES), states.dtype
  )
  errors = jnp.finfo(states.dtype).eps * scale[..., None] * signs
  drive = jnp.concatenate([(after - states)[..., None], errors], axis=-1)
  matrix = _jacobians(derivative, states)
  response = jnp.abs(matrix_recurrence(matrix, drive, start))
  # Infinity stands for NaN, which maxima may overlook on a CPU.
  response = jnp.where(jnp.isnan(response), jnp.inf, response)
  update, amplified = response[..., 0], jnp.max(response[..., 1:], axis=-1)
  relative = update / scale
  relative = jnp.where(jnp.isnan(relative), jnp.inf, relative)
  relative = jnp.max(relative, axis=(1, 2), initial=0)
  absolute = jnp.max(update + amplified, axis=(1, 2), initial=0)
  relative, absolute = over_time.largest((relative, absolute))
  converged = (relative <= tolerance) & (absolute <= 10 * tolerance)
  return converged, relative


def _solve_tangent(start, linear, y):
  """Solves v_t - J_t v_{t-1} = y_t, given the left-hand side as a function."""
  identity = jnp.eye(y.shape[-1], dtype=y.dtype)[None, None]
  matrix = identity - _jacobians(linear, y)
  return matrix_recurrence(matrix, y[..., None], start)[..., 0]


def _jacobians(derivative, states) -> Float[Array, 'B T N N']:
  """Returns the derivative at every position by the state before it."""

  def column(direction):
    return derivative(jnp.broadcast_to(direction, states.shape))

  identity = jnp.eye(states.shape[-1], dtype=states.dtype)
  return jax.vmap(column, out_axes=-1)(identity[:, None, None])


def _diagonals(derivative, states) -> Float[Array, 'B T N']:
  """Returns the diagonals of `_jacobians`, without keeping their columns."""

  def entry(direction):
    column = derivative(jnp.broadcast_to(direction, states.shape))
    return jnp.sum(column * direction, axis=-1)

  identity = jnp.eye(states.shape[-1], dtype=states.dtype)
  entries = jax.lax.map(entry, identity[:, None, None])
  return jnp.moveaxis(entries, 0, -1)


def _scan(cell, first, x) -> Float[Array, 'B T N']:
  """Returns the states, one position after the other."""

  def body(state, x_t):
    state = cell(state, x_t)
    return state, state

  def run(state, x):
    time_major = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), x)
    state, states = jax.lax.scan(body, state, time_major)
    return state, jnp.swapaxes(states, 0, 1)

  if over_time.is_cut():
    _, states = wavefront(run, first, x)
  else:
    _, states = run(first, x)
  return states


def _before(
  first: Float[Array, 'B N'], states: Float[Array, 'B T N']
) -> Float[Array, 'B T N']:
  """Returns the state before each position."""
  if over_time.is_cut() and states.shape[1]:
    sent = over_time.shift(states[:, -1])
    first = over_time.select(over_time.place() == 0, first, sent)
  return jnp.concatenate([first[:, None], states], axis=1)[:, :-1]


def _where(rows, yes, no):
  return jnp.where(rows[:, None, None], yes, no)
