"""The law of NNX modules: each computes what its Linen module does."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.nn import bridge
from seqjax.testing.agreement import reject_vacuous
from seqjax.testing.laws import LawBroken
from seqjax.testing.subject import (
  BATCH_SIZE,
  Subject,
  on_host,
  project,
  scan_steps,
  scenarios,
)

NNX = 'an NNX module computes what its Linen module does, gradients too'
NUM_POSITIONS = 6


def check_nnx_module(
  layer: bridge.SequenceLayer,
  *,
  zero: tuple[str, ...] = (),
  tolerance: float = 1.0,
):
  """Compares a call, an unroll, all steps, and the gradients of parameters.

  Args:
    layer: an NNX module. Its parameters are replaced by random ones here, and
      there is no dropout.
    zero, tolerance: as in `assert_mixer_contract`.

  Raises:
    LawBroken: names the tensor, the difference and what is allowed.
  """
  subject = Subject(
    layer.to_linen()[0], jnp.float32, zero=zero, tolerance=tolerance
  )
  expected = jax.tree.map(jnp.shape, subject.variables['params'])
  for held in (layer, type(layer).from_linen(subject.mixer, subject.variables)):
    params = nnx.to_pure_dict(nnx.state(held, nnx.Param))
    if jax.tree.map(jnp.shape, params) != expected:
      raise LawBroken(NNX, 'its parameters have other names or shapes.')
  graph, state = nnx.split(held)

  def in_nnx(state, x):
    def loss(layer):
      found = _results(subject, layer, layer, x)
      return project(found), found

    layer = nnx.merge(graph, state)
    gradients, found = nnx.grad(loss, has_aux=True)(layer)
    return found | {'gradients': {'params': nnx.to_pure_dict(gradients)}}

  def in_linen(variables, x):
    def loss(variables):
      methods = _Methods(subject.mixer, variables)
      found = _results(subject, methods.call, methods, x)
      return project(found), found

    gradients, found = jax.grad(loss, has_aux=True)(variables)
    return found | {'gradients': gradients}

  @jax.jit
  def both(state, variables, x):
    return in_nnx(state, x), in_linen(variables, x)

  x = subject.inputs(NUM_POSITIONS)
  given, expected = on_host(both(state, subject.variables, x))
  subject.agree(NNX, 'NNX', given, expected)
  reject_vacuous(NNX, 'NNX', expected, zero)


class _Methods:
  """The methods of a Linen module with its variables."""

  def __init__(self, mixer: Any, variables: Any):
    apply = functools.partial(mixer.apply, variables)
    self.call = apply
    self.step = functools.partial(apply, method='step')
    self.unroll = functools.partial(apply, method='unroll')
    self.initialize_carry = getattr(mixer, 'initialize_carry', None)


def _results(
  subject: Subject, call: Callable, layer: Any, x: Any
) -> dict[str, Any]:
  """Returns the outputs of a call, and outputs and carries of other methods."""
  segments = jax.tree.map(
    lambda mask: mask[:, :NUM_POSITIONS], scenarios()['random']
  )
  found = {'call': call(x, segments)}
  if not subject.causal:
    return found
  carry = layer.initialize_carry(BATCH_SIZE)
  found['unroll'] = layer.unroll(carry, x, segments)
  found['steps'] = scan_steps(
    layer.step, layer.initialize_carry, carry, x, segments
  )
  return found
