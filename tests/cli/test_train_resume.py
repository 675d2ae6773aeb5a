"""Runs that are stopped, killed or fail: what is left, and what is said."""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from seqjax import results, training
from seqjax.analysis import memory, timing
from seqjax.cli import build, train, trained
from seqjax.data.corpus import read_corpus
from seqjax.launch import signals
from seqjax.results.checkpoint import Checkpoints

SMALL = train.Config(
  features=8, layers=1, context=64, task_options='lag=8', batch_size=4,
  steps=150, log_every=8, save_every=0.0,
)  # fmt: skip


PROGRESS = ('training ', 'compiling ', 'step ')  # how such lines begin


def start(config, workdir) -> subprocess.Popen:
  """A process of its own, as from the command line."""
  flags = [
    f'--{field.name}={getattr(config, field.name)}'
    for field in dataclasses.fields(config)
  ]
  with interruptible():
    return subprocess.Popen(
      [sys.executable, '-m', 'seqjax.cli.train', *flags,
       f'--workdir={workdir}'],
      stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@contextlib.contextmanager
def interruptible():
  """Starts processes that hear SIGINT.

  They would not where a shell runs the suite in the background: it then ignores
  SIGINT, and so would its children.
  """
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)


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
  like = build.initial_state(config, *build.make(config))
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


def half_saved(workdir) -> bool:
  """Whether a checkpoint is being written, or was when the run was killed."""
  folder = pathlib.Path(workdir) / train.CHECKPOINTS
  return any(folder.glob('*.orbax-checkpoint-tmp'))


@pytest.mark.parametrize('kills', [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(
  kills, whole, tmp_path
):
  """At random moments, saves and the start included; bit by bit."""
  config = dataclasses.replace(SMALL, steps=50 * kills)
  draw, died, saving = random.Random(kills), 0, 0
  for i in range(kills):
    process = start(config, tmp_path / 'killed')
    if i % 3 == 2:  # before it has begun, or while it reads what is there
      time.sleep(draw.uniform(0.0, 2.0))
    elif i % 3 == 1:  # while it saves, unless that takes no time at all
      done = len(lines(tmp_path / 'killed'))
      wait_for_lines(done + 1, tmp_path / 'killed', process)
      while not half_saved(tmp_path / 'killed') and process.poll() is None:
        pass
    else:
      done = len(lines(tmp_path / 'killed'))
      wait_for_lines(done + draw.randint(1, 2), tmp_path / 'killed', process)
      time.sleep(draw.uniform(0.0, 0.05))
    process.kill()
    process.communicate(timeout=60)
    died += process.returncode == -signal.SIGKILL
    saving += half_saved(tmp_path / 'killed')
  assert died == kills
  assert saving or kills < 20
  if config != SMALL:
    whole = finish(config, tmp_path / 'whole')
  assert finish(config, tmp_path / 'killed') == whole


def test_sigterm_saves_and_says_how_to_go_on(whole, tmp_path):
  """With an exit code of its own; the same command ends the run."""
  process = start(SMALL, tmp_path)
  wait_for_lines(2, tmp_path, process)
  process.terminate()
  said = process.communicate(timeout=120)[1]
  assert process.returncode == signals.PREEMPTED == os.EX_TEMPFAIL
  step = lines(tmp_path)[-1]['step']
  assert f'Stopped by SIGTERM at step {step} of 150; it is saved' in said
  assert 'Traceback' not in said
  assert finish(SMALL, tmp_path) == whole


def stop(config, workdir, times=1, after=(results.Run, 'log')):
  """As SIGTERM does, once a line has been logged, or after another call."""
  call = getattr(*after)

  def call_and_ask(*args, **kwargs):
    result = call(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGTERM)
    return result

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(*after, call_and_ask)
    for _ in range(times):
      with pytest.raises(signals.Preempted):
        train.run(config, workdir)


def test_sigterm_is_heard_between_two_lines(tmp_path):
  """However far apart: what has been summed of the next line goes on."""
  config = dataclasses.replace(SMALL, steps=90, log_every=60, keep_latest=5)
  stop(config, tmp_path / 'run', times=4, after=(signals.Pace, 'reached'))
  assert lines(tmp_path / 'run') == []
  with Checkpoints(tmp_path / 'run' / train.CHECKPOINTS) as checkpoints:
    assert checkpoints.steps == [1, 2, 3, 4]
  assert finish(config, tmp_path / 'run') == finish(config, tmp_path / 'whole')


def test_a_process_is_stopped_long_before_its_first_line(tmp_path):
  """Its one interval would take hours."""
  config = dataclasses.replace(SMALL, steps=10**8, log_every=10**8)
  process = start(config, tmp_path)
  folder = tmp_path / train.CHECKPOINTS
  while not folder.exists() and process.poll() is None:
    time.sleep(0.01)
  process.terminate()
  said = process.communicate(timeout=120)[1]
  assert process.returncode == signals.PREEMPTED
  with Checkpoints(folder) as checkpoints:
    (*_, step) = checkpoints.steps
  assert f'at step {step} of 100000000; it is saved' in said
  assert not lines(tmp_path)


def test_sigterm_is_heard_before_training(whole, tmp_path):
  """While a run begins there is nothing to lose."""
  stop(SMALL, tmp_path, after=(train, '_restore'))
  assert not (tmp_path / train.CHECKPOINTS).exists()
  assert finish(SMALL, tmp_path) == whole


def test_sigterm_is_heard_while_a_run_is_scored(whole, tmp_path, capsys):
  """The last state is saved, and the same command scores it again."""
  score = train.held_out_score

  def score_and_ask(*args, **options):
    if lines(tmp_path)[-1:] == whole[1][-1:]:
      os.kill(os.getpid(), signal.SIGTERM)
    return score(*args, **options)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train, 'held_out_score', score_and_ask)
    with pytest.raises(SystemExit) as exit:
      train.train_and_report(SMALL, str(tmp_path))
  assert exit.value.code == signals.PREEMPTED
  assert 'at step 150 of 150; it is saved' in capsys.readouterr().err
  assert lines(tmp_path) == whole[1]
  assert finish(SMALL, tmp_path) == whole


def test_ctrl_c_leaves_a_run_that_goes_on(whole, tmp_path):
  """Also while a checkpoint is being written, as one always is here."""
  process = start(SMALL, tmp_path)
  wait_for_lines(2, tmp_path, process)
  process.send_signal(signal.SIGINT)
  said = process.communicate(timeout=120)[1]
  assert process.returncode == 130 and 'Interrupted; the same command' in said
  assert 'Traceback' not in said
  assert finish(SMALL, tmp_path) == whole


@pytest.mark.parametrize('keep_best', [1, 3])
def test_the_best_are_kept_however_seldom_a_run_saves(keep_best, tmp_path):
  """By the lines of metrics; over a stop as well."""
  config = dataclasses.replace(
    SMALL, save_every=1e9, keep_best=keep_best, keep_latest=1
  )
  scores = random.Random(keep_best)
  drawn = {step: scores.random() for step in range(151)}
  drawn[40] = drawn[64] = 2.0  # of equals the first
  with pytest.MonkeyPatch.context() as patch:

    def score(config, model, state, *args, **options):
      return train.HeldOut(drawn[int(state.step)], 1.0)

    patch.setattr(train, 'held_out_score', score)
    stop(config, tmp_path, after=(signals.Pace, 'reached'))
    stop(config, tmp_path)
    train.run(config, tmp_path)
  logged = lines(tmp_path)
  ranked = sorted(logged, key=lambda line: -line['validation'])
  best = [line['step'] for line in ranked[:keep_best]]
  with Checkpoints(tmp_path / train.CHECKPOINTS) as checkpoints:
    assert checkpoints.steps == sorted({*best, 150})
    assert checkpoints.best == best[0] == 40


def test_a_text_that_was_edited_is_refused(tmp_path, capfd):
  """By who goes on and by who reads the checkpoint; nothing is lost."""
  path = tmp_path / 'notes.txt'
  text = 'once more, from where we were; ' * 1000
  path.write_text(text)
  config = dataclasses.replace(
    SMALL, task='text', corpus=str(path), steps=16, task_options='length=16'
  )
  stop(config, tmp_path / 'run')
  for character in 'wQ':  # which it has, and which is another vocabulary
    path.write_text(text.replace('m', character, 1))
    read_corpus.cache_clear()
    said = sentence(config, tmp_path / 'run', capfd)
    assert 'has read other data than' in said and str(path) in said
    with pytest.raises(ValueError, match='has read other data than'):
      trained.load_trained(str(tmp_path / 'run'), 'newest')
  path.write_text(text)
  read_corpus.cache_clear()
  assert trained.load_trained(str(tmp_path / 'run'), 'newest').step == 8


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
  state = build.initial_state(config, *build.make(config))
  assert jax.tree.leaves(state.carry)
  assert finish(config, tmp_path / 'stopped') == finish(
    config, tmp_path / 'whole'
  )


def sentence(config, workdir, capfd, code=2) -> str:
  """Returns what a run that cannot go on says, and nothing more.

  A run that fails has begun: lines of progress come before the sentence.
  """
  capfd.readouterr()
  with pytest.raises(SystemExit) as exit:
    train.train_and_report(config, str(workdir))
  said = capfd.readouterr().err
  assert exit.value.code == code and 'Traceback' not in said, said
  *before, last = said.splitlines()
  assert all(line.startswith(PROGRESS) for line in before), said
  assert not before or code == 1, said
  return last


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


@pytest.mark.parametrize('options, message', [
  ({'mixer': 'attention', 'mixer_options': 'positions=learned', 'context': 8},
   'context'),
  ({'mixer': 'attention', 'mixer_options': 'num_heads=3'}, 'num_heads=3'),
  ({'mixer': 'attention', 'mixer_options': 'parant=3'}, 'Unknown mixer option'),
  ({'carried': True}, "sampling='sequential'"),
  ({'task_options': 'lag=-1'}, 'lag'),
])  # fmt: skip
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
  options, message, tmp_path, capfd
):
  """Nothing is compiled; Flax's own fields are no options."""
  config = dataclasses.replace(SMALL, **options)
  said = sentence(config, tmp_path / 'run', capfd)
  assert message in said and "'parent'" not in said
  assert not (tmp_path / 'run').exists()


def test_a_finished_run_says_that_it_is_finished(tmp_path, capsys):
  """And not that it has just run."""
  config = dataclasses.replace(SMALL, steps=2)
  for begins in ('recall by lstm, 2 steps in ', 'Already finished: recall by '):
    train.train_and_report(config, str(tmp_path))
    said = capsys.readouterr()
    assert said.out.startswith(begins) and f'in {tmp_path}.' in said.out
  assert ' s: ' not in said.out and not said.err


def test_a_full_disk_ends_a_run_that_can_go_on(stopped, whole, capfd):
  """With space again, the same command ends it as if nothing had been."""
  with full_disk(4096):  # enough for the config
    said = sentence(SMALL, stopped, capfd, code=1)
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


def test_lines_that_a_power_cut_took_are_made_again(stopped, whole, capfd):
  """From the checkpoint that was saved before them."""
  path = stopped / 'metrics.jsonl'
  first, *_ = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(first)
  assert finish(SMALL, stopped) == whole
  said = capfd.readouterr().err
  assert f"'{stopped}/checkpoints/16' (metrics.jsonl has lost 1 of 2" in said
  (step,) = re.findall(r'the checkpoint of step (\d+) is used', said)
  assert 8 <= int(step) < 16  # the clock decides where else it was saved


def test_lines_that_no_checkpoint_knows_without_are_told(stopped, capfd):
  """The run goes on from the newest one."""
  (stopped / 'metrics.jsonl').unlink()
  train.run(SMALL, stopped)
  said = capfd.readouterr().err
  assert (
    f"other is left: '{stopped}/checkpoints/16' (metrics.jsonl has lost 2"
    in said
  )
  assert [line['step'] for line in lines(stopped)][0] == 24


def test_the_same_command_started_twice_is_refused(tmp_path, capfd):
  """The sentence names the first process, which is not disturbed."""
  config = dataclasses.replace(SMALL, steps=10**7)
  process = start(config, tmp_path)
  wait_for_lines(1, tmp_path, process)
  said = sentence(config, tmp_path, capfd)
  assert f'Process {process.pid} on host' in said
  process.terminate()
  assert 'Stopped by SIGTERM' in process.communicate(timeout=120)[1]
  assert process.returncode == signals.PREEMPTED


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
  about = stopped / train.CHECKPOINTS / '16' / 'metadata' / 'metadata'
  kept = about.read_text()
  about.write_text(kept.replace('"format": 2', '"format": 3'))
  assert 'has another format' in sentence(SMALL, stopped, capfd)
  about.write_text(kept)
  assert len(lines(stopped)) == 2
  stop(SMALL, stopped)
  assert len(lines(stopped)) == 3


def test_a_batch_that_is_too_large_is_told_with_one_that_fits(tmp_path, capfd):
  """The allocation fails, and the sizes of small steps tell."""
  config = dataclasses.replace(SMALL, batch_size=2 * 10**8)
  said = sentence(config, tmp_path, capfd, code=1)
  assert 'has not enough memory' in said and 'Traceback' not in said
  fitting = int(said.split('; batch_size=')[1].split()[0])
  assert 1 < fitting < 10**8
  assert json.loads((tmp_path / 'failed.json').read_text())['traceback']


@pytest.mark.parametrize('options, length', [
  ({'task_options': 'lag=16'}, 'lag=8'),
  ({'task': 'selective_copying', 'task_options': ''}, None),
])  # fmt: skip
def test_sequences_that_are_too_long_are_told_with_those_that_fit(
  options, length, tmp_path, capfd, monkeypatch
):
  """Where a batch of one does not fit, in the task's own words."""
  config = dataclasses.replace(SMALL, **options, mixer='elman')
  limit = 2**10
  if length:
    shorter = dataclasses.replace(config, task_options=length)
    limit = build.bytes_needed(shorter, 1) * 5 // 4 + 4
  monkeypatch.setattr(memory, 'available_memory', lambda: limit)

  def exhausted(*args, **kwargs):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')

  monkeypatch.setattr(train.training, 'train', exhausted)
  said = sentence(config, tmp_path, capfd, code=1)
  with_length = f'; batch_size=1 with task_options={length} would fit.'
  assert (with_length if length else 'shorten the sequences or') in said


def test_a_step_that_cannot_fit_is_refused_before_it_is_compiled(
  tmp_path, monkeypatch
):
  """Judges by the sizes of small batches; what fits begins to train."""
  config = dataclasses.replace(SMALL, mixer='elman', batch_size=64)
  one, two = (build.bytes_needed(config, n) for n in (1, 2))
  needed = one + 63 * (two - one)

  def compiled(*args, **kwargs):
    raise RuntimeError('a step was about to be compiled')

  monkeypatch.setattr(train.training, 'train', compiled)
  for limit, error, message in (
    (
      needed - 1,
      MemoryError,
      'with batch_size=64, .*; batch_size=.* would fit',
    ),
    (needed, RuntimeError, 'about to be compiled'),
  ):
    monkeypatch.setattr(memory, 'available_memory', lambda: limit)  # noqa: B023
    with pytest.raises(error, match=message):
      train.run(config, tmp_path / str(limit))


def test_a_task_without_held_out_data_is_refused_at_once(tmp_path):
  """Also one on the host that has some, but not for a batch of scores."""
  corpus = tmp_path / 'notes.txt'
  corpus.write_text('once more, from where we were; ' * 1000)
  config = dataclasses.replace(
    SMALL, task='text', corpus=str(corpus),
    task_options='length=32,sampling=sequential',
  )  # fmt: skip
  task, _ = build.make(config, scored=())
  task.batch(jax.random.key(0), 0, 1, 'validation')
  with pytest.raises(ValueError, match='validation part.*few for 64 rows'):
    train.run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_a_batch_beyond_all_counting_is_told_with_one_that_fits(
  tmp_path, capfd
):
  """More numbers than JAX can count: it is not even tried."""
  config = dataclasses.replace(SMALL, mixer='elman', batch_size=2 * 10**9)
  said = sentence(config, tmp_path, capfd, code=1)
  assert 'with batch_size=2000000000' in said and 'would fit' in said


@pytest.mark.parametrize('mixer', ['lstm', 'attention', 'tcn'])
def test_scoring_takes_less_memory_than_an_update(mixer):
  """As many rows as there are at a time, by the sizes of what is compiled."""
  config = dataclasses.replace(SMALL, mixer=mixer, batch_size=2, layers=1)
  task, model = build.make(config)
  params = build.initial_state(config, task, model).params
  rows = build.rows_at_once(config)
  batch = build.example(task, rows)

  def score(params, batch):
    outputs = model.apply({'params': params}, batch.inputs, batch.segments)
    return task.score(outputs, batch)

  needed = timing.predicted_bytes(score, params, batch)
  assert needed < build.bytes_needed(config, config.batch_size)


def test_a_run_scores_no_more_rows_at_a_time(tmp_path, monkeypatch):
  """And always the same number of examples."""
  seen = []

  def evaluate(*args, batches, batch_size, split, at_once, mesh):
    seen.append((split, batches * batch_size, at_once))
    return training.Scores({None: (0.5, 1.0)})

  monkeypatch.setattr(train.training, 'evaluate', evaluate)
  train.run(dataclasses.replace(SMALL, steps=2), tmp_path)
  validation = ('validation', 256, 8)
  assert seen == [validation, validation, ('test', 1024, 8)]


@pytest.mark.parametrize('save_every', [0.0, 60.0])
def test_a_loss_that_is_not_finite_ends_a_run(save_every, tmp_path, capfd):
  """The last good state is saved, and the same command fails again."""
  config = dataclasses.replace(
    SMALL, learning_rate=1e37, log_every=1, mixer='elman', save_every=save_every
  )
  said = sentence(config, tmp_path, capfd, code=1)
  step = lines(tmp_path)[-1]['step']
  assert f'is not finite at step {step}' in said
  state, _ = last_state(config, tmp_path)
  assert sentence(config, tmp_path, capfd, code=1) == said
  assert last_state(config, tmp_path)[0] == state
