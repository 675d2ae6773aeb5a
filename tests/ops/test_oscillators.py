"""Oscillators against the equations of their discretisations."""

import jax
import numpy as np
import pytest

from seqjax.ops.linear_recurrence import ALGORITHMS
from seqjax.ops.oscillators import (
  DISCRETIZATIONS,
  oscillators,
  oscillators_step,
)
from seqjax.typing import Segments

B, T, N = 2, 17, 3


def draw():
  """Velocities and positions, forces, stiffness (one is zero) and steps."""
  rng = np.random.default_rng(0)

  def normal(*shape):
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)

  carry, force = normal(B, 2, N), normal(B, T, N)
  return carry, force, np.array([0.0, 0.4, 2.5]), rng.uniform(0.1, 1, size=N)


def move(z, y, u, a, dt, discretization):
  """One oscillator: the implicit equations are solved, others computed."""
  if discretization == 'im':  # z' + dt a y' = z + dt u and y' - dt z' = y
    matrix = np.array([[1, dt * a], [-dt, 1]])
    return np.linalg.solve(matrix, np.array([z + dt * u, y]))
  z = z + dt * (u - a * y)
  return z, y + dt * z


@pytest.mark.parametrize('discretization', DISCRETIZATIONS)
@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_every_algorithm_solves_the_equations(algorithm, discretization):
  """Under starts, and padding of NaN."""
  carry, force, stiffness, step_size = draw()
  rng = np.random.default_rng(1)
  segments = Segments(rng.random((B, T)) < 0.2, rng.random((B, T)) < 0.7)
  given = np.where(segments.valid[..., None], force, np.nan)
  options = {'algorithm': algorithm, 'discretization': discretization}
  with jax.enable_x64(True):
    run = jax.jit(lambda *args: oscillators(*args, **options))
    last, places = run(carry, given, stiffness, step_size, segments)
  for b in range(B):
    state = carry[b]
    for t in range(T):
      if segments.start[b, t]:
        state = np.zeros_like(state)
      expected = np.zeros(N)
      if segments.valid[b, t]:
        moved = [
          move(*state[:, n], force[b, t, n], stiffness[n], step_size[n],
               discretization)
          for n in range(N)
        ]  # fmt: skip
        state = np.array(moved).T
        expected = state[1]
      np.testing.assert_allclose(places[b, t], expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(last[b], state, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('discretization', DISCRETIZATIONS)
def test_steps_are_the_sequence(discretization):
  """Agrees for real forces too, whose oscillators are real."""
  carry, force, *system = draw()
  with jax.enable_x64(True):
    for part in (np.asarray, np.real):
      state, forces = part(carry), part(force)
      run = jax.jit(
        lambda *args: oscillators(*args, discretization=discretization)
      )
      last, places = run(state, forces, *system)
      for t in range(T):
        state, place = oscillators_step(
          state, forces[:, t], *system, discretization=discretization
        )
        np.testing.assert_allclose(places[:, t], place, rtol=1e-9, atol=1e-9)
      np.testing.assert_allclose(last, state, rtol=1e-9, atol=1e-9)
      assert last.dtype == places.dtype == state.dtype


def test_implicit_steps_lose_energy_and_explicit_ones_keep_it():
  """z^2 + a y^2, less dt a y z for the latter, without a force."""
  carry, _, stiffness, step_size = (np.real(array) for array in draw())
  rest = np.zeros((B, 400, N))

  def energies(discretization):
    last, _ = oscillators(
      carry, rest, stiffness, step_size, discretization=discretization
    )
    mixed = step_size if discretization == 'imex' else 0 * step_size
    return [
      z**2 + stiffness * y**2 - mixed * stiffness * y * z
      for z, y in (np.moveaxis(a, 1, 0) for a in (carry, np.asarray(last)))
    ]

  with jax.enable_x64(True):
    before, after = energies('im')
    np.testing.assert_allclose(after[:, 0], before[:, 0])  # free motion
    assert (after[:, 1:] < 1e-2 * before[:, 1:]).all()
    np.testing.assert_allclose(*energies('imex'), rtol=1e-9)


def test_an_unknown_discretization_is_named_with_its_neighbour():
  """Before anything is compiled."""
  with pytest.raises(ValueError, match="'imx'. Did you mean 'im"):
    oscillators(*draw(), discretization='imx')
