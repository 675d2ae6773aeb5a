"""Trains networks for each part, and tests all of their seeds."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import fit
from experiments.language import synonyms
from seqjax import training
from seqjax.analysis import selection
from seqjax.models import SequenceModel, num_parameters
from seqjax.nn import CausalMixer
from seqjax.tasks.text import Text

BINS = (0, 1, 2, 4, 8, 16, 32, 48)  # first positions
EARLY, LATE = 4, 32  # context of at most 4 characters, and of more than 32
TEST_BATCHES = 11  # of 64 windows, which n-grams are scored on, too
CHARACTERS = 2048  # that an update reads, whatever the window
CARRIED = {'batches': 40, 'batch_size': 16, 'carried': True}  # of 64 characters
BYTES = 4  # of a parameter

Rows = list[dict[str, Any]]
Make = Callable[..., CausalMixer]


class Fitted(NamedTuple):
  """All seeds of what validation chose, and the columns they share."""

  model: SequenceModel
  members: Mapping[int, fit.Member]
  columns: dict[str, Any]


class CpuClock:
  """Processor seconds per update, whatever else the machine does.

  The first interval of a training may hold a compilation and is left out.
  """

  def __init__(self):
    self.steps, self._last, self._each = 0, (0, 0.0), []

  def reached(self, step: int):
    """Notes that a training has made so many updates."""
    before, began = self._last
    now = time.process_time()
    if step > before > 0:
      self._each.append((now - began) / (step - before))
    self.steps += step - before if step > before else step
    self._last = step, now

  @property
  def seconds_per_step(self) -> float:
    return float(np.median(self._each)) if self._each else float('nan')


def make_mixer(make: Make, config: Any) -> CausalMixer:
  """Makes the mixer at the width that has the wanted number of parameters."""
  return fit.mixer_of_size(make, config.parameters, context=64)


def text_rows(config: Any, make: Make, record: Any) -> Rows:
  """Returns the bits of each seed by position in a window of the test text."""
  task = Text(config.corpus, length=config.num_steps)
  score = functools.partial(training.evaluate, task=task)
  found = _fitted(config, make, record, task, {'batches': 16, 'batch_size': 64})
  return [
    found.columns
    | {'seed': seed, 'validation': member.validation, 'chance': task.chance}
    | row
    for seed, member in found.members.items()
    for row in _tested(
      functools.partial(score, found.model, member.params), member
    )
  ]


def _tested(score: Callable, member: fit.Member) -> Iterator[dict[str, Any]]:
  if member.params is None:
    yield {'position': None, 'bits': np.nan, 'characters': 0}
    return
  scores = score(batches=TEST_BATCHES, batch_size=64, split='test')
  yield from binned(scores)


def binned(scores: Mapping[int, tuple[float, float]]) -> Rows:
  """Averages {position: (bits, weight)} over the positions of each bin."""
  bounds = [*BINS, max(*BINS, *scores) + 1]
  rows = []
  for low, high in zip(bounds[:-1], bounds[1:], strict=True):
    inside = {p: found for p, found in scores.items() if low <= p < high}
    if inside:
      weight = sum(w for _, w in inside.values())
      bits = training.overall(inside)
      rows.append({'position': low, 'bits': bits, 'characters': int(weight)})
  return rows


def carry_rows(config: Any, make: Make, record: Any) -> Rows:
  """Returns the bits of each seed, trained with the carry and without it.

  Both read the same windows of one text, begin alike, and are tested with the
  carry on a text that goes on.
  """
  rows, test = [], Text(config.corpus, sampling='sequential', length=64)
  task = dataclasses.replace(test, length=config.num_steps)
  sized = dataclasses.replace(config, batch_size=CHARACTERS // task.length)
  for carried in (True, False):
    found = _fitted(
      sized, make, record, task, CARRIED, tested=test, carried=carried
    )
    rows += [
      found.columns
      | {
        'carried': carried,
        'seed': seed,
        'validation': member.validation,
        'bits': _bits(found.model, member.params, test, CARRIED, 'test'),
      }
      for seed, member in found.members.items()
    ]
  return rows


def synonym_rows(config: Any, make: Make, record: Any) -> Rows:
  """Returns what each seed says of synonyms that its training set pairs not."""
  task = synonyms.Scarce(num_examples=config.examples)
  batch = task.batch(jax.random.key(0), 0, synonyms.TEST_ROWS, 'test')
  found = _fitted(config, make, record, task, {'batches': 16, 'batch_size': 64})
  apply = jax.jit(
    lambda params: jax.nn.log_softmax(
      found.model.apply({'params': params}, batch.inputs)
    )
  )
  return [
    found.columns
    | {'seed': seed, 'validation': member.validation}
    | synonyms.scored(task, seed, batch, apply(member.params))
    for seed, member in found.members.items()
    if member.params is not None
  ]


def _fitted(
  config: Any,
  make: Make,
  record: Any,
  task: Any,
  validation: Mapping[str, Any],
  tested: Any = None,
  carried: bool = False,
) -> Fitted:
  """Tunes on validation with a few seeds, and trains all of them.

  Args:
    config: the cell.
    make: makes the mixer.
    record: the run that trainings are logged to.
    task: the task to train on.
    validation: options of `training.evaluate`.
    tested: the task to validate on; `task` where None.
    carried: train with the carry from batch to batch.
  """
  mixer = make_mixer(make, config)
  model = SequenceModel(task.input, task.output, (mixer,), expansion=0)
  optimizer, clock = _optimizer(config.steps), CpuClock()

  def train(rate: float, seeds: range) -> dict[int, fit.Member]:
    return {seed: one(rate, seed) for seed in seeds}

  def one(rate: float, seed: int) -> fit.Member:
    try:
      for state, metrics in training.train(
        model,
        task,
        optimizer,
        jax.random.key(seed),
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=rate,
        log_every=max(1, config.steps // 4),
        carried=carried,
      ):
        params, loss = state.params, float(metrics['loss'])
        clock.reached(int(state.step))
        record.log(clock.steps, seed=seed, learning_rate=rate, loss=loss)
    except training.NotFinite:
      return fit.NOT_FINITE
    bits = _bits(model, params, tested or task, validation)
    return fit.Member(params, bits, bits, config.steps, None)

  seeds = range(config.first_seed, config.first_seed + config.seeds)
  few, rest = seeds[: config.tuning_seeds], seeds[config.tuning_seeds :]
  tuned = fit.tune('', train, config.learning_rates, few, False)
  best = fit.best_of([tuned], False)
  members = best.chosen() | train(best.choice.rate, rest)
  return Fitted(model, members, _columns(model, config, best.choice, clock))


def _columns(
  model: SequenceModel, config: Any, choice: selection.Choice, clock: CpuClock
) -> dict[str, Any]:
  parameters = num_parameters(model)
  return {
    'features': model.mixers[0].features,
    'model_parameters': parameters,
    'bytes': BYTES * parameters,
    'learning_rate': choice.rate,
    'at_edge': choice.at_edge,
    'seconds': clock.seconds_per_step * config.steps,
  }


def _bits(
  model: SequenceModel,
  params: Any,
  task: Any,
  options: Mapping[str, Any],
  split: str = 'validation',
) -> float:
  """Returns the mean bits per token; NaN of what did not stay finite."""
  if params is None:
    return float('nan')
  found = training.evaluate(model, params, task, split=split, **options)
  return training.overall(found)


@functools.cache
def _optimizer(steps: int):
  """Returns AdamW, made once: compiled functions are kept by optimizer."""
  return training.adamw(steps, weight_decay=fit.WEIGHT_DECAY)
