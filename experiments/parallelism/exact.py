"""Solves recurrences in parallel over time, and compares with a scan.

The LSTM and the GRU by Newton's method, which may not fall back on the scan;
minGRU, whose recurrence is linear, by an associative scan. With weights as they
begin, and after they were trained on recall with mixed lags.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from seqjax import training
from seqjax.models import SequenceModel, features_for, specs
from seqjax.nn import GRU, LSTM, CausalMixer, MinGRU
from seqjax.ops import recurrence
from seqjax.ops.newton import newton
from seqjax.tasks.synthetic.recall import Recall
from seqjax.typing import Array

SOLVED = {'lstm': LSTM, 'gru': GRU, 'mingru': MinGRU}
STEPS = {'lstm': recurrence.lstm_step, 'gru': recurrence.gru_step}
SHORTEST = 64  # positions; four times as many each time, up to the length
TASK = Recall(lag=64, design='mixed')
UPDATES, BATCH_SIZE, LEARNING_RATE = 400, 32, 3e-3  # of the trained weights


def rows(
  name: str, parameters: int, batch_size: int, length: int
) -> list[dict[str, Any]]:
  """Returns a row per kind of weights and number of positions.

  Its columns: `deviation`, the largest difference of a state over the largest
  state; `iterations` of Newton's method, None without it; `converged`, whether
  it found all states; `training_loss` of the trained weights.
  """
  features = features_for(SOLVED[name], parameters)
  model = SequenceModel(
    TASK.input, TASK.output, (SOLVED[name](features),), expansion=0
  )
  random = model.init(jax.random.key(0), jnp.zeros((1, 1), int))['params']
  trained, loss = _train(model)
  return [
    {
      'mixer': name,
      'features': features,
      'weights': kind,
      'positions': positions,
      'training_loss': given,
    }
    | _compare(name, model, params, batch_size, positions)
    for kind, params, given in (
      ('random', random, None),
      ('trained', trained, loss),
    )
    for positions in lengths(length)
  ]


def lengths(longest: int) -> list[int]:
  """Returns 64, 256, 1024 ... up to the longest, which is among them."""
  found = [longest]
  while found[0] >= 4 * SHORTEST:
    found.insert(0, found[0] // 4)
  return found


def _train(model: nn.Module) -> tuple[Any, float]:
  """Returns trained parameters and the last training loss."""
  *_, (state, metrics) = training.train(
    model,
    TASK,
    training.adamw(UPDATES),
    jax.random.key(0),
    steps=UPDATES,
    batch_size=BATCH_SIZE,
    learning_rate=LEARNING_RATE,
  )
  return state.params, float(metrics['loss'])


def _compare(
  name: str,
  model: SequenceModel,
  params: Any,
  batch_size: int,
  positions: int,
) -> dict[str, Any]:
  """Solves one batch in both ways; returns how far they are apart."""
  x = _mixer_inputs(model, params, batch_size, positions)
  variables = {'params': params['stack']['blocks_0']['mixer']}
  scan = SOLVED[name](model.mixers[0].features, algorithm='plain')
  expected = jax.jit(scan.apply)(variables, x)
  found = (_newton if name in STEPS else _associative)(name, variables, x)
  deviation = jnp.max(jnp.abs(found.pop('states') - expected))
  return {'deviation': float(deviation / jnp.max(jnp.abs(expected)))} | found


def _newton(
  name: str, variables: Any, x: Float[Array, 'B T D']
) -> dict[str, Any]:
  mixer: CausalMixer = SOLVED[name](x.shape[-1])

  @jax.jit
  def solve(variables, x):
    step = functools.partial(STEPS[name], mixer.bind(variables).weights)
    carry = mixer.initialize_carry(len(x))
    return newton(step, carry, x, fallback=False)

  solution = solve(variables, x)
  return {
    'states': getattr(solution.states, 'hidden', solution.states),
    'iterations': int(solution.iterations),
    'converged': bool(solution.converged.all()),
  }


def _associative(
  name: str, variables: Any, x: Float[Array, 'B T D']
) -> dict[str, Any]:
  mixer = SOLVED[name](x.shape[-1], algorithm='associative')
  states = jax.jit(mixer.apply)(variables, x)
  return {'states': states, 'iterations': None, 'converged': True}


def _mixer_inputs(
  model: SequenceModel, params: Any, batch_size: int, positions: int
) -> Float[Array, 'B T D']:
  """Returns what the mixer reads of a batch of recall of that length."""
  task = Recall(lag=positions - 1, design='fixed')
  batch = task.batch(jax.random.key(1), 0, batch_size, 'test')
  bound = model.bind({'params': params})
  x = specs.embed(bound.embedding, model.input, batch.inputs)
  return bound.stack.blocks[0].mixer_norm(x)
