"""Any task and any mixer, from flags alone."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from seqjax.cli import train

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
README = (ROOT / 'README.md').read_text(encoding='utf-8')
COMMANDS = {
  re.search(r'--task=(\w+)', command)[1]: command
  for command in re.findall(r'^\| `(--task=[^`]+)` \|', README, re.M)
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


def test_every_command_of_the_readme_has_a_bar():
  """Or a number in the table could fade unnoticed."""
  assert set(COMMANDS) == set(BARS)


@pytest.mark.slow
@pytest.mark.parametrize('task', BARS)
def test_the_commands_of_the_readme_reach_their_bars(task, tmp_path):
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


@pytest.mark.filterwarnings('ignore::seqjax.tasks.task.Overlap')
def test_small_settings_work(tmp_path):
  """Four steps, a length of 8, a width of 10, one layer."""
  config = train.Config(
    task='parity', task_options='length=8', mixer='gru', features=10, layers=1,
    steps=4, batch_size=2, context=8,
  )  # fmt: skip
  summary = train.run(config, tmp_path)
  assert summary['steps_taken'] == 4 and 0 <= summary['test'] <= 1
