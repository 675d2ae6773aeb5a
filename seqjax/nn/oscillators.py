"""A layer of harmonic oscillators that inputs push, and outputs read."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Complex

from seqjax.errors import unknown
from seqjax.nn.initializers import uniform_within
from seqjax.nn.mixer import (
  CausalMixer,
  carry_dtype,
  check_sizes,
  check_step,
  check_unroll,
)
from seqjax.ops import segments as segments_lib
from seqjax.ops.linear_recurrence import check_algorithm
from seqjax.ops.oscillators import (
  DISCRETIZATIONS,
  oscillators,
  oscillators_step,
)
from seqjax.ops.state_space import from_state, to_state
from seqjax.typing import Array, Segments


class LinOSS(CausalMixer):
  """y'' = -A y + B x_t and v_t = Re(C y_t) + D x_t, a diagonal A.

  Linear oscillatory state spaces (Rusch & Rus, 2025, section 2): N complex
  oscillators, A = relu(a) so that no spring pushes outwards, at steps dt =
  sigmoid(s) of their own. Parameters begin as in the authors' code
  (tk-rusch/linoss at 83e6318): a and s uniform in 0..1, B and C uniform, D
  normal. The system alone: norm, activation and gate around it are left to the
  block.

  Attributes:
    algorithm: how `ops.oscillators` computes it.
    state_size: N.
    discretization: 'im', which loses energy, or 'imex', which keeps it while
      dt^2 A is below 4, as it is at the beginning; nothing holds it there.
  """

  algorithm: str = 'auto'
  state_size: int = 64
  discretization: str = 'im'

  def __post_init__(self):
    super().__post_init__()
    check_algorithm(self.algorithm)
    check_sizes(self, 'state_size')
    if self.discretization not in DISCRETIZATIONS:
      raise ValueError(
        unknown('discretization', self.discretization, DISCRETIZATIONS)
      )

  def setup(self):
    size, width, dtype = self.state_size, self.features, self.param_dtype
    uniform = nn.initializers.uniform(1.0)
    self.stiffness = self.param('stiffness', uniform, (size,), dtype)
    self.step_logit = self.param('step_logit', uniform, (size,), dtype)
    within = uniform_within(1 / math.sqrt(width))
    self.input = self.param('input', within, (2, width, size), dtype)
    within = uniform_within(1 / math.sqrt(size))
    self.output = self.param('output', within, (2, size, width), dtype)
    normal = nn.initializers.normal(1.0)
    self.skip = self.param('skip', normal, (width,), dtype)

  @nn.nowrap
  def initialize_carry(self, batch_size: int) -> Complex[Array, 'B 2 N']:
    dtype = jnp.promote_types(self.dtype, jnp.complex64)
    return jnp.zeros((batch_size, 2, self.state_size), dtype)

  def step(self, carry, x_t):
    check_step(self, carry, x_t)
    carry, place = oscillators_step(
      carry, *self._system(x_t), discretization=self.discretization
    )
    return carry, self._read(place, x_t)

  def unroll(self, carry, x, segments: Segments | None = None):
    check_unroll(self, carry, x, segments)
    x = segments_lib.zero_padding(x, segments)
    carry, places = oscillators(
      carry,
      *self._system(x),
      segments,
      discretization=self.discretization,
      algorithm=self.algorithm,
    )
    return carry, segments_lib.zero_padding(self._read(places, x), segments)

  @nn.nowrap
  def _system(self, x):
    """Forces, stiffness and steps in time."""
    dtype = carry_dtype(self.dtype)
    stiffness = nn.relu(self.stiffness.astype(dtype))
    step_size = nn.sigmoid(self.step_logit.astype(dtype))
    force = to_state(x, self.input.astype(self.dtype), dtype)
    return force, stiffness, step_size

  @nn.nowrap
  def _read(self, places, x):
    y = from_state(places, self.output.astype(self.dtype))
    skip = jnp.broadcast_to(self.skip.astype(self.dtype), x.shape)
    return (y + skip * x).astype(self.dtype)
