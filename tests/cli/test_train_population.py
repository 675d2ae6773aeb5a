"""seqjax-train-population: members are runs of seqjax-train."""

import dataclasses
import json
import os
import signal

import jax
import pytest

from seqjax import experiment, results, training
from seqjax.analysis import memory
from seqjax.cli import build, train, train_population, trained
from seqjax.results import table
from tests import processes

SMALL = train_population.Config(
  task='parity',
  mixer='mingru',
  features=8,
  layers=1,
  steps=4,
  batch_size=4,
  log_every=2,
  seed=3,
  seeds=2,
  learning_rates=(1e-3, 3e-2),
)


def without_time(path):
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  return [{k: line[k] for k in sorted(line) if k != 'time'} for line in lines]


def test_a_member_leaves_what_its_solo_run_leaves(tmp_path, capsys):
  """Scores, metrics and the checkpoint that other scripts read."""
  with pytest.raises(SystemExit) as exit:
    train_population.train_and_report(
      SMALL, str(tmp_path / 'all'), mesh='members:1'
    )
  assert exit.value.code == 0
  assert 'parity by mingru, test over seeds' in capsys.readouterr().out
  configs = train_population.members(SMALL)
  assert [(c.learning_rate, c.seed) for c in configs] == [
    *((1e-3, 3), (1e-3, 4)),
    *((3e-2, 3), (3e-2, 4)),
  ]
  together = tmp_path / 'all' / experiment.folder_name(configs[3])
  alone = tmp_path / 'alone'
  summary = train.run(configs[3], alone)
  given = results.finished(together, configs[3])
  assert given | {'time': None} == summary | {'time': None}
  lines = [without_time(f / 'metrics.jsonl') for f in (together, alone)]
  assert len(lines[0]) == len(lines[1]) == 2
  for given, expected in zip(*lines, strict=True):
    assert list(given) == list(expected)
    assert given == pytest.approx(expected, rel=1e-5)
  for folder in (together, alone):
    of_run = trained.load_trained(str(folder), 'newest')
    scores = training.evaluate(
      of_run.model, of_run.params, of_run.task, batches=4, batch_size=64
    )
    assert of_run.step == 4
    assert training.overall(scores) == summary['validation']


@pytest.mark.slow
def test_members_over_devices_leave_what_those_of_one_leave(
  tmp_path, monkeypatch
):
  """Bit by bit; one that fails leaves the others on fewer devices."""
  config = dataclasses.replace(
    SMALL, how='one_by_one', learning_rates=(1e-3, 1e38), clip=0.0
  )
  fields = dataclasses.asdict(config) | {'learning_rates': '1e-3,1e38'}
  options = [f'--{name}={value}' for name, value in fields.items()]
  flags = os.environ.get('XLA_FLAGS', '')
  flags += ' --xla_force_host_platform_device_count=4'
  monkeypatch.setenv('XLA_FLAGS', flags)
  spread = processes.call(
    *('seqjax.cli.train_population', *options, '--mesh=members:4'),
    f'--workdir={tmp_path / "spread"}',
  )
  assert spread.returncode == 1 and spread.stderr.count('FAILED') == 2
  assert train_population.run(config, tmp_path / 'alone')['failed'] == 2
  for path in ('metrics.jsonl', 'results.csv'):
    spread, alone = (tmp_path / name / path for name in ('spread', 'alone'))
    read = without_time if path.endswith('jsonl') else scores
    assert repr(read(spread)) == repr(read(alone)) and len(read(alone)) == 2


def scores(path):
  return [(row['seed'], row['validation']) for row in table.read(path)]


@pytest.mark.parametrize(
  'mesh, message',
  [
    ('members:3', 'needs 3 devices, but there is 1'),
    ('rows:1', "axis of a mesh 'rows'.* There are: members"),
  ],
)
def test_a_mesh_that_cannot_be_is_refused(mesh, message, tmp_path):
  """Before anything is written."""
  with pytest.raises(ValueError, match=message):
    train_population.run(SMALL, tmp_path / 'run', mesh=mesh)
  assert not (tmp_path / 'run').exists()


def test_the_rate_is_chosen_on_validation_and_the_seeds_summed_up(tmp_path):
  """Of the members' own rows; what has finished is not done again."""
  summary = train_population.run(SMALL, tmp_path)
  rows = table.read(tmp_path / 'results.csv')
  assert len(rows) == 4
  means = {
    rate: sum(row['validation'] for row in of_rate) / 2
    for rate in SMALL.learning_rates
    if (of_rate := table.select(rows, learning_rate=rate))
  }
  assert summary['chosen_learning_rate'] == max(means, key=means.get)
  test = [
    row['test']
    for row in table.select(rows, learning_rate=max(means, key=means.get))
  ]
  assert summary['mean'] == pytest.approx(sum(test) / 2, rel=1e-5)
  assert (summary['seeds'], summary['chance']) == (2, 0.5)
  assert train_population.run(SMALL, tmp_path) == summary


def test_a_population_that_was_stopped_goes_on_where_it_was(
  tmp_path, monkeypatch
):
  """By SIGTERM; it ends with the same lines and scores."""
  whole = train_population.run(SMALL, tmp_path / 'whole')
  population = training.train_population

  def interrupted(*parts, **options):
    for yielded in population(*parts, **options):
      os.kill(os.getpid(), signal.SIGTERM)
      yield yielded

  monkeypatch.setattr(training, 'train_population', interrupted)
  with pytest.raises(SystemExit) as exit:
    train_population.train_and_report(SMALL, str(tmp_path / 'parts'))
  assert exit.value.code == 75
  begun = []

  def counted(*parts, state, **options):
    begun.append(state.step.tolist())
    return population(*parts, state=state, **options)

  monkeypatch.setattr(training, 'train_population', counted)
  parts = train_population.run(SMALL, tmp_path / 'parts')
  assert begun == [[1] * 4]  # between two lines
  assert parts | {'time': None} == whole | {'time': None}
  names = ['.', *map(experiment.folder_name, train_population.members(SMALL))]
  for name in names:
    lines = [
      without_time(tmp_path / folder / name / 'metrics.jsonl')
      for folder in ('whole', 'parts')
    ]
    assert lines[0] == lines[1] and len(lines[0]) == 2


def test_the_members_beside_one_that_is_not_finite_go_on(tmp_path, capsys):
  """It is named, and its learning rate is not chosen."""
  config = dataclasses.replace(
    SMALL, learning_rates=(1e-3, 1e38), how='one_by_one'
  )
  with pytest.raises(SystemExit) as exit:
    train_population.train_and_report(config, str(tmp_path))
  said = capsys.readouterr()
  assert exit.value.code == 1 and 'Traceback' not in said.err
  for seed in (3, 4):
    assert f'FAILED seed={seed}, learning_rate=1e+38\n  The ' in said.err
  summary = results.finished(tmp_path, config)
  assert (summary['chosen_learning_rate'], summary['failed']) == (1e-3, 2)
  line = without_time(tmp_path / 'metrics.jsonl')[-1]
  assert line['step'] == 4 and line['validation'][2:] == ['NaN', 'NaN']
  solo = train_population.members(config)[0]
  alone = train.run(solo, tmp_path / 'alone')
  assert line['validation'][0] == alone['validation']
  hopeless = dataclasses.replace(config, learning_rates=(1e38,))
  message = 'No member has reached the last step'
  with pytest.raises(FloatingPointError, match=message):
    train_population.run(hopeless, tmp_path / 'hopeless')


def test_exhausted_memory_is_told_with_what_fits(tmp_path, capsys, monkeypatch):
  """A batch, and another way to train the members, if they go together."""

  def exhausted(*args, **kwargs):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')

  monkeypatch.setattr(training, 'train_population', exhausted)
  for how, extra in {'map': False, 'vmap': True}.items():
    with pytest.raises(SystemExit) as exit:
      train_population.train_and_report(
        dataclasses.replace(SMALL, how=how), str(tmp_path / how)
      )
    said = capsys.readouterr().err
    assert exit.value.code == 1
    assert 'batch_size=2 would fit' in said
    assert ('how=map takes that of one' in said) == extra


@pytest.mark.parametrize('how, members', [('map', 1), ('vmap', 4)])
def test_members_that_cannot_fit_are_refused_before_they_are_compiled(
  how, members, tmp_path, monkeypatch
):
  """One at a time, or all at once."""
  config = dataclasses.replace(SMALL, how=how, batch_size=64)
  member = train_population.members(config)[0]
  one, two = (build.bytes_needed(member, n) for n in (1, 2))
  needed = members * (one + 63 * (two - one))

  def compiled(*args, **kwargs):
    raise RuntimeError('a step was about to be compiled')

  monkeypatch.setattr(training, 'train_population', compiled)
  for limit, error, message in (
    (needed - 1, MemoryError, 'not enough memory'),
    (needed, RuntimeError, 'about to be compiled'),
  ):
    monkeypatch.setattr(memory, 'available_memory', lambda: limit)  # noqa: B023
    with pytest.raises(error, match=message):
      train_population.run(config, tmp_path / str(limit))


@pytest.mark.parametrize(
  'options, message',
  [
    ({'seeds': 0}, 'seeds=0'),
    ({'learning_rates': (1e-3, 1e-3)}, 'each learning rate once'),
    ({'carried': True}, 'leave out carried'),
    ({'steps': 0}, 'steps=0'),
  ],
)
def test_bad_flags_get_a_sentence(options, message):
  """At once."""
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(SMALL, **options)
