"""Measures how much a memory of fixed size holds, and how directly it is read.

    python -m experiments.capacity --mixers=deltanet,mamba2 --widths=16,32
    python -m experiments.capacity.main --mixer=gru --part=copy --features=8

The first command trains many cells and ends with a table, a figure and
verdicts; the second is one cell. A cell tunes and trains one mixer with several
seeds at one of three tasks: to recall the values of keys, to copy symbols, or
to copy a string from an encoder to a decoder, with attention or without.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import command, fit, whole
from seqjax import experiment, results, training
from seqjax.analysis.influence import effect_of_edit
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.models import Seq2Seq, SequenceModel, features_for, num_parameters
from seqjax.nn import MIXERS, CausalMixer
from seqjax.tasks.synthetic.copying import CopyMemory
from seqjax.tasks.synthetic.mqar import MQAR
from seqjax.tasks.synthetic.transduction import Transduction

ENTRIES = Importable(
  'mixer', MIXERS, 'python -m experiments.capacity --mixers=help lists them'
)
WHOLE_MODELS = True  # may stand in the place of mixers
PARTS = ('recall', 'copy', 'translate')
LENGTHS = (8, 12, 16, 20, 24, 28, 32)  # of sources, that are told apart
BATCHES = 32  # of 64 test examples, for each score
EDITED = 1024  # rows, a question in each
BANDS = (8, 16, 24, 32)  # longest distances, in positions, that are told apart
TASKS = {
  'recall': MQAR(vocab=32, length=32, num_pairs=8, power=1.0),
  'copy': CopyMemory(num_symbols=8, num_copied=8, delay=1),
  'translate': Transduction(length=32, num_symbols=10),
}
LAYERS = {'recall': (1, 2), 'copy': (1,), 'translate': (1,)}  # to choose from
CONTEXT = {'recall': 32, 'copy': 17, 'translate': 33}  # positions that are read

Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(fit.Budget):
  """The options of one cell: a mixer at one task, with all of its seeds."""

  mixer: str = option('gru', 'Sequence mixer to train.', among=ENTRIES)
  part: str = option(
    'recall',
    'Task: values of keys (recall), symbols (copy), or a string that an encoder'
    ' hands to a decoder (translate).',
    among=PARTS,
    named=True,
  )
  features: int = option(
    0, 'Width of the mixer; 0: by the number of parameters.'
  )
  attention: bool = option(
    False, 'Let the decoder of translate read all positions of the source.'
  )
  parameters: int = option(
    25000, 'Parameters of the whole encoder-decoder, within a tenth.'
  )
  seeds: int = option(8, 'Number of seeds.')

  def __post_init__(self):
    super().__post_init__()
    translates = self.part == 'translate'
    if translates != (self.features == 0) or self.attention > translates:
      raise ValueError(
        'The part translate has a number of parameters and may have attention, '
        f'the others have features, but part={self.part!r} was given with '
        f'features={self.features} and attention={self.attention}.'
      )


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Trains one mixer and measures it; finished cells are skipped."""
  experiment.validate(config, mixer=mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  made = check(config, mixers)
  with results.Run(workdir, config) as record:
    print(
      f'Training {config.mixer} to {config.part}; written to {workdir}.',
      flush=True,
    )
    plan = config.plan(stop_when_solved=True)
    task = TASKS[config.part]
    models = {
      name: lambda _, model=model: model for name, model in made.items()
    }
    rows = fit.fit(models, task, plan, record, examine=MEASURES[config.part])
    own = whole.is_whole(mixers[config.mixer])
    trained = {
      name: whole.described(model, task, own) for name, model in made.items()
    }
    return record.finish(
      rows=[
        _named(row, config.features, trained[row['variant']]) for row in rows
      ],
      chance=task.chance,
    )


def check(
  config: Config, mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES
) -> dict[str, nn.Module]:
  """Makes the models of a cell, one for each number of layers.

  No block has a perceptron: the mixers alone have to remember. Attention needs
  two layers to recall, others learn it sooner with one: validation chooses.

  Raises:
    ValueError: the mixer refuses the width, cannot hand its state over to a
      decoder, or no width gives the model as many parameters; or a whole model
      does not suit the task.
  """
  task = TASKS[config.part]
  if whole.is_whole(mixers[config.mixer]):
    return {'whole': whole.model(mixers[config.mixer], task)}

  def make(features: int, layers: int) -> nn.Module:
    made = (mixers[config.mixer](features, CONTEXT[config.part]),) * layers
    if config.part != 'translate':
      return SequenceModel(task.input, task.output, made, expansion=0)
    score = 'dot' if config.attention else None
    return Seq2Seq(
      task.input, task.output, made, made, attention=score, expansion=0
    )

  found = {}
  for layers in LAYERS[config.part]:
    features = config.features or features_for(
      functools.partial(make, layers=layers), config.parameters
    )
    model = make(features, layers)
    num_parameters(model)  # a mixer may refuse its width only now
    found[f'layers={layers}'] = model
  return found


def _named(
  row: dict[str, Any], wanted: int, trained: dict[str, Any]
) -> dict[str, Any]:
  """Says what was trained; a training that is not finite has no measure.

  A whole model, which has a width of its own, stands at the one that is wanted.
  """
  row = {k: v for k, v in row.items() if k not in ('group', 'score')}
  return {'measure': None, 'at': None, 'value': None} | row | {
    'width': trained['features'] or wanted,
    'carry_floats': trained['carry_floats'],
    'model_parameters': trained['model_parameters'],
  }  # fmt: skip


def recalled(model: nn.Module, params: Any) -> Rows:
  """Measures the accuracy, and the effects of edits by distance."""
  scores = _scores(model, params, 'recall')
  right = sum(score * weight for score, weight in scores.values())
  examples = sum(weight for _, weight in scores.values())
  accuracy = right / examples
  task = TASKS['recall']
  return [
    _row('accuracy', task.num_pairs, accuracy, examples),
    *edits(model, params, task),
  ]


def edits(model: nn.Module, params: Any, task: MQAR) -> Rows:
  """Edits a key, or its value, and asks for the value.

  Returns:
    By what is edited and by the distance from the question back to the key, in
    bands: how many nats the log-probability of the answer falls, on average.
  """
  batch = task.batch(jax.random.key(0), 0, EDITED, 'test')
  inputs, weights = np.array(batch.inputs), np.array(batch.weights)
  rng = np.random.default_rng(0)
  rows = np.arange(EDITED)
  question = np.argmax(weights * rng.random(weights.shape), axis=1)
  distance = np.array(batch.group)[rows, question]
  key = question - distance
  answers = jnp.asarray(np.array(batch.targets)[rows, question])
  found = []
  for edited, position in {'key': key, 'value': key + 1}.items():
    first = 0 if edited == 'key' else task.num_keys
    effect = _effect(
      model,
      {'params': params},
      jnp.asarray(inputs),
      answers,
      position=jnp.asarray(position),
      value=jnp.asarray(_another(inputs, position, first, task.num_keys, rng)),
      question=jnp.asarray(question),
    )
    for low, high in zip((0, *BANDS[:-1]), BANDS, strict=True):
      there = (distance > low) & (distance <= high)
      fall = -float(np.mean(np.array(effect)[there]))
      found.append(_row(f'edit of the {edited}', high, fall, int(there.sum())))
  return found


# Compiled once for all seeds of a model.
_effect = jax.jit(effect_of_edit, static_argnames='model')


def _another(inputs, position, first: int, count: int, rng) -> np.ndarray:
  """Returns a token for each row, of those from `first` on that it lacks.

  Of a row that has all of them, any other than the one that is edited.
  """
  rows, kind = np.arange(len(inputs)), np.arange(first, first + count)
  wanted = 2.0 * ~(inputs[:, :, None] == kind).any(axis=1)
  wanted += 1.0 + rng.random(wanted.shape)
  wanted[rows, inputs[rows, position] - first] = 0
  return kind[np.argmax(wanted, axis=1)]


def copied(model: nn.Module, params: Any) -> Rows:
  """Measures how many bits of the symbols the answers know.

  The bits of the symbols less those that the answers still lack, by the test
  loss: a lower bound of the information that the memory has carried.
  """
  task = TASKS['copy']
  nats = training.evaluate_loss(
    model,
    params,
    task,
    batches=BATCHES,
    batch_size=fit.BATCH_SIZE,
    split='test',
  )
  lacking = task.num_copied * nats / math.log(2)
  examples = BATCHES * fit.BATCH_SIZE
  return [_row('bits', task.bits, max(0.0, task.bits - lacking), examples)]


def translated(model: nn.Module, params: Any) -> Rows:
  """Measures the token accuracy by the length of the source."""
  scores = _scores(model, params, 'translate')
  return [
    _row('accuracy', length, *scores[length])
    for length in LENGTHS
    if length in scores
  ]


def _scores(model: nn.Module, params: Any, part: str) -> dict:
  """Scores the test split, by group."""
  return training.evaluate(
    model,
    params,
    TASKS[part],
    batches=BATCHES,
    batch_size=fit.BATCH_SIZE,
    split='test',
  )


def _row(measure: str, at: float, value: float, examples: float) -> dict:
  found = {'measure': measure, 'at': at, 'value': float(value)}
  return found | {'examples': int(examples)}


MEASURES = {'recall': recalled, 'copy': copied, 'translate': translated}

if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/capacity')
