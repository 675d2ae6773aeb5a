"""Several processes train one run: as one process does, and stop together."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from seqjax.cli import train
from seqjax.cli.train_config import Config

ROOT = pathlib.Path(__file__).parent.parent.parent
SMALL = {
  'task': 'parity',
  'mixer': 'mingru',
  'features': 8,
  'layers': 1,
  'batch_size': 8,
  'steps': 300,
  'log_every': 100,
}
SECONDS = 240  # until a child is given up


def start(workdir, count=2, seeds=None, **options):
  """Starts the processes of a run; each writes to a file of its own."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  children = []
  for i in range(count):
    flags = SMALL | options | {'workdir': workdir}
    flags |= {'distributed': f'{address},{count},{i}'}
    flags |= {'seed': seeds[i]} if seeds else {}
    with open(f'{workdir}.{i}', 'w') as output:
      child = subprocess.Popen(
        [
          *(sys.executable, '-m', 'seqjax.cli.train'),
          *(f'--{name}={value}' for name, value in flags.items()),
        ],
        cwd=ROOT,
        env=os.environ | {'PJRT_NPROC': '2'},
        stdout=output,
        stderr=output,
      )
    children.append(child)
  return children


def ended(workdir, children):
  """Waits; returns exit codes, and what the processes said."""
  codes = [child.wait(SECONDS) for child in children]
  said = [pathlib.Path(f'{workdir}.{i}').read_text() for i in range(len(codes))]
  return codes, said


def metrics(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def near(given, expected):
  """Equal but for the order of sums, and for clocks."""
  assert [line.keys() for line in given] == [line.keys() for line in expected]
  for a, b in zip(given, expected, strict=True):
    for name in a.keys() - {'time'}:
      np.testing.assert_allclose(a[name], b[name], rtol=1e-3, err_msg=name)


def wait_for(path, text, child):
  """Waits until a process has said so."""
  until = time.monotonic() + SECONDS
  while text not in path.read_text():
    assert time.monotonic() < until and child.poll() is None, path.read_text()
    time.sleep(0.05)


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  """The run of one process."""
  workdir = tmp_path_factory.mktemp('alone')
  train.run(Config(**SMALL), workdir)
  return workdir


def test_sigterm_to_one_stops_both_and_one_goes_on_alone(tmp_path, alone):
  """With exit code 75; what it comes to is the run of one process.

  Which goes on with the whole state, though each had half of it.
  """
  workdir = tmp_path / 'run'
  children = start(workdir, mesh='rows:2', shard_states=True)
  wait_for(pathlib.Path(f'{workdir}.0'), 'compiling the', children[0])
  children[1].send_signal(signal.SIGTERM)
  codes, said = ended(workdir, children)
  assert codes == [75, 75], said
  assert all('the same command resumes it' in text for text in said)
  assert 'results are written to' not in said[1]
  summary = train.run(Config(**SMALL), workdir)
  near(metrics(workdir), metrics(alone))
  assert summary['steps_taken'] == SMALL['steps']


@pytest.mark.slow
def test_rows_and_positions_of_a_hybrid_are_spread_over_processes(tmp_path):
  """Four of them, which share states, too: 50 steps are those of one device.

  SIGTERM stops all, and one device goes on.
  """
  options = {
    'task': 'recall',
    'task_options': 'num_facts=4,num_distractors=3,lag=15',
    'mixer': 'mingru+lru+attention+gated_deltanet+tcn',
    'layers': 5,
    'context': 16,
    'log_every': 10,
    'learning_rate': 1e-3,
  }
  config = Config(**SMALL | options)
  train.run(config, tmp_path / 'alone')
  workdir = tmp_path / 'run'
  spread = {'mesh': 'rows:2,time:2', 'shard_states': True}
  children = start(workdir, count=4, **options | spread)
  wait_for(pathlib.Path(f'{workdir}.0'), 'compiling the', children[0])
  wait_for(workdir / 'metrics.jsonl', '"step": 50,', children[0])
  children[2].send_signal(signal.SIGTERM)
  codes, said = ended(workdir, children)
  assert codes == [75] * 4, said
  stopped = metrics(workdir)
  alone = metrics(tmp_path / 'alone')
  of_loss, of_others = 1e-5, 1e-2  # which small differences change more
  for name in ('loss', 'validation', 'gradient_norm'):
    given, expected = ([line[name] for line in x[:5]] for x in (stopped, alone))
    tolerance = of_loss if name == 'loss' else of_others
    np.testing.assert_allclose(given, expected, tolerance, err_msg=name)
  summary = train.run(config, workdir)
  assert summary['steps_taken'] == SMALL['steps'] > stopped[-1]['step']


@pytest.mark.slow
def test_two_processes_go_on_with_the_run_of_one(tmp_path, alone):
  """And say once that it has finished."""
  workdir = tmp_path / 'run'
  (child,) = start(workdir, count=1)
  wait_for(pathlib.Path(f'{workdir}.0'), 'compiling the', child)
  child.send_signal(signal.SIGTERM)
  assert ended(workdir, [child])[0] == [75]
  codes, said = ended(workdir, start(workdir))
  assert codes == [0, 0], said
  assert 'resuming at step' in said[0] and 'parity by mingru' not in said[1]
  near(metrics(workdir), metrics(alone))


@pytest.mark.slow
def test_another_config_is_refused_by_all(tmp_path):
  """Before anything is written."""
  codes, said = ended(tmp_path / 'run', start(tmp_path / 'run', seeds=(0, 1)))
  assert codes == [2, 2]
  assert all('process 1 has another command' in text for text in said)
  assert not (tmp_path / 'run').exists()


def test_what_the_first_refuses_all_refuse(tmp_path):
  """At once, and with the same exit code."""
  options = {'tracker': 'wandb'}
  codes, said = ended(tmp_path / 'run', start(tmp_path / 'run', **options))
  assert codes == [2, 2]
  assert all("pip install '.[wandb]'" in text for text in said)
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_all_end_where_training_is_not_finite(tmp_path):
  """With exit code 1, and the last sound state saved."""
  options = {'learning_rate': 1e38, 'clip': 0}
  codes, said = ended(tmp_path / 'run', start(tmp_path / 'run', **options))
  assert codes == [1, 1]
  assert all('is not finite at step' in text for text in said)


@pytest.mark.slow
def test_one_that_is_killed_ends_the_other(tmp_path):
  """With a sentence, and within seconds."""
  workdir = tmp_path / 'run'
  children = start(workdir, steps=10**7)
  wait_for(pathlib.Path(f'{workdir}.0'), 'compiling the', children[0])
  time.sleep(15)
  children[1].kill()
  codes, said = ended(workdir, children)
  assert codes == [1, -signal.SIGKILL]
  assert 'Another process of this job has ended' in said[0]


@pytest.mark.parametrize('given', ['node1', 'node1:1', 'node1:1,2,2', 'a,2,0'])
def test_an_address_that_is_none_is_refused(given, capsys):
  """In a sentence."""
  with pytest.raises(SystemExit) as exit:
    train.train_and_report(Config(**SMALL), 'unused', distributed=given)
  assert exit.value.code == 2
  assert 'HOST:PORT,COUNT,INDEX' in capsys.readouterr().err
