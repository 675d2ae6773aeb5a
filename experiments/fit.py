"""Tunes, trains and tests one entry of an experiment, all in the same way.

Each variant of an entry (its initialisations, say) is trained at each learning
rate with a few seeds. Validation chooses among all of them; a tie is broken by
the validation loss, and a grid of rates is extended while its best one lies at
an edge. The remaining seeds are then trained with what was chosen, and all of
its seeds are tested.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from seqjax import errors, results, training
from seqjax.analysis import selection
from seqjax.cli import build
from seqjax.experiment import option
from seqjax.launch.monitor import Monitor
from seqjax.models import features_for
from seqjax.nn import CausalMixer
from seqjax.ops.algorithms import by_platform

BATCH_SIZE = 64  # examples that are scored at a time
LOOK_BATCHES = 4  # of validation, on the way
VALIDATION_BATCHES = 16  # at the end, to choose by
WEIGHT_DECAY = 0.01

Models = Mapping[str, Callable[[Any], nn.Module]]
Examine = Callable[[nn.Module, Any], list[dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Plan:
  """The budget of every entry.

  Attributes:
    learning_rates: the grid, before it is extended; peaks of the schedule.
    steps: the most updates of a training.
    batch_size: examples per update.
    solved: the validation score at which a group counts as solved.
    seeds: how many there are in the end.
    first_seed: the first of them.
    tuning_seeds: how many of them every setting is tried with.
    log_every: updates between two looks at validation.
    stop_when_solved: end a training once validation is solved in all groups;
      otherwise each has its whole schedule, as it must before anything beyond
      what was trained is measured.
    clip: the largest global norm of a gradient; 0 does not clip.
  """

  learning_rates: tuple[float, ...]
  steps: int
  batch_size: int
  solved: float
  seeds: int
  first_seed: int = 0
  tuning_seeds: int = 3
  log_every: int = 25
  stop_when_solved: bool = False
  clip: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
  """The options of a cell that trains: what every entry is given alike."""

  learning_rates: tuple[float, ...] = option(
    (1e-3, 3e-3, 1e-2),
    'Peak learning rates to choose from; more are tried beyond the best one'
    ' where it is the largest or the smallest.',
  )
  steps: int = option(300, 'Number of updates of a training.')
  batch_size: int = option(32, 'Number of examples per update.')
  parameters: int = option(25000, 'Parameters per mixer, within a tenth.')
  solved: float = option(
    0.99, 'Validation score of every group that counts as solved.'
  )
  seeds: int = option(11, 'Number of seeds.')
  first_seed: int = option(0, 'The first seed.')
  tuning_seeds: int = option(3, 'Number of seeds that choose the settings.')

  def __post_init__(self):
    errors.check_fields(self)
    for name in ('steps', 'batch_size', 'parameters', 'seeds', 'tuning_seeds'):
      at_least(self, name, 1)
    at_least(self, 'first_seed', 0)
    rates = self.learning_rates
    if not rates or min(rates) <= 0 or len(set(rates)) < len(rates):
      raise ValueError(
        'learning_rates must be positive and distinct, but '
        f'learning_rates={rates} was given.'
      )

  def plan(self, stop_when_solved: bool = False, **changed: Any) -> Plan:
    """Returns the budget of `fit`; other fields of `Plan` can be changed."""
    shared = {f.name for f in dataclasses.fields(Plan)}
    given = {k: v for k, v in vars(self).items() if k in shared}
    return Plan(**given | {'stop_when_solved': stop_when_solved} | changed)


def at_least(config: Any, name: str, bound: Real):
  """Refuses a field of a config that is below a bound, with ValueError."""
  if getattr(config, name) < bound:
    raise ValueError(
      f'{name} is a number of at least {bound}, but {name}='
      f'{getattr(config, name)} was given.'
    )


def mixer_of_size(
  make: Callable[..., CausalMixer], parameters: int, context: int
) -> CausalMixer:
  """Makes a mixer at the width that has so many parameters, within a tenth.

  Args:
    make: makes a mixer of (features, context).
    parameters: of the mixer; embedding and readout are not counted.
    context: the longest sequence that it reads.

  Raises:
    ValueError: no width has so many; names the nearest.
  """
  features = features_for(lambda width: make(width, context), parameters)
  return make(features, context)


class Member(NamedTuple):
  """One training.

  Attributes:
    params: its last parameters; None where it met what is not finite.
    validation: the worst score over groups; NaN likewise.
    loss: the mean loss of validation.
    steps: the updates it took.
    steps_to_solve: the updates after which validation was first found solved in
      every group; None if it never was.
  """

  params: Any
  validation: float
  loss: float
  steps: int
  steps_to_solve: int | None


NOT_FINITE = Member(None, np.nan, np.nan, 0, None)


class Tuned(NamedTuple):
  """A variant with its trainings, {rate: {seed: Member}}, and the choice."""

  variant: str
  trained: dict[float, dict[int, Member]]
  choice: selection.Choice | None

  def chosen(self) -> dict[int, Member]:
    """Returns {seed: Member} of the rate that was chosen."""
    return self.trained[self.choice.rate]


def fit(
  models: Models,
  task: Any,
  plan: Plan,
  record: results.Run,
  tests: Iterable[tuple[Any, int]] = (),
  examine: Examine | None = None,
) -> list[dict[str, Any]]:
  """Tunes and trains an entry, and tests each seed of what was chosen.

  Args:
    models: from the name of a variant to what makes a model of a task; one
      model's parameters fit all of the tasks.
    task: the task to train on.
    plan: the budget.
    record: the run that each training is logged to.
    tests: (task, number of batches of 64 examples) whose test split is scored.
    examine: measures a network that was chosen: from the model of the task and
      its parameters to rows of columns. None: nothing else is measured.

  Returns:
    A row for each seed and each group of the tests, and for each row of
    `examine`, which a network that is not finite does not have: `variant`,
    `learning_rate`, `rates_tried`, `at_edge`, `seed`, `validation`,
    `validation_loss`, `steps_taken`, `steps_to_solve` and `seconds_to_solve`
    (None where it was not solved); then `group`, `score`, `examples`, or the
    columns of `examine`.

  Raises:
    ValueError: no learning rate of any variant stays finite.
  """
  clock = Clock(plan.log_every)
  higher = task.metric.higher_is_better
  with Monitor(
    record.workdir,
    _planned(models, plan),
    plan.batch_size * build.num_positions(task),
  ) as monitor:
    log = functools.partial(_log, record, monitor, clock)
    train = {
      name: functools.partial(_train, make(task), task, plan, log, clock)
      for name, make in models.items()
    }
    seeds = range(plan.first_seed, plan.first_seed + plan.seeds)
    few = seeds[: plan.tuning_seeds]
    tuned = [
      tune(name, each, plan.learning_rates, few, higher)
      for name, each in train.items()
    ]
    best = best_of(tuned, higher)
    rest = seeds[plan.tuning_seeds :]
    members = best.chosen() | train[best.variant](best.choice.rate, rest)
  common = {
    'variant': best.variant,
    'learning_rate': best.choice.rate,
    'rates_tried': tuple(sorted(best.trained)),
    'at_edge': best.choice.at_edge,
  }
  tests = [(models[best.variant](t), t, batches) for t, batches in tests]
  model = models[best.variant](task)

  def measured(member: Member) -> list[dict[str, Any]]:
    rows = test_rows(member, tests)
    if examine is not None and member.params is not None:
      rows += examine(model, member.params)
    return rows

  return [
    common | {'seed': seed} | _outcome(member, clock) | found
    for seed, member in members.items()
    for found in measured(member)
  ]


def tune(
  variant: str,
  train: Callable[[float, Sequence[int]], dict[int, Member]],
  learning_rates: Sequence[float],
  seeds: Sequence[int],
  higher_is_better: bool = True,
) -> Tuned:
  """Tries a grid of learning rates, extended while the best is at its edge.

  `choice` is None where no rate stays finite.
  """
  trained = {rate: train(rate, seeds) for rate in learning_rates}
  while True:
    if not any(_finite(each) for each in trained.values()):
      return Tuned(variant, trained, None)
    choice = selection.choose_learning_rate(
      {r: [m.validation for m in each.values()] for r, each in trained.items()},
      losses={
        r: [m.loss for m in each.values()] for r, each in trained.items()
      },
      higher_is_better=higher_is_better,
    )
    rate = selection.next_learning_rate(list(trained), choice, learning_rates)
    if rate is None:
      return Tuned(variant, trained, choice)
    trained[rate] = train(rate, seeds)


def _finite(members: Mapping[int, Member]) -> bool:
  """Tells if every seed of a rate stayed finite."""
  return all(np.isfinite(member.validation) for member in members.values())


def best_of(tuned: Sequence[Tuned], higher_is_better: bool = True) -> Tuned:
  """Returns the variant whose mean validation is best; by loss where tied.

  Raises:
    ValueError: no learning rate of any variant stays finite.
  """
  sign = -1 if higher_is_better else 1
  usable = [found for found in tuned if found.choice is not None]
  if not usable:
    raise ValueError(
      'An entry needs a learning rate at which every seed stays finite, but '
      f'none of {sorted(tuned[0].trained)} is one: give smaller ones.'
    )

  def rank(found: Tuned) -> tuple[float, float]:
    members = found.chosen().values()
    score = float(np.mean([m.validation for m in members]))
    loss = float(np.mean([m.loss for m in members]))
    return sign * score, loss if np.isfinite(loss) else np.inf

  return min(usable, key=rank)


def test_rows(
  member: Member, tests: Iterable[tuple[nn.Module, Any, int]]
) -> list[dict[str, Any]]:
  """Returns {group, score, examples} for each group of each test split.

  If training met a number that is not finite: one row, group None, score NaN.
  """
  if member.params is None:
    return [{'group': None, 'score': np.nan, 'examples': 0}]
  return [
    {'group': group, 'score': score, 'examples': int(weight)}
    for model, task, batches in tests
    for group, (score, weight) in training.evaluate(
      model,
      member.params,
      task,
      batches=batches,
      batch_size=BATCH_SIZE,
      split='test',
    ).items()
  ]


class Clock:
  """Seconds per update: the median over intervals, compilation left out."""

  def __init__(self, log_every: int):
    self.log_every, self.steps, self._seconds = log_every, 0, []

  def intervals(self, states: Iterable[Any]) -> Iterable[Any]:
    """Passes states on, and times how long each took to come.

    The first of a training may have been compiled, and is timed only where
    there is no other.
    """
    began, index = time.perf_counter(), 0
    for found in states:
      jax.block_until_ready(found)
      seconds = time.perf_counter() - began
      self.steps += self.log_every
      self._seconds.append((index == 0, seconds / self.log_every))
      index += 1
      yield found
      began = time.perf_counter()

  @property
  def seconds_per_step(self) -> float:
    later = [seconds for first, seconds in self._seconds if not first]
    return float(np.median(later or [seconds for _, seconds in self._seconds]))


@functools.cache
def _optimizer(steps: int, clip: float):
  """Returns AdamW, made once: compiled functions are kept by optimizer."""
  return training.named_optimizer(steps, clip=clip, weight_decay=WEIGHT_DECAY)


def _train(
  model: nn.Module,
  task: Any,
  plan: Plan,
  log: Callable,
  clock: Clock,
  rate: float,
  seeds: Sequence[int],
) -> dict[int, Member]:
  """Trains seeds at a rate: one by one on a CPU, else side by side."""
  alone = by_platform(cpu=True, accelerator=False)
  found = {}
  for group in [[seed] for seed in seeds] if alone else [list(seeds)]:
    try:
      members = _train_group(model, task, plan, log, clock, rate, group, alone)
    except training.NotFinite:
      members = [NOT_FINITE] * len(group)
    found |= dict(zip(group, members, strict=True))
  return found


def _train_group(model, task, plan, log, clock, rate, seeds, alone):
  """Trains a population until all are solved, or for the whole schedule."""
  if not seeds:
    return []
  solved_at = [None] * len(seeds)
  for states, metrics in clock.intervals(
    training.train_population(
      model,
      task,
      _optimizer(plan.steps, plan.clip),
      [jax.random.key(seed) for seed in seeds],
      learning_rates=[rate] * len(seeds),
      steps=plan.steps,
      batch_size=plan.batch_size,
      log_every=plan.log_every,
      how='one_by_one' if alone else 'vmap' if task.on_device else 'auto',
    )
  ):
    params = [
      training.select_members(states.params, i) for i in range(len(seeds))
    ]
    worst = [worst_group(model, each, task, LOOK_BATCHES) for each in params]
    step = int(states.step[0])
    for i, score in enumerate(worst):
      if solved_at[i] is None and _reaches(task, score, plan.solved):
        solved_at[i] = step
    log(seeds, rate, step, worst, np.asarray(metrics['loss']))
    if plan.stop_when_solved and None not in solved_at:
      break
  return [
    Member(
      each,
      worst_group(model, each, task, VALIDATION_BATCHES),
      validation_loss(model, each, task),
      step,
      solved,
    )
    for each, solved in zip(params, solved_at, strict=True)
  ]


def worst_group(
  model: nn.Module, params: Any, task: Any, batches: int
) -> float:
  """Returns the worst validation score over groups; NaN if one is."""
  scores = training.evaluate(
    model, params, task, batches=batches, batch_size=BATCH_SIZE
  )
  worst = np.min if task.metric.higher_is_better else np.max
  return float(worst([score for score, _ in scores.values()]))


def validation_loss(model: nn.Module, params: Any, task: Any) -> float:
  """Returns the mean loss of the batches that a training is chosen by."""
  return training.evaluate_loss(
    model, params, task, batches=VALIDATION_BATCHES, batch_size=BATCH_SIZE
  )


def _reaches(task: Any, score: float, solved: float) -> bool:
  """Says whether a score is at least as good as `solved`; NaN never is."""
  return score >= solved if task.metric.higher_is_better else score <= solved


def _outcome(member: Member, clock: Clock) -> dict[str, Any]:
  """Returns the columns of a training."""
  steps = member.steps_to_solve
  seconds = None if steps is None else steps * clock.seconds_per_step
  return {
    'validation': member.validation,
    'validation_loss': member.loss,
    'steps_taken': member.steps,
    'steps_to_solve': steps,
    'seconds_to_solve': seconds,
  }


def _planned(models: Models, plan: Plan) -> int:
  """Returns the updates of all trainings, if none ends early."""
  tuning = min(plan.tuning_seeds, plan.seeds)
  settings = len(models) * len(plan.learning_rates)
  return plan.steps * (settings * tuning + plan.seeds - tuning)


def _log(record, monitor, clock, seeds, rate, step, scores, losses):
  """Logs an interval of each member, under all updates made so far."""
  for seed, score, loss in zip(seeds, scores, losses, strict=True):
    record.log(
      clock.steps,
      seed=seed,
      learning_rate=rate,
      own_step=step,
      loss=float(loss),
      validation=score,
    )
  monitor.expect(clock.steps)  # a grid was extended
  monitor.reached(clock.steps)
  monitor.update(clock.steps, loss=float(losses[0]), validation=scores[0])
