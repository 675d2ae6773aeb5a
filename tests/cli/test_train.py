"""Any task and any mixer, from flags alone."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import seqjax
from seqjax import results, training
from seqjax.analysis import memory
from seqjax.cli import build, evaluate, train

SMALL = train.Config(
  features=8, layers=1, context=64, steps=4, batch_size=4, log_every=2
)


@pytest.mark.parametrize(
  'task, options, mixer',
  [
    ('copy_memory', 'delay=3,num_copied=8', 'attention'),
    ('parity', '', 'bidirectional'),
    ('digits', '', 'mingru'),
  ],
)
def test_a_run_has_its_scores_beside_chance(task, options, mixer, tmp_path):
  """Tasks on the device and on the host, one answer or many."""
  config = dataclasses.replace(
    SMALL, task=task, task_options=options, mixer=mixer
  )
  summary = train.run(config, tmp_path)
  assert summary['metric'] == 'accuracy' and 0 <= summary['test'] <= 1
  assert 0 < summary['chance'] < 1
  assert train.run(config, tmp_path) == summary


def test_a_run_in_half_precision_computes_blocks_again(tmp_path):
  """And drops some of them; it gives a finite score all the same."""
  config = dataclasses.replace(
    SMALL, task='parity', dtype='bfloat16', remat=True, dropout=0.2
  )
  assert 0 <= train.run(config, tmp_path, shard=True)['test'] <= 1


@pytest.mark.parametrize(
  'options, message',
  [
    ({'shard': True, 'mesh': 'rows:1'}, '--mesh=rows:1 was given, too'),
    ({'mesh': 'tme:1'}, "Unknown axis of a mesh 'tme'"),
    ({'mesh': 'rows:1,time:1'}, 'A Classifier reads whole sequences'),
  ],
)
def test_a_mesh_that_cannot_be_is_refused(options, message, tmp_path):
  """Before anything is written."""
  config = dataclasses.replace(SMALL, task='parity')
  with pytest.raises(ValueError, match=message):
    train.run(config, tmp_path / 'run', **options)
  assert not (tmp_path / 'run').exists()


def test_memory_is_that_of_one_device_of_a_mesh(monkeypatch):
  """100 bytes for the model, and 40 for a row, of which time:4 holds 10."""
  config = dataclasses.replace(SMALL, task='recall', batch_size=8)
  mesh = Mesh(np.full((2, 4), jax.devices()[0]), ('rows', 'time'))
  monkeypatch.setattr(build, 'bytes_needed', lambda _, rows: 100 + 40 * rows)
  task, _ = build.make(config)
  limits = {(140, mesh): True, (139, mesh): False}
  limits |= {(420, None): True, (419, None): False}
  for (limit, devices), fits in limits.items():
    monkeypatch.setattr(memory, 'available_memory', lambda limit=limit: limit)
    assert build.fits_memory(config, task, mesh=devices) == fits
  elsewhere = _bytes_on_the_other_of_two(config, task)
  monkeypatch.setattr(build, 'bytes_needed', lambda _, rows: 10**5 + 40 * rows)
  for limit, fits in {0: True, -1: False}.items():
    limit += 10**5 + 40 - elsewhere
    monkeypatch.setattr(memory, 'available_memory', lambda limit=limit: limit)
    assert build.fits_memory(config, task, 1, mesh, True) == fits
  monkeypatch.setattr(build, 'bytes_needed', lambda _, rows: 100 + 40 * rows)
  monkeypatch.setattr(memory, 'available_memory', lambda: 170)
  said = build.too_large(dataclasses.replace(config, batch_size=32), mesh)
  assert '(each device holds 16 rows, 1/4 of their positions)' in said
  assert 'batch_size=4 would fit' in said
  monkeypatch.setattr(memory, 'available_memory', lambda: 100)
  assert 'not even one row for each device' in build.too_large(config, mesh)


def _bytes_on_the_other_of_two(config, task) -> int:
  """Compares states before and after; the parameters before are gathered."""
  state = build.initial_state(config, task, build.make(config)[1])
  trees = state.params, state.opt_state, state.opt_state
  return sum(
    leaf.nbytes // 2
    for leaf in jax.tree.leaves(trees)
    if any(size % 2 == 0 for size in leaf.shape)
  )


def test_a_corpus_is_any_file(tmp_path):
  """Its characters are the vocabulary, its entropy is chance."""
  path = tmp_path / 'notes.txt'
  path.write_text('the time machine, by one who was there. ' * 200)
  config = dataclasses.replace(SMALL, task='text', corpus=str(path))
  summary = train.run(config, tmp_path / 'run')
  assert summary['metric'] == 'bits' and 2 < summary['chance'] < 5


@pytest.mark.parametrize(
  'options, message',
  [
    ({'task_options': 'dely=3', 'task': 'copy_memory'}, "mean 'delay'"),
    ({'mixer_options': 'num_heads'}, "got 'num_heads'"),
    (
      {'mixer_options': 'forget_bias=x'},
      "forget_bias to be a finite number, but 'x'",
    ),
    ({'mixer_options': 'param_dtype=float9'}, "param_dtype.*'float9'"),
    ({'mixer_options': 'paramt=1'}, "Unknown mixer option 'paramt'"),
    ({'task_options': 'lag=much'}, "lag to be a whole number, but 'much'"),
    ({'dropout': 1.0}, 'dropout=1.0'),
    ({'learning_rate': float('nan')}, 'learning_rate to be.*nan'),
    ({'corpus': 'notes.txt'}, 'task=recall was given'),
    ({'mixer': 'bidirectional', 'task': 'synonyms'}, 'bidirectional sees'),
    ({'data_dir': 'here'}, 'recall reads no data'),
    ({'layers': 0}, 'layers=0'),
    ({'keep_latest': 0}, 'at least 1, but keep_latest=0'),
    ({'patience': -1}, 'at least 0, but patience=-1'),
  ],
)
def test_bad_flags_get_a_sentence(options, message, tmp_path):
  """Before anything is written."""
  with pytest.raises(ValueError, match=message):
    train.run(dataclasses.replace(SMALL, **options), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


ROOT = pathlib.Path(__file__).parent.parent.parent
PAGE = (ROOT / 'docs' / 'training.md').read_text(encoding='utf-8')
COMMANDS = {
  re.search(r'--task=(\w+)', command)[1]: command
  for command in re.findall(r'^\| `(--task=[^`]+)` \|', PAGE, re.M)
}
EACH_ONCE = ('--batches=3', '--batch_size=60')  # the 180 digits for test
BARS = {  # {task: [(options of seqjax-evaluate, lowest, highest score)]}
  'copy_memory': [((), 0.99, 1)],
  'parity': [
    (('--lengths=32', '--task_options=min_length=32'), 0.99, 1),
    (('--lengths=256', '--task_options=min_length=256'), 0.95, 1),
  ],
  'recall': [((), 0.95, 1)],
  'text': [((), 0, 2.6)],
  'digits': [(EACH_ONCE, 0.93, 1)],
  'mackey_glass': [((), 0, 0.03**2)],  # the square of an error of 0.03
}


def call(program, *options):
  """As a user would, without what makes tests quick to compile."""
  quick = ('JAX_DISABLE_MOST_OPTIMIZATIONS', 'XLA_FLAGS')
  environment = {k: v for k, v in os.environ.items() if k not in quick}
  subprocess.run(
    [sys.executable, '-m', f'seqjax.cli.{program}', *options],
    check=True, timeout=3600, env=environment,
  )  # fmt: skip


def test_every_command_of_the_page_has_a_bar():
  """Or a number in the table could fade unnoticed."""
  assert set(COMMANDS) == set(BARS)


@pytest.mark.slow
@pytest.mark.parametrize('task', BARS)
def test_the_commands_of_the_page_reach_their_bars(task, tmp_path):
  """From flags alone, on examples that training never saw."""
  command = COMMANDS[task].split()
  if task == 'text':
    if 'SEQJAX_DATA' not in os.environ:
      pytest.skip('SEQJAX_DATA names no folder')
    path = pathlib.Path(os.environ['SEQJAX_DATA'], 'tinyshakespeare.txt')
    command = [
      f'--corpus={path}' if part.startswith('--corpus=') else part
      for part in command
    ]
  call('train', *command, f'--workdir={tmp_path}')
  for options, lowest, highest in BARS[task]:
    call('evaluate', *options, f'--workdir={tmp_path}')
    row = json.loads((tmp_path / 'evaluation.json').read_text())[-1]
    assert lowest <= row['score'] <= highest, (options, row['score'])


def hybrid(**options) -> tuple:
  config = train.Config(
    **{'features': 8, 'layers': 4, 'context': 16, 'mixer': 'gru+attention'}
    | options
  )
  return build.make(config)[1].mixers


def test_the_mixers_of_a_hybrid_take_turns():
  """An option goes to each mixer that has it."""
  kinds = [
    type(mixer).__name__ for mixer in hybrid(mixer_options='num_heads=2')
  ]
  assert kinds == ['GRU', 'Attention', 'GRU', 'Attention']
  assert hybrid(mixer_options='num_heads=2')[1].num_heads == 2
  three = hybrid(mixer='gru+lstm+attention', layers=5)
  assert [type(mixer).__name__ for mixer in three] == [
    'GRU', 'LSTM', 'Attention', 'GRU', 'LSTM',
  ]  # fmt: skip


@pytest.mark.parametrize('options, message', [
  ({'mixer': 'gru+atention'}, "'atention'. Did you mean 'attention'"),
  ({'mixer': 'gru+'}, "Unknown mixer ''"),
  ({'layers': 1}, 'take turns, one in a layer, which takes 2 layers, but'),
  ({'mixer_options': 'num_head=2'}, "'num_head'. Did you mean 'num_heads'"),
  ({'mixer': 'gru+full_attention', 'task': 'synonyms'}, 'sees what the task'),
])  # fmt: skip
def test_a_hybrid_that_cannot_be_made_is_a_sentence(options, message, tmp_path):
  """Before anything is written."""
  config = train.Config(**{'mixer': 'gru+attention', 'features': 8} | options)
  with pytest.raises(ValueError, match=message):
    train.run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def extend(config, workdir, **changes):
  return train.run(dataclasses.replace(config, **changes), workdir, extend=True)


def test_a_finished_run_is_trained_for_longer(tmp_path, capfd):
  """From its last state, with lines and checkpoints that go on."""
  first = train.run(SMALL, tmp_path)
  summary = extend(SMALL, tmp_path, steps=8)
  said = capfd.readouterr().err
  assert 'extending the run from 4 to 8 steps' in said
  assert 'resuming at step 4' in said and summary['steps_taken'] == 8
  lines = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  assert [json.loads(line)['step'] for line in lines] == [2, 4, 6, 8]
  kept = json.loads((tmp_path / 'summary-4.json').read_text())
  assert kept['test'] == first['test']
  config = json.loads((tmp_path / 'config.json').read_text())
  assert config['extended'] == [{'from': 4, 'to': 8}]
  assert extend(SMALL, tmp_path, steps=8) == summary  # nothing left to do
  assert extend(SMALL, tmp_path, steps=10)['steps_taken'] == 10


def test_more_steps_of_a_finished_run_name_the_option_that_trains_them(
  tmp_path, capsys
):
  """From Python and from the command line; nothing is written."""
  summary = train.run(SMALL, tmp_path)
  longer = dataclasses.replace(SMALL, steps=8)
  said = (
    f"The run in '{tmp_path}' has finished its 4 steps, and steps=8 was given: "
    'add --extend to train it for longer, or choose another workdir.'
  )
  with pytest.raises(ValueError) as error:
    train.run(longer, tmp_path)
  assert str(error.value) == said
  with pytest.raises(SystemExit):
    train.train_and_report(longer, tmp_path)
  assert capsys.readouterr().err.endswith(f'{said}\n')
  assert train.run(SMALL, tmp_path) == summary
  for changes in ({'steps': 8, 'seed': 1}, {'steps': 3}):
    with pytest.raises(ValueError, match='run of another config'):
      train.run(dataclasses.replace(SMALL, **changes), tmp_path)
  (tmp_path / 'summary.json').unlink()  # it has not finished
  with pytest.raises(ValueError, match='steps is 4 there and 8 here'):
    train.run(longer, tmp_path)


def test_what_cannot_be_extended_is_told_and_left_alone(tmp_path):
  """Fewer steps, another config, a run that has not finished or is none."""
  train.run(SMALL, tmp_path / 'run')
  before = {
    path: path.read_bytes()
    for path in (tmp_path / 'run').rglob('*')
    if path.is_file()
  }
  for changes, message in (
    ({'steps': 3}, 'has made 4 of 4, and steps=3 was given'),
    ({'steps': 4}, 'has made 4 of 4, and steps=4 was given'),
    ({'steps': 8, 'seed': 1}, 'seed is 0 there and 1 here'),
  ):
    with pytest.raises(ValueError, match=message):
      extend(SMALL, tmp_path / 'run', **changes)
  assert before == {path: path.read_bytes() for path in before}
  with pytest.raises(ValueError, match='There is no run in'):
    extend(SMALL, tmp_path / 'none', steps=8)
  (tmp_path / 'run' / 'summary.json').unlink()
  with pytest.raises(ValueError, match='has not finished: the same command'):
    extend(SMALL, tmp_path / 'run', steps=8)


def test_a_text_with_nothing_to_score_is_refused_before_training(tmp_path):
  """Perfect scores over no target came out before."""
  path = tmp_path / 'notes.txt'
  path.write_text('ab' * 9000 + 'XY' * 1000)
  config = dataclasses.replace(
    SMALL, task='text', corpus=str(path), task_options='length=8'
  )
  with pytest.raises(ValueError, match='Nothing could be scored: the valid'):
    train.run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_the_share_of_targets_that_count_stands_beside_every_score(
  tmp_path, capsys
):
  """In the metrics, the summary, the sentence and the table of scores."""
  path = tmp_path / 'notes.txt'
  path.write_text('ab' * 9000 + 'aX' * 1000)
  config = dataclasses.replace(
    SMALL, task='text', corpus=str(path), task_options='length=8'
  )
  train.train_and_report(config, tmp_path / 'run')
  said = capsys.readouterr().out
  summary = json.loads((tmp_path / 'run' / 'summary.json').read_text())
  lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
  assert 0.4 < summary['test_share'] < 0.6
  assert f'{summary["test_share"]:.1%} of the targets counted' in said
  share = json.loads(lines[-1])['validation_share']
  assert share == summary['validation_share'] and 0.4 < share < 0.6
  (row,) = evaluate.run(evaluate.Config(batches=2), str(tmp_path / 'run'))
  assert 0.4 < row['share'] < 0.6 and ' share ' in capsys.readouterr().out


@pytest.mark.parametrize('options', [
  {'optimizer': 'lion', 'schedule': 'linear', 'clip': 0.0},
  {'optimizer': 'sgd', 'warmup': 1, 'accumulate': 2, 'ema': 0.5},
])  # fmt: skip
def test_training_as_it_is_set_up_resumes_bit_by_bit(options, tmp_path):
  """With the average and what was accumulated in the state."""
  config = dataclasses.replace(SMALL, log_every=1, save_every=0.0, **options)
  whole = train.run(config, tmp_path / 'whole')
  log = results.Run.log

  def log_and_fail(self, step, **metrics):
    log(self, step, **metrics)
    if int(step) == 3:
      raise KeyError

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(results.Run, 'log', log_and_fail)
    with pytest.raises(KeyError):
      train.run(config, tmp_path / 'stopped')
  again = train.run(config, tmp_path / 'stopped')
  assert again | {'time': 0} == whole | {'time': 0}
  run = seqjax.load_run(tmp_path / 'whole', 'newest')
  assert training.overall(
    training.evaluate(run.model, run.params, run.task, batches=4, batch_size=64)
  ) == pytest.approx(whole['validation'])


@pytest.mark.parametrize('options, message', [
  ({'optimizer': 'adm'}, "Unknown optimizer 'adm'. Did you mean 'adamw'"),
  ({'accumulate': 3}, 'accumulate divide steps'),
  ({'warmup': 4}, 'warmup must be less than the 4 updates'),
  ({'clip': -1.0}, 'clip must be at least 0'),
])  # fmt: skip
def test_a_setting_of_training_that_is_wrong_is_a_sentence(
  options, message, tmp_path
):
  """Before anything is written."""
  with pytest.raises(ValueError, match=message):
    train.run(dataclasses.replace(SMALL, **options), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


@pytest.mark.filterwarnings('ignore::seqjax.tasks.task.Overlap')
@pytest.mark.parametrize('mixer', ['gru', 'attention', 'retention'])
def test_small_settings_work(mixer, tmp_path):
  """Four steps, a length of 8, a width of 10, one layer."""
  config = train.Config(
    task='parity', task_options='length=8', mixer=mixer, features=10, layers=1,
    steps=4, batch_size=2, context=8,
  )  # fmt: skip
  summary = train.run(config, tmp_path)
  assert summary['steps_taken'] == 4 and 0 <= summary['test'] <= 1


def test_a_folder_is_read_as_far_as_it_is_included(tmp_path):
  """A flag says so; it is refused of a task without a corpus."""
  folder = tmp_path / 'notes'
  folder.mkdir()
  (folder / 'a.py').write_text('ab' * 9000)
  (folder / 'b.txt').write_text('XY' * 9000)
  config = dataclasses.replace(
    SMALL, task='text', corpus=str(folder), include='*.py',
    task_options='length=8',
  )  # fmt: skip
  assert build.make(config)[0].fitted == {'vocabulary': 'ab'}
  with pytest.raises(ValueError, match='corpus is what the task text reads'):
    dataclasses.replace(SMALL, include='*.py')


def test_nothing_is_compiled_ahead_where_jit_is_disabled():
  """Loops over tracers could not be; otherwise training and validation are."""
  task, model = build.make(SMALL)
  with build.compiling(SMALL, task, model, None) as begun:
    assert set(begun._begun) == {'training', 'validation'}
  with jax.disable_jit(), build.compiling(SMALL, task, model, None) as begun:
    assert not begun._begun
