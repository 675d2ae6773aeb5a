"""Generates greedily with a language model of two layers.

Ours is `generate`. Linen's is a jitted step, called in a loop of Python that
reads the prompt token by token, as its layers decode, and then its own tokens.
Torch's reads the prompt at once.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.peers import torch_call, torch_models, training
from experiments.peers.contestant import Contestant, Makers
from experiments.peers.decoding import WORK
from experiments.peers.linen_models import (
  LAYERS,
  LinenModel,
  LinenStepAttention,
  LinenStepLSTM,
)
from seqjax.analysis import timing
from seqjax.models import SequenceModel, generate
from seqjax.nn import LSTM, Attention
from seqjax.typing import Spec

VOCAB = training.VOCAB


def contestants(
  kind: str,
  work: str,
  *,
  batch_size: int,
  features: int,
  prompt: int,
  tokens: int,
) -> Makers:
  """Returns what makes each contestant, by name.

  Args:
    kind: 'lstm' or 'transformer'.
    work: WORK of `decoding`, the only one.
    batch_size, features: sizes of the model's inputs.
    prompt: number of tokens that are read first.
    tokens: number of tokens that are generated.
  """
  assert work == WORK
  length = prompt + tokens
  mixer = (
    LSTM(features)
    if kind == 'lstm'
    else Attention(
      features, length, num_heads=training.HEADS, positions='learned'
    )
  )
  spec = Spec(vocab=VOCAB)
  model = SequenceModel(spec, spec, (mixer,) * LAYERS)
  begun = np.random.default_rng(0).integers(VOCAB, size=(batch_size, prompt))
  begun = jnp.asarray(begun, jnp.int32)
  params = _random(model, begun)
  return {
    'seqjax': functools.partial(_seqjax, model, params, begun, tokens),
    'flax.linen': functools.partial(
      _linen, mixer, params, begun, tokens, length
    ),
    'torch': functools.partial(_torch, mixer, params, begun, tokens, length),
  }


def _random(model: SequenceModel, prompt: jax.Array) -> dict[str, Any]:
  """Matrices so large that tokens depend on those before them."""
  params = model.init(jax.random.key(0), prompt)['params']
  return jax.tree.map(lambda p: 3 * p if p.ndim > 1 else p, params)


def _seqjax(model, params, prompt, tokens: int) -> Contestant:
  key = jax.random.key(0)

  def call(params, prompt):
    continued = generate(
      model, {'params': params}, key, prompt, tokens, temperature=0.0
    )
    return prompt, continued  # for that may be the same after two prompts

  return Contestant(
    timing.Eager(call),
    (params, prompt),
    lambda outputs: {'tokens': outputs[1]},
    tokens=tokens,
  )


def _linen(
  mixer, params: Mapping[str, Any], prompt, tokens: int, length: int
) -> Contestant:
  features = mixer.features
  make = (
    LinenStepLSTM
    if isinstance(mixer, LSTM)
    else functools.partial(LinenStepAttention, mixer.num_heads, length)
  )
  model = LinenModel(VOCAB, features, make)
  whole = jax.ShapeDtypeStruct((len(prompt), length), jnp.int32)
  shapes = jax.eval_shape(model.init, jax.random.key(0), whole)['cache']

  @jax.jit
  def empty():
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

  @functools.partial(jax.jit, donate_argnums=1)
  def step(params, cache, token):
    variables = {'params': params, 'cache': cache}
    logits, after = model.apply(variables, token[:, None], mutable=['cache'])
    return after['cache'], jnp.argmax(logits[:, 0], axis=-1)

  def loop(params, prompt):
    cache, outputs = empty(), []
    given = [*np.asarray(prompt).T]
    for t in range(len(given) + tokens - 1):
      token = given[t] if t < len(given) else outputs[-1]
      cache, token = step(params, cache, token)
      if t >= len(given) - 1:
        outputs.append(token)
    return prompt, outputs

  args = training.to_linen(mixer, params), prompt
  return Contestant(
    timing.Eager(loop),
    args,
    lambda outputs: {'tokens': jnp.stack(outputs[1], axis=1)},
    tokens=tokens,
  )


def _torch(
  mixer, params: Mapping[str, Any], prompt, tokens: int, length: int
) -> Contestant:
  """Handing over arrays, and tokens back, is not torch's work."""
  import torch

  is_lstm = isinstance(mixer, LSTM)
  make = (
    torch_models.LSTM
    if is_lstm
    else functools.partial(torch_models.Attention, mixer.num_heads, length)
  )

  def given(arrays):
    return jax.tree.map(torch.from_dlpack, arrays)

  @torch.inference_mode()
  def call(weights, prompt):
    given_weights, given_prompt = given((weights, prompt))
    found = torch_models.greedy(make, given_weights, given_prompt, tokens)
    return prompt, torch_call.to_jax([found])[0]

  @torch.inference_mode()
  def hand_over(weights, prompt):
    given((weights, prompt))
    return prompt, torch_call.to_jax([torch.zeros(1)])[0]

  return Contestant(
    timing.Eager(call),
    (torch_models.weights(params, is_lstm), prompt),
    lambda outputs: {'tokens': outputs[1]},
    timing.Eager(hand_over),
    tokens=tokens,
  )
