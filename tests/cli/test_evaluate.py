"""seqjax-evaluate: the run's own score, other lengths, what is missing."""

import dataclasses
import importlib.util
import json
import shutil
import sys

import jax
import pytest

from seqjax import results
from seqjax.analysis import memory
from seqjax.cli import build, evaluate, train, trained
from seqjax.ops import losses
from tests.cli import saved

QUICK = {'batches': 1, 'batch_size': 8}


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A run of parity, up to 40 positions, by attention to 48."""
  workdir = tmp_path_factory.mktemp('evaluate') / 'run'
  saved.save(workdir, task='parity', mixer='attention')
  return str(workdir)


def test_the_score_of_the_run_is_that_of_its_summary(tmp_path, capsys):
  """The same split, the same batches, the parameters of the checkpoint.

  Whoever watches the run finds a trace, a sentence, and files for TensorBoard.
  """
  config = train.Config(**saved.SMALL, task='parity', mixer='gru', log_every=2)
  board = importlib.util.find_spec('tensorboardX') is not None
  tracker = 'tensorboard' if board else 'none'
  train.train_and_report(config, str(tmp_path), tracker=tracker, profile=True)
  assert 'parity by gru, 4 steps in' in capsys.readouterr().out
  assert list(tmp_path.glob('profile/**/*.xplane.pb'))
  assert bool(list(tmp_path.glob('tensorboard/*'))) == board
  summary = results.finished(tmp_path, config)
  (row,) = evaluate.run(evaluate.Config(), str(tmp_path))
  assert row['score'] == summary['test'] and row['step'] == 4
  assert row['chance'] == summary['chance'] and row['metric'] == 'accuracy'


def test_rows_are_added_and_asked_again_replaced(workdir, capsys):
  """A row a length, with the scores by group; a table is printed."""
  for lengths in (('40', '64'), ('64',)):
    evaluate.run(evaluate.Config(lengths=lengths, **QUICK), workdir)
  evaluate.run(evaluate.Config(split='validation', **QUICK), workdir)
  shown = capsys.readouterr().out
  assert 'parity, test split, step 0' in shown and 'ceiling' in shown
  with open(f'{workdir}/evaluation.json') as file:
    rows = json.load(file)
  assert [(row['split'], row['length']) for row in rows] == [
    ('test', 40),
    ('test', 64),
    ('validation', 40),
  ]
  for row in rows:
    groups, scores, weights = zip(*row['groups'], strict=True)
    assert max(groups) <= row['length'] and sum(weights) == row['examples'] == 8
    total = sum(s * w for s, w in zip(scores, weights, strict=True))
    assert row['score'] == pytest.approx(total / 8)


def untrained(**options) -> trained.Trained:
  """The shapes of a run are enough to see what fits it."""
  config = train.Config(**{**saved.SMALL, 'mixer': 'attention', **options})
  task, model = build.make(config)
  batch, key = build.example(task), jax.random.key(0)
  made = jax.eval_shape(model.init, key, batch.inputs, batch.segments)
  return trained.Trained(config, task, model, made, 0, [], None, {})


@pytest.mark.parametrize('context, then', [(48, 100), (40, 100), (16, 16)])
def test_a_context_that_held_all_positions_does_so_at_any_length(context, then):
  """A shorter one is what the model is about, and stays."""
  run_of = untrained(task='parity', context=context)
  _, model = evaluate.rebuild(run_of, 'length=100')
  assert model.mixers[0].context == then
  assert evaluate.rebuild(run_of, '')[1].mixers[0].context == context


def test_an_encoder_and_its_decoder_hold_the_longer_side():
  """Of a source of 60 symbols, say."""
  run_of = untrained(task='transduction_copy', task_options='length=10')
  task, model = evaluate.rebuild(run_of, 'length=60')
  assert model.decoder[0].context == build.num_positions(task) >= 60


@pytest.mark.parametrize('options, mixer_options, other', [
  ({'task': 'parity'}, 'positions=learned', 'length=100'),
  ({'task': 'copy_memory'}, '', 'num_symbols=20'),
])  # fmt: skip
def test_parameters_that_do_not_fit_are_named(options, mixer_options, other):
  """Learned positions end; another vocabulary has other tables."""
  run_of = untrained(**options, mixer_options=mixer_options)
  with pytest.raises(ValueError, match=f'{other}.* is needed'):
    evaluate.rebuild(run_of, other)


def test_lengths_are_asked_of_tasks_that_have_them():
  """The others say which options they have."""
  run_of = untrained(task='copy_memory')
  with pytest.raises(ValueError, match='no option length.*takes: .*delay'):
    evaluate.task_options(evaluate.Config(lengths=('8',)), run_of.config)


@pytest.fixture
def score_traces(monkeypatch):
  """Grows by one whenever a function that computes accuracy is compiled."""
  traces, accuracy = [], losses.accuracy

  def counted(*args):
    traces.append(args)
    return accuracy(*args)

  monkeypatch.setattr(losses, 'accuracy', counted)
  return traces


def test_a_range_of_lengths_takes_three_compiles(workdir, score_traces):
  """Each length that is held out is in one of three rows, with its score."""
  config = evaluate.Config(lengths=('1:100',), batches=8, batch_size=64)
  rows = evaluate.run(config, workdir)
  assert len(score_traces) == 3
  held_out = [(24, 49), (50, 75), (76, 100)]
  assert [(row['min_length'], row['length']) for row in rows] == held_out
  for (low, high), row in zip(held_out, rows, strict=True):
    assert [n for n, _, _ in row['groups']] == list(range(low, high + 1))
    assert sum(weight for _, _, weight in row['groups']) == row['examples']
  with open(f'{workdir}/evaluation.json') as file:
    assert json.load(file)[-3:] == rows


@pytest.mark.parametrize('task, split, asked, expected', [
  ('parity', 'train', '1:2', [(1, 1), (2, 2)]),
  ('modular_arithmetic', 'train', '2:7', [(3, 3), (5, 5), (7, 7)]),
  ('trajectory_next', 'test', '8:500', [(8, 172), (173, 336), (337, 500)]),
  ('parity', 'test', '1:5', [(1, 2), (3, 4), (5, 5)]),  # which draws none
])  # fmt: skip
def test_a_range_is_of_lengths_that_the_split_has(task, split, asked, expected):
  """Odd ones, say; where it has none, the task is the one to say so."""
  config = evaluate.Config(split=split, lengths=(asked,))
  options = evaluate.task_options(config, untrained(task=task).config)
  assert options == [f'min_length={a},length={b}' for a, b in expected]


@pytest.mark.parametrize('task, lengths, message', [
  ('parity', '1-500', "32,64 or 1:500, but '1-500'"),
  ('parity', '', "but '' was given"),
  ('parity', '50:40', 'length of at least 50, but length=40'),
  ('mqar', '32:64', 'all of one length: list some, as in --lengths=32,64'),
])  # fmt: skip
def test_lengths_that_cannot_be_are_refused(task, lengths, message):
  """By what was given."""
  config = evaluate.Config(lengths=(lengths,))
  with pytest.raises(ValueError, match=message):
    evaluate.task_options(config, untrained(task=task).config)


def test_short_examples_of_training_are_scored(workdir):
  """Although nothing is held out of them."""
  config = evaluate.Config(split='train', lengths=('8',), **QUICK)
  (row,) = evaluate.run(config, workdir)
  assert row['length'] == 8
  with pytest.raises(ValueError, match='8.0 bits.*hold some out for test'):
    evaluate.run(dataclasses.replace(config, split='test'), workdir)


@pytest.mark.parametrize('batch_size, said', [
  (64, '--batch_size=4 would fit'),
  (1, '--batch_size=1 with --lengths=22 would fit'),
])  # fmt: skip
def test_a_batch_that_is_too_large_is_told_with_one_that_fits(
  batch_size, said, workdir, monkeypatch, capsys
):
  """As scored: never more rows at a time than are twice those of training."""
  run_of = trained.load_trained(workdir, 'newest')
  one, two = (evaluate.bytes_needed(run_of, 'length=90', n) for n in (1, 2))
  limit = (one + 3 * (two - one)) * 5 // 4 + 4
  if batch_size == 1:
    limit = evaluate.bytes_needed(run_of, 'length=22', 1) * 5 // 4 + 4
  monkeypatch.setattr(memory, 'available_memory', lambda: limit)

  def exhausted(*args, **kwargs):
    assert kwargs['at_once'] == 8
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')

  monkeypatch.setattr(evaluate.training, 'evaluate', exhausted)
  flags = ['--lengths=90,40', f'--batch_size={batch_size}']
  monkeypatch.setattr(
    sys, 'argv', ['evaluate.py', f'--workdir={workdir}', *flags]
  )
  with pytest.raises(SystemExit) as exit:
    evaluate.main()
  err = capsys.readouterr().err
  assert exit.value.code == 1 and err.count('\n') == 1
  assert (
    said in err and f'{min(8, batch_size)} rows of Parity(length=90, ' in err
  )


def damage(workdir, **fields):
  """Puts other fields into a config file, or text in place of it."""
  path = workdir / 'config.json'
  content = json.loads(path.read_text())
  content['config'] |= fields
  path.write_text(json.dumps(content))


@pytest.mark.parametrize('change, message', [
  (lambda path: shutil.rmtree(path), 'There is no run in'),
  (lambda path: shutil.rmtree(path / 'checkpoints'), 'has no checkpoint'),
  (lambda path: damage(path, fetures=8), "'fetures'. Did you mean 'features'"),
  (lambda path: damage(path, mixer='lsmt'), "'lsmt'. Did you mean 'lstm'"),
  (lambda path: damage(path, features=12), 'of another model or optimizer'),
  (lambda path: (path / 'config.json').write_text('{'), 'is not JSON'),
  (lambda path: (path / 'config.json').write_text('[]'), 'a config of a run'),
])  # fmt: skip
def test_what_is_missing_or_wrong_is_a_sentence_and_exit_code_2(
  change, message, workdir, tmp_path, monkeypatch, capsys
):
  """For whoever reads checkpoints; nothing is written."""
  shutil.copytree(workdir, tmp_path / 'run')
  change(tmp_path / 'run')
  (tmp_path / 'run' / 'evaluation.json').unlink(missing_ok=True)
  monkeypatch.setattr(
    sys, 'argv', ['evaluate.py', f'--workdir={tmp_path / "run"}']
  )
  with pytest.raises(SystemExit) as exit:
    evaluate.main()
  said = capsys.readouterr().err
  assert exit.value.code == 2 and message in said and 'Traceback' not in said
  assert not (tmp_path / 'run' / 'evaluation.json').exists()


def test_there_are_three_splits(workdir):
  """Did you mean."""
  with pytest.raises(ValueError, match="'tst'. Did you mean 'test'"):
    evaluate.run(evaluate.Config(split='tst'), workdir)


@pytest.mark.parametrize('content', [
  b'[1]', b'null', b'[{"step": 1}', b'[{"step": 1}]', b'\xff\xfe', b'', b'{}',
])  # fmt: skip
def test_damaged_scores_are_told_before_anything_is_computed(
  content, workdir, tmp_path, monkeypatch
):
  """And stay as they are, for a person to look at."""
  shutil.copytree(workdir, tmp_path / 'run')
  path = tmp_path / 'run' / 'evaluation.json'
  path.write_bytes(content)
  monkeypatch.setattr(evaluate.trained, 'load_trained', None)
  with pytest.raises(ValueError, match="evaluation.json' is no"):
    evaluate.run(evaluate.Config(), str(tmp_path / 'run'))
  assert path.read_bytes() == content
