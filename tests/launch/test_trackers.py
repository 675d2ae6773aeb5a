"""Trackers: what they are told, what they lack, and what they may not break."""

import sys
import types

import jax.numpy as jnp
import pytest

from seqjax import results
from seqjax.cli import train
from seqjax.errors import UnknownName
from seqjax.launch import trackers
from seqjax.launch.trackers import TRACKERS, Tracking

SMALL = train.Config(
  task='parity', features=8, layers=1, context=64, steps=4, batch_size=4,
  log_every=1, save_every=0.0,
)  # fmt: skip
PACKAGES = {name: kind.package for name, kind in TRACKERS.items() if kind}


class Calls(list):
  """Records the calls of the functions that it makes; one of them fails."""

  fails = ''

  def recorder(self, name, result=None):
    def call(*args, **kwargs):
      if name == self.fails:
        raise OSError('the network is down.')
      self.append((name, args, kwargs))
      return result

    return call

  def of(self, name):
    return [(args, kwargs) for called, args, kwargs in self if called == name]


def fake_tensorboard(calls: Calls) -> types.ModuleType:
  writer = types.SimpleNamespace(
    add_text=calls.recorder('config'),
    add_scalar=calls.recorder('log'),
    close=calls.recorder('close'),
  )
  module = types.ModuleType('tensorboardX')
  module.SummaryWriter = calls.recorder('init', writer)
  return module


def fake_trackio(calls: Calls) -> types.ModuleType:
  module = types.ModuleType('trackio')
  module.init = calls.recorder('init')
  module.log = calls.recorder('log')
  module.finish = calls.recorder('close')
  return module


def fake_wandb(calls: Calls, step: int = 0) -> types.ModuleType:
  run = types.SimpleNamespace(
    step=step,
    log=calls.recorder('log'),
    summary=types.SimpleNamespace(update=calls.recorder('summary')),
    finish=calls.recorder('close'),
  )
  module = types.ModuleType('wandb')
  module.init = calls.recorder('init', run)
  return module


FAKES = {
  'tensorboard': fake_tensorboard,
  'trackio': fake_trackio,
  'wandb': fake_wandb,
}


@pytest.fixture
def install(monkeypatch):
  """install(name) -> the calls of a package that stands in for a tracker's."""

  def put(name, fails='', **options):
    calls = Calls()
    calls.fails = fails
    module = FAKES[name](calls, **options)
    monkeypatch.setitem(sys.modules, PACKAGES[name], module)
    return calls, module

  return put


def metrics(folder) -> list[dict]:
  """Returns the lines of a run without the clock."""
  lines = results.metrics(folder)
  return [{k: v for k, v in line.items() if k != 'time'} for line in lines]


def test_every_tracker_has_a_stand_in():
  """So that these tests leave none out."""
  assert set(FAKES) == set(PACKAGES) == set(TRACKERS) - {'none'}


@pytest.mark.parametrize('name', FAKES)
def test_config_metrics_and_summary_are_shown_once(name, install, tmp_path):
  """Arrays of one number, numbers and text are taken; None is left out."""
  calls, _ = install(name)
  with Tracking(name, tmp_path, SMALL) as tracking:
    tracking.begin(jnp.int32(0))
    tracking.log(jnp.int32(2), loss=jnp.float32(0.5), lag=None)
    tracking.finish(4, test=0.75, metric='accuracy', chance=None)
  assert len(calls.of('init')) == len(calls.of('close')) == 1
  assert 'parity' in str(calls.of('config') or calls.of('init'))
  shown = [*calls.of('log'), *calls.of('summary')]
  assert '0.5' in str(shown[0]) and '2' in str(shown[0])
  assert '0.75' in str(shown[-1]) and 'test' in str(shown[-1])
  assert 'lag' not in str(shown) and 'chance' not in str(shown)
  assert ('accuracy' in str(shown)) == (name != 'tensorboard')


@pytest.mark.parametrize('name', ['trackio', 'wandb'])
def test_a_run_that_resumes_goes_on_in_the_same_tracked_run(
  name, install, tmp_path
):
  """The folder holds its name, and no other folder has the same."""
  calls, _ = install(name)
  for folder in ('run', 'run', 'other/run'):
    path = tmp_path / folder
    path.mkdir(parents=True, exist_ok=True)
    with Tracking(name, path, SMALL) as tracking:
      tracking.begin(0)
  key = 'id' if name == 'wandb' else 'name'
  begun = [options for _, options in calls.of('init')]
  first, again, other = (options[key] for options in begun)
  assert first == again != other and first.startswith('run-')
  assert all(options['resume'] == 'allow' for options in begun)


def test_wandb_is_given_no_step_twice(install, tmp_path):
  """It knows which it has, and would warn of each."""
  calls, _ = install('wandb', step=3)
  with Tracking('wandb', tmp_path, SMALL) as tracking:
    tracking.begin(1)
    for step in (2, 3):
      tracking.log(step, loss=0.5)
  ((_, options),) = calls.of('log')
  assert options['step'] == 3


@pytest.mark.parametrize('place', ['init', 'log', 'close'])
@pytest.mark.parametrize('name', FAKES)
def test_a_tracker_that_fails_is_left_alone(name, place, install, tmp_path):
  """One note, wherever it fails; it is not called again."""
  calls, _ = install(name, fails=place)
  with pytest.warns(trackers.Untracked) as noted:
    with Tracking(name, tmp_path, SMALL) as tracking:
      tracking.begin(0)
      before = len(calls)
      tracking.log(1, loss=0.5)
      tracking.log(2, loss=0.5)
      tracking.finish(2, test=0.5)
  (note,) = noted
  assert f'Tracking by {name} failed at ' in str(note.message)
  assert '(OSError: the network is down)' in str(note.message)
  assert place == 'close' or len(calls) == before


def test_a_run_whose_tracker_fails_has_the_same_results(
  install, tmp_path, capsys
):
  """As one that nothing tracks, to the last bit."""
  install('wandb', fails='log')
  expected = train.run(SMALL, tmp_path / 'none')
  with pytest.warns(trackers.Untracked):
    summary = train.run(SMALL, tmp_path / 'failed', tracker='wandb')
  assert summary | {'time': 0} == expected | {'time': 0}
  assert metrics(tmp_path / 'failed') == metrics(tmp_path / 'none')
  assert len(metrics(tmp_path / 'none')) == 4


def test_what_a_tracker_prints_is_no_result(install, tmp_path, capsys):
  """It goes to stderr."""
  _, module = install('trackio')
  module.finish = lambda: print('uploading')
  with Tracking('trackio', tmp_path, SMALL) as tracking:
    tracking.begin(0)
  said = capsys.readouterr()
  assert not said.out and said.err == 'uploading\n'


@pytest.mark.parametrize('name', FAKES)
def test_without_its_package_a_sentence_says_what_to_install(
  name, tmp_path, monkeypatch, capsys
):
  """Exit code 2, and nothing is written."""
  monkeypatch.setitem(sys.modules, PACKAGES[name], None)
  with pytest.raises(SystemExit) as exit:
    train.train_and_report(SMALL, tmp_path / 'run', tracker=name)
  said = capsys.readouterr().err
  assert exit.value.code == 2 and said.count('\n') == 1
  assert f"pip install '.[{name}]' installs it" in said
  assert not (tmp_path / 'run').exists()


def test_an_unknown_tracker_is_a_sentence(tmp_path, monkeypatch, capsys):
  """From Python and from flags, before anything is written."""
  with pytest.raises(UnknownName, match="'wnadb'. Did you mean 'wandb'"):
    train.run(SMALL, tmp_path / 'run', tracker='wnadb')
  monkeypatch.setattr(
    sys, 'argv', ['train', f'--workdir={tmp_path}/run', '--tracker=wnadb']
  )
  with pytest.raises(SystemExit) as exit:
    train.main()
  said = capsys.readouterr().err
  assert exit.value.code == 2 and said.count('\n') == 1
  assert "Unknown tracker 'wnadb'. Did you mean 'wandb'?" in said
  assert not (tmp_path / 'run').exists()


def test_files_for_tensorboard_are_in_the_runs_folder(tmp_path):
  """Numbers, and arrays that hold one; a run goes on behind its step."""
  pytest.importorskip('tensorboardX')
  with Tracking('tensorboard', tmp_path, SMALL) as tracking:
    tracking.begin(3)
    tracking.log(jnp.int32(5), loss=jnp.float32(0.5), note='text', lag=None)
    tracking.finish(6, test=0.75)
  (path,) = (tmp_path / 'tensorboard').iterdir()
  content = path.read_bytes()
  assert b'loss' in content and b'note' not in content
  assert b'parity' in content and b'summary/test' in content
