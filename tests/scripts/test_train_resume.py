"""Runs that are stopped, killed or fail: what is left, and what is said."""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
import train

from seqjax.results import stopping
from seqjax.results.checkpoint import Checkpoints

SMALL = train.Config(
  features=8, layers=1, context=64, task_options='lag=8', batch_size=4,
  steps=150, log_every=8, save_every=0,
)  # fmt: skip


def start(config, workdir) -> subprocess.Popen:
  """A process of its own, as from the command line."""
  flags = [
    f'--{field.name}={getattr(config, field.name)}'
    for field in dataclasses.fields(config)
  ]
  return subprocess.Popen(
    [sys.executable, train.__file__, *flags, f'--workdir={workdir}'],
    stderr=subprocess.PIPE, text=True,
  )  # fmt: skip


def lines(workdir) -> list[dict]:
  """Of metrics.jsonl, without the clock; one that is half written is none."""
  path = pathlib.Path(workdir) / 'metrics.jsonl'
  if not path.exists():
    return []
  text = path.read_text()
  found = [
    json.loads(line) for line in text[: text.rfind('\n') + 1].splitlines()
  ]
  for line in found:
    del line['time']
  return found


def last_state(config, workdir) -> tuple[list[bytes], dict]:
  """The bits of the newest checkpoint, and what goes with them."""
  like = train.initial_state(config, *train.make(config))
  with Checkpoints(workdir / train.CHECKPOINTS) as checkpoints:
    state, extra = checkpoints.restore(like)
  leaves = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
  return [np.asarray(leaf).tobytes() for leaf in leaves], extra


def finish(config, workdir):
  """Everything a run leaves, clocks apart."""
  summary = train.run(config, workdir)
  del summary['time']
  return summary, lines(workdir), last_state(config, workdir)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A run that nothing stopped."""
  return finish(SMALL, tmp_path_factory.mktemp('whole'))


def wait_for_lines(number, workdir, process):
  while len(lines(workdir)) < number and process.poll() is None:
    time.sleep(0.002)


@pytest.mark.parametrize('kills', [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(
  kills, whole, tmp_path
):
  """At random moments, saves and the start included; bit by bit."""
  config = dataclasses.replace(SMALL, steps=50 * kills)
  draw, died = random.Random(kills), 0
  for i in range(kills):
    process = start(config, tmp_path / 'killed')
    if i % 3 == 2:  # before it has begun, or while it reads what is there
      time.sleep(draw.uniform(0.0, 2.0))
    else:
      done = len(lines(tmp_path / 'killed'))
      wait_for_lines(done + draw.randint(1, 2), tmp_path / 'killed', process)
      time.sleep(draw.uniform(0.0, 0.05))
    process.kill()
    process.communicate(timeout=60)
    died += process.returncode == -signal.SIGKILL
  assert died == kills
  if config != SMALL:
    whole = finish(config, tmp_path / 'whole')
  assert finish(config, tmp_path / 'killed') == whole


def test_sigterm_saves_and_says_how_to_go_on(whole, tmp_path):
  """With an exit code of its own; the same command ends the run."""
  process = start(SMALL, tmp_path)
  wait_for_lines(2, tmp_path, process)
  process.terminate()
  said = process.communicate(timeout=120)[1]
  assert process.returncode == stopping.PREEMPTED == os.EX_TEMPFAIL
  step = lines(tmp_path)[-1]['step']
  assert f'Stopped by SIGTERM at step {step} of 150; it is saved' in said
  assert 'Traceback' not in said
  assert finish(SMALL, tmp_path) == whole


def stop(config, workdir, times=1):
  """As SIGTERM does, at the next line of metrics."""
  asked = threading.Event()
  asked.set()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(stopping, 'sigterm', lambda: contextlib.nullcontext(asked))
    for _ in range(times):
      with pytest.raises(stopping.Preempted):
        train.run(config, workdir)


def test_patience_is_kept_over_a_stop(tmp_path):
  """Evaluations without a better one are counted on; what ended has ended."""
  config = dataclasses.replace(SMALL, patience=3, learning_rate=1e-30)
  summary, logged, _ = whole = finish(config, tmp_path / 'whole')
  assert summary['steps_taken'] == 32 and len(logged) == 4
  stop(config, tmp_path / 'stopped', times=4)
  assert finish(config, tmp_path / 'stopped') == whole


def test_a_carry_is_kept_over_a_stop(tmp_path):
  """And with it where the text is read."""
  (tmp_path / 'text').write_text('once more, from where we were; ' * 1000)
  config = dataclasses.replace(
    SMALL, task='text', corpus=str(tmp_path / 'text'), carried=True, steps=16,
    task_options='length=16,sampling=sequential',
  )  # fmt: skip
  stop(config, tmp_path / 'stopped')
  state = train.initial_state(config, *train.make(config))
  assert jax.tree.leaves(state.carry)
  assert finish(config, tmp_path / 'stopped') == finish(
    config, tmp_path / 'whole'
  )


def sentence(config, workdir, capfd) -> str:
  """What a run that cannot go on says, and that it says no more."""
  capfd.readouterr()
  with pytest.raises(SystemExit) as exit:
    train.main(config, str(workdir))
  said = capfd.readouterr().err
  assert exit.value.code == 1 and said.count('\n') == 1, said
  return said


@pytest.fixture
def stopped(tmp_path):
  stop(SMALL, tmp_path / 'run', times=2)
  return tmp_path / 'run'


@contextlib.contextmanager
def full_disk(num_bytes):
  """No file grows beyond so many."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_ends_a_run_that_can_go_on(stopped, whole, capfd):
  """With space again, the same command ends it as if nothing had been."""
  with full_disk(4096):  # enough for the config
    said = sentence(SMALL, stopped, capfd)
  assert 'checkpoint could not be written' in said and 'File too large' in said
  with full_disk(300):  # not enough
    said = sentence(SMALL, stopped, capfd)
  assert 'cannot be written' in said
  assert finish(SMALL, stopped) == whole


def test_a_damaged_checkpoint_is_named_and_made_again(stopped, whole, capfd):
  """By the run from the one before it."""
  (newest,) = (stopped / train.CHECKPOINTS).glob('16')
  for path in newest.rglob('*'):
    if path.is_file():
      os.truncate(path, path.stat().st_size // 2)
  capfd.readouterr()
  assert finish(SMALL, stopped) == whole
  assert f"Damaged: '{newest}'" in capfd.readouterr().err


def test_a_workdir_that_is_read_only_is_told(capfd):
  """Nobody may make a folder there, not even root."""
  said = sentence(SMALL, '/sys/seqjax', capfd)
  assert "workdir '/sys/seqjax' cannot be written" in said


def test_another_run_is_left_alone(stopped, capfd):
  """Other options, a field of another version, a config that is none."""
  other = dataclasses.replace(SMALL, seed=1, features=16)
  said = sentence(other, stopped, capfd)
  assert 'features is 8 there and 16 here; seed is 0 there and 1 here' in said
  path = stopped / 'config.json'
  kept = path.read_text()
  path.write_text(kept.replace('"seed": 0', '"seed": 0, "colour": "red"'))
  said = sentence(SMALL, stopped, capfd)
  assert "colour is 'red' there and absent here" in said
  path.write_text(kept[:100])
  assert 'is not JSON' in sentence(SMALL, stopped, capfd)
  path.unlink()
  (stopped / 'metrics.jsonl').rename(stopped / 'metrics')
  assert 'holds checkpoints but no config' in sentence(SMALL, stopped, capfd)
  (stopped / 'metrics').rename(stopped / 'metrics.jsonl')
  path.write_text(kept)
  assert len(lines(stopped)) == 2
  stop(SMALL, stopped)
  assert len(lines(stopped)) == 3


def test_checkpoints_of_another_model_or_version_are_refused(
  stopped, tmp_path, capfd
):
  """By what differs; they and the metrics stay."""
  other = dataclasses.replace(SMALL, features=16)
  stop(other, tmp_path / 'b')
  shutil.rmtree(tmp_path / 'b' / train.CHECKPOINTS)
  shutil.copytree(stopped / train.CHECKPOINTS, tmp_path / 'b/checkpoints')
  said = sentence(other, tmp_path / 'b', capfd)
  assert 'is of another model or optimizer: at params/' in said
  about = stopped / train.CHECKPOINTS / '16' / 'about' / 'metadata'
  kept = about.read_text()
  about.write_text(kept.replace('"format": 1', '"format": 2'))
  assert 'has another format' in sentence(SMALL, stopped, capfd)
  about.write_text(kept)
  assert len(lines(stopped)) == 2
  stop(SMALL, stopped)
  assert len(lines(stopped)) == 3


def test_a_batch_that_is_too_large_is_told_with_one_that_fits(tmp_path, capfd):
  """The allocation fails, and the sizes of small steps tell."""
  config = dataclasses.replace(SMALL, batch_size=2 * 10**8)
  said = sentence(config, tmp_path, capfd)
  assert 'has not enough memory' in said and 'Traceback' not in said
  fitting = int(said.split('; batch_size=')[1].split()[0])
  assert 1 < fitting < 10**8
  assert json.loads((tmp_path / 'failed.json').read_text())['traceback']


def test_a_loss_that_is_not_finite_ends_a_run(tmp_path, capfd):
  """The last good checkpoint is there, and the same command fails again."""
  config = dataclasses.replace(
    SMALL, learning_rate=1e37, log_every=1, mixer='elman'
  )
  said = sentence(config, tmp_path, capfd)
  step = lines(tmp_path)[-1]['step']
  assert f'is not finite at step {step}' in said
  state, _ = last_state(config, tmp_path)
  assert sentence(config, tmp_path, capfd) == said
  assert last_state(config, tmp_path)[0] == state
