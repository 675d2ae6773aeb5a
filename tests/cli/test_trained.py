"""A run comes back to Python as it was, or one sentence says why not."""

import csv
import dataclasses
import json
import math
import re
import shutil

import jax
import numpy as np
import pytest

import seqjax
from seqjax import results, training
from seqjax.cli import build, evaluate, train, train_population, trained
from seqjax.data.corpus import read_corpus
from seqjax.results.checkpoint import Checkpoints

SMALL = train.Config(
  features=8, layers=1, context=64, batch_size=4, steps=4, log_every=2,
)  # fmt: skip
TEXT = 'once more, from where we were; ' * 1000


def scored(run) -> float:
  """Returns the score of the test split, as seqjax-evaluate takes it."""
  return training.overall(
    training.evaluate(
      run.model, run.params, run.task, batches=2, batch_size=64, split='test'
    )
  )


def printed(workdir, **options) -> float:
  config = evaluate.Config(batches=2, **options)
  (row,) = evaluate.run(config, str(workdir))
  return row['score']


def write_series(path, scale=1.0):
  with open(path, 'w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['level'])
    writer.writerows([[scale * math.sin(i / 3)] for i in range(2000)])


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """A finished run of every kind, by name."""
  folder = tmp_path_factory.mktemp('runs')
  (folder / 'notes.txt').write_text(TEXT)
  write_series(folder / 'level.csv')
  corpus = {'task': 'text', 'corpus': str(folder / 'notes.txt')}
  sequential = 'length=16,sampling=sequential'
  kinds = {
    'plain': {'task': 'parity'},
    'text': {**corpus, 'task_options': 'length=16'},
    'carried': {**corpus, 'task_options': sequential, 'carried': True},
    'series': {
      'task': 'csv_series',
      'task_options': f'path={folder / "level.csv"},column=level,length=16',
    },
  }
  paths = {}
  for name, options in kinds.items():
    paths[name] = folder / name
    train.run(dataclasses.replace(SMALL, **options), paths[name])
  population = train_population.Config(
    **{**dataclasses.asdict(SMALL), 'task': 'parity'}, seeds=2
  )
  train_population.run(population, folder / 'population')
  configs = sorted((folder / 'population').glob('*/config.json'))
  paths['member'] = configs[0].parent
  return paths


@pytest.mark.parametrize(
  'kind', ['plain', 'text', 'carried', 'series', 'member']
)
def test_a_run_of_every_kind_gives_the_scores_that_evaluation_prints(
  kind, runs
):
  """With its config, metrics and summary."""
  run = seqjax.load_run(runs[kind], checkpoint='newest')
  assert scored(run) == pytest.approx(printed(runs[kind]), rel=1e-6)
  assert run.step == 4 and run.config.features == 8
  assert [row['step'] for row in run.metrics] == [2, 4]
  assert all(math.isfinite(row['loss']) for row in run.metrics)
  assert run.summary['steps_taken'] == 4


def test_checkpoints_are_chosen_by_name_or_step(runs):
  """The best by default; an unknown one is told with those there are."""
  with Checkpoints(runs['plain'] / train.CHECKPOINTS) as checkpoints:
    best, steps = checkpoints.best, checkpoints.steps
  assert seqjax.load_run(runs['plain']).step == best
  for step in steps:
    assert seqjax.load_run(runs['plain'], step).step == step
  with pytest.raises(ValueError, match="'bset'; there are: newest, best, "):
    seqjax.load_run(runs['plain'], 'bset')


@dataclasses.dataclass(frozen=True)
class Measured:
  mixer: str = 'gru'
  length: int = 8


def test_an_experiments_run_says_that_it_keeps_no_parameters(tmp_path):
  """Its config, rows and metrics are there, finished or not."""
  with results.Run(tmp_path, Measured()) as run:
    run.log(1, seconds=math.inf)
    run.finish(rows=[{'T': 8, 'rate': 0.5}])
  run = seqjax.load_run(tmp_path)
  assert run.config == {'mixer': 'gru', 'length': 8}
  assert [(row['T'], row['rate']) for row in run.rows] == [(8, 0.5)]
  assert run.metrics[0]['seconds'] == math.inf
  for name in ('task', 'model', 'variables'):
    with pytest.raises(AttributeError, match='keeps no parameters of its own'):
      getattr(run, name)
  assert not hasattr(run, 'nothing')
  (tmp_path / 'summary.json').unlink()
  assert seqjax.load_run(tmp_path).rows == []
  with pytest.raises(ValueError, match='is none of seqjax-train, and keeps no'):
    trained.load_trained(tmp_path)


def test_a_populations_folder_names_its_members(runs):
  """They are runs like any other."""
  run = seqjax.load_run(runs['member'].parent)
  first = f"There are runs in '{runs['member']}', '"
  assert len(run.config['learning_rates']) == 0 and run.rows[0]['failed'] == 0
  with pytest.raises(AttributeError, match=re.escape(first)):
    run.variables  # noqa: B018


def test_a_folder_without_a_run_names_those_below(runs, tmp_path):
  """Three of them, and the number of others."""
  with pytest.raises(ValueError, match='are runs in .*, .*, .* and 4 more'):
    seqjax.load_run(runs['plain'].parent)
  for path in (tmp_path, tmp_path / 'nowhere'):
    with pytest.raises(ValueError, match='no run in .* holds no config.json'):
      seqjax.load_run(path)
  assert not (tmp_path / 'nowhere').exists()


@pytest.mark.parametrize('name', [
  'config.json', 'metrics.jsonl', 'summary.json', 'fitted.json',
])  # fmt: skip
@pytest.mark.parametrize('content', [
  b'[1]\n', b'null\n', b'{"st\n', b'\xff\xfe\n', b'3\n', b'"a"\n', b'\n',
])  # fmt: skip
def test_a_damaged_record_is_a_sentence_that_names_the_file(
  name, content, runs, tmp_path
):
  """And nothing is lost."""
  folder = shutil.copytree(runs['text'], tmp_path / 'run')
  (folder / name).write_bytes(content)
  with pytest.raises(ValueError, match=f"/{name}' (is no|holds a line)"):
    seqjax.load_run(folder)
  assert (folder / name).read_bytes() == content


def test_a_damaged_checkpoint_is_named(runs, tmp_path, capsys):
  """Or the one before it is used, if the newest is asked for."""
  folder = shutil.copytree(runs['plain'], tmp_path / 'run')
  for path in (folder / 'checkpoints' / '4').rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  with pytest.raises(ValueError, match="checkpoints/4' is damaged"):
    seqjax.load_run(folder, 4)
  assert seqjax.load_run(folder, 'newest').step == 2
  assert "checkpoints/4' (" in capsys.readouterr().err
  shutil.rmtree(folder / 'checkpoints')
  with pytest.raises(ValueError, match='has no checkpoint; start it again'):
    seqjax.load_run(folder)


def test_another_text_is_scored_by_the_vocabulary_of_the_run(runs, tmp_path):
  """Characters that training never saw are unknown, and not others' tokens."""
  own = build.make(seqjax.load_run(runs['text'], 4).config)[0]
  other = tmp_path / 'other.txt'
  other.write_text('ONCE MORE, FROM WHERE WE WERE! ' * 2000)
  read_corpus.cache_clear()
  run = seqjax.load_run(runs['text'], 4)
  assert run.config.corpus
  task, _ = evaluate.rebuild(run, f'length=16,corpus={other}')
  assert (
    task.output == own.output and task.vocabulary == own.fitted['vocabulary']
  )
  batch = task.batch(jax.random.key(0), 0, 8, 'test')
  shown = set(task.decode(np.asarray(batch.targets[batch.weights > 0])))
  assert shown == {' ', ','}
  np.testing.assert_array_equal(batch.weights > 0, batch.targets > 0)
  with pytest.raises(ValueError, match='no character in its training part'):
    other.write_text('XYZ' * 9000)
    read_corpus.cache_clear()
    task.batch(jax.random.key(0), 0, 8, 'test')


def test_another_series_is_scored_on_the_scale_of_the_run(runs, tmp_path):
  """Ten times the values are ten times as far from zero."""
  write_series(tmp_path / 'other.csv', scale=10.0)
  run = seqjax.load_run(runs['series'], 4)
  options = f'path={tmp_path / "other.csv"},column=level,length=16'
  task, _ = evaluate.rebuild(run, options)
  key = jax.random.key(0)
  here, there = (t.batch(key, 0, 8, 'test') for t in (run.task, task))
  np.testing.assert_allclose(
    there.inputs, 10 * here.inputs, rtol=1e-3, atol=0.1
  )
  assert task.chance == pytest.approx(100, rel=1e-3) and run.task.chance == 1
  json.dumps(task.fitted)


def test_evaluation_on_another_text_scores_that_text(runs, tmp_path):
  """Flags name the text, whether the vocabulary is beside the run or not."""
  other = tmp_path / 'other.txt'
  other.write_text('ONCE more, FROM where WE were! ' * 2000)
  folder = shutil.copytree(runs['text'], tmp_path / 'run')
  options = {'task_options': f'corpus={other}', 'checkpoint': '4'}
  lengths = evaluate.Config(batches=2, lengths=('8',), **options)
  (short,) = evaluate.run(lengths, str(folder))
  assert short['length'] == 8 and 0.2 < short['share'] < 0.8
  (own,) = evaluate.run(evaluate.Config(batches=2), str(folder))
  (row,) = evaluate.run(evaluate.Config(batches=2, **options), str(folder))
  assert own['share'] == 1 and 0.2 < row['share'] < 0.8
  (folder / 'fitted.json').unlink()  # as of runs of earlier versions
  (again,) = evaluate.run(evaluate.Config(batches=2, **options), str(folder))
  assert (again['score'], again['share']) == (row['score'], row['share'])
  with pytest.raises(FileNotFoundError, match='nowhere'):
    evaluate.run(evaluate.Config(task_options='corpus=nowhere'), str(folder))


def test_two_names_for_the_data_are_refused():
  """One would be ignored."""
  with pytest.raises(ValueError, match='corpus was given twice, as --corpus=a'):
    dataclasses.replace(SMALL, task='text', corpus='a', task_options='corpus=b')


@pytest.mark.parametrize('kind, fitted', [
  ('text', {'vocabulary': 5}), ('text', {'scale': [[0.0], [1.0]]}),
  ('text', {'length': 8}), ('text', {'vocabulary': 'a', 'length': 8}),
  ('plain', {'vocabulary': 'abc'}), ('series', {'vocabulary': 'abc'}),
  ('series', {'scale': 5}), ('series', {'scale': [[0.0]]}),
  ('series', {'scale': [['a'], ['b']]}), ('series', {'scale': [[0.0], [0.0]]}),
  ('series', {'scale': [[0.0, 1.0], [1.0, 1.0]]}),
])  # fmt: skip
def test_what_could_not_have_been_fitted_is_a_sentence(
  kind, fitted, runs, tmp_path
):
  """And nothing else is blamed."""
  folder = shutil.copytree(runs[kind], tmp_path / 'run')
  (folder / 'fitted.json').write_text(json.dumps(fitted))
  with pytest.raises(ValueError, match='fitted|components'):
    seqjax.load_run(folder, 4)


def test_a_run_without_an_option_that_was_added_since_is_loaded(runs, tmp_path):
  """At the default of the option."""
  folder = shutil.copytree(runs['plain'], tmp_path / 'run')
  path = folder / 'config.json'
  content = json.loads(path.read_text())
  del content['config']['keep_best']
  path.write_text(json.dumps(content))
  assert seqjax.load_run(folder, 4).config.keep_best == 1


def test_what_was_fitted_is_beside_the_run(runs):
  """There is no file of tasks that fit nothing."""
  fitted = json.loads((runs['text'] / 'fitted.json').read_text())
  assert fitted == {'vocabulary': ''.join(sorted(set(TEXT)))}
  assert not (runs['plain'] / 'fitted.json').exists()
  mean, deviation = json.loads((runs['series'] / 'fitted.json').read_text())[
    'scale'
  ]
  values = np.sin(np.arange(1600) / 3)
  np.testing.assert_allclose(mean, values.mean(), rtol=1e-6)
  np.testing.assert_allclose(deviation, values.std(), rtol=1e-6)
