"""Torch as a contestant: it is called with JAX's arrays, without copies."""

from collections.abc import Callable, Sequence

import jax

from experiments.peers.contestant import Contestant
from seqjax.analysis import timing
from seqjax.typing import Array


def differentiable(
  work: str,
  forward: Callable,
  args: Sequence[Array],
  read_gradients: Callable[..., dict[str, Array]],
  read_outputs: Callable[[Array], Array] = lambda y: y,
) -> Contestant:
  """`contestant.differentiable` for a function of torch tensors.

  Handing tensors over takes some 0.02 to 0.1 ms each way and array, which is
  the contestant's `overhead`.
  """
  import torch

  def outputs(*arrays):
    with torch.no_grad():
      return to_jax([forward(*_to_torch(arrays))])

  def gradients(*arrays):
    tensors = [tensor.requires_grad_() for tensor in _to_torch(arrays)]
    loss = forward(*tensors).square().mean()
    return to_jax([loss, *torch.autograd.grad(loss, tensors)])

  def hand_over(*arrays):
    first, *others = _to_torch(arrays)
    back = [first] if work == 'forward' else [first, first, *others]
    return to_jax(back)

  def read(given):
    if work == 'forward':
      return {'outputs': read_outputs(given[0])}
    return {'loss': given[0], **read_gradients(*given[1:])}

  function = outputs if work == 'forward' else gradients
  return Contestant(
    timing.Eager(function), tuple(args), read, timing.Eager(hand_over)
  )


def _to_torch(arrays) -> list:
  import torch

  return [torch.from_dlpack(array) for array in arrays]


def to_jax(tensors) -> list[jax.Array]:
  """Hands tensors over, once a GPU has computed them."""
  import torch

  if torch.cuda.is_available():
    torch.cuda.synchronize()
  return [jax.dlpack.from_dlpack(tensor.detach()) for tensor in tensors]
