"""The command of one experiment: axes, entries of one's own, exit codes."""

import dataclasses
import pathlib

import jax.numpy as jnp
import pytest

from experiments import axes, command, folders, page, reproduce
from experiments.recall import main
from seqjax.nn import MIXERS, WindowMLP
from tests import processes

ROOT = pathlib.Path(__file__).parent.parent.parent
SMALL = {
  'lag': 8, 'search_up_to': 8, 'seeds': 1, 'steps': 20, 'batch_size': 4,
  'learning_rates': (3e-3,),
  'beyond': 1,
}  # fmt: skip


def test_every_axis_and_every_other_field_is_an_option():
  """With the preset's values, and the names that a mixer may have."""
  found = folders.find('recall')
  fields = {
    f.name: f for f in dataclasses.fields(command.options(found, 'full'))
  }
  assert fields['designs'].default == ('fixed', 'mixed')
  assert fields['seeds'].default == 11 and fields['seeds'].type is int
  assert fields['solved'].default == 0.99
  assert 'mamba2' in fields['mixers'].metadata['among']
  assert fields['beyond'].default == 8  # which holds for all cells
  assert 'mixer' not in fields and 'design' not in fields


def test_axes_make_cells_and_other_fields_hold_in_all_of_them():
  """A cell for each mixer and design, and one for each wide mixer."""
  found = folders.find('recall')
  given = found.axes('first') | SMALL | {'mixers': ('lstm', 'mamba2')}
  given |= {'lag': 32, 'solved': 0.5, 'wide': ('mamba2',)}
  cells = axes.cells(found, **given)
  assert len(cells) == 5 and {cell.solved for cell in cells} == {0.5}
  mine = [(c.design, c.lag, c.parameters) for c in cells if c.mixer == 'mamba2']
  assert mine == [
    ('mixed', 32, 250000), ('fixed', 8, 25000), ('mixed', 32, 25000)
  ]  # fmt: skip


@pytest.mark.parametrize(
  'values, message',
  [
    ({'desings': ('fixed',)}, "'desings'. Did you mean 'designs'"),
    ({'mixers': ('ltsm',)}, "'ltsm'. Did you mean 'lstm'"),
    ({'preset': 'ful'}, "'ful'. Did you mean 'full'"),
    ({'lag': 0}, 'lag=0'),
    ({'learning_rates': ('fast',)}, "'fast'"),
    ({'designs': 'fixed'}, 'at least one value, as a list, but .fixed'),
    ({'designs': ()}, 'takes at least one value'),
    ({'seeds': 0}, 'at least 1, but 0'),
    ({'seeds': (0, 1)}, 'number of seeds'),
    ({'lags': 8}, "axis of recall 'lags'. Did you mean 'lag'"),
    ({'design': 'fixed'}, "axis of recall 'design'. Did you mean 'designs'"),
  ],
)
def test_an_unknown_axis_or_value_is_refused_in_python(
  values, message, tmp_path
):
  """Before anything is written."""
  with pytest.raises(ValueError, match=message):
    command.run('recall', str(tmp_path / 'run'), **values)
  assert not list(tmp_path.iterdir())


def test_an_entry_of_a_dict_takes_part(tmp_path):
  """In this process, to the table, the figure and the verdicts."""

  def mine(features, context):
    return WindowMLP(features, tau=4)

  said = command.run(
    'recall',
    str(tmp_path),
    {'mine': mine},
    **SMALL,
  )
  said = ' '.join(said.split())  # the name of the machine moves the breaks
  assert 'mine' in said and 'There are no rows of lstm' in said
  assert 'mine' in (tmp_path / 'figure.svg').read_text()
  assert (tmp_path / 'verdicts.md').exists()


class Peeking(WindowMLP):
  """Looks one position ahead, which no causal mixer may."""

  def unroll(self, carry, x, segments=None):
    return super().unroll(carry, jnp.roll(x, -1, axis=1), segments)


def test_a_mixer_that_breaks_a_law_is_refused_with_the_law(tmp_path):
  """In one sentence, before any cell runs."""
  with pytest.raises(ValueError, match="but 'mine' breaks one: ") as error:
    command.run(
      'recall', str(tmp_path / 'run'),
      {'mine': lambda features, context: Peeking(features, tau=4)}, **SMALL,
    )  # fmt: skip
  assert len(str(error.value).splitlines()) == 1
  assert not list(tmp_path.iterdir())


def windowed(features, context):
  """Makes a mixer that is none of the catalogue."""
  return WindowMLP(features, tau=4)


def test_a_mixer_of_a_module_takes_part_by_its_name(tmp_path):
  """The cell imports it, in any process; its table names it."""
  name = f'{__name__}:windowed'
  found = folders.find('gradients')
  small = {'features': 4, 'length': 17, 'seeds': 1}
  (config, *_) = axes.cells(
    found, **found.axes('full') | small | {'mixers': (name,)}
  )
  folder = reproduce.Job(found, [config], tmp_path).folder(config)
  reproduce.run_cell(('gradients', config), str(folder))
  said = reproduce.publish(reproduce.Job(found, [config], tmp_path), tmp_path)
  assert name in said and 'settings differ' in said
  assert name in (tmp_path / 'results.csv').read_text()
  assert name in (tmp_path / 'figure.svg').read_text()


def test_a_mixer_of_a_module_keeps_the_laws_first(tmp_path, capsys):
  """One sentence and exit code 2 otherwise, and nothing is written."""
  name = f'--mixers={__name__}:peeking'
  with pytest.raises(SystemExit) as exit:
    command.main(
      'experiments.recall', ['recall', name, f'--workdir={tmp_path}']
    )
  assert exit.value.code == 2
  said = capsys.readouterr().err.strip()
  assert 'breaks one: ' in said and len(said.splitlines()) == 1
  assert not list(tmp_path.iterdir())


def peeking(features, context):
  """Makes a mixer that breaks a law."""
  return Peeking(features, tau=4)


@pytest.mark.parametrize('name', ['peers', 'startup'])
def test_an_experiment_without_mixers_of_callers_says_so(name, tmp_path):
  """And names those that take them, before any of its cells runs."""
  message = f"'{name}' takes no mixers .*: capacity, card, .* take those"
  with pytest.raises(ValueError, match=message):
    command.run(name, str(tmp_path / 'run'), {'mine': WindowMLP})
  assert not list(tmp_path.iterdir())


def test_entries_stand_beside_the_mixers_of_the_experiment():
  """Cells that no axis names, such as those of a loop, keep their own."""
  found = folders.find('costs')
  cells = axes.cells(
    found, {'mine': WindowMLP}, **found.axes('full') | {'mixers': ('mine',)}
  )
  assert {(cell.kind, cell.mixer) for cell in cells} == {
    ('loop', 'lstm'),
    ('population', 'mine'),
    ('saving', 'lstm'),
  }


def test_an_experiment_of_hours_is_not_started_by_accident(capsys):
  """peers has no small preset."""
  with pytest.raises(SystemExit) as exit:
    command.main('experiments.peers', ['peers'])
  assert exit.value.code == 2
  assert '--preset=benchmark' in capsys.readouterr().err


def test_cells_that_fail_are_named(tmp_path):
  """With the reason, in one error."""
  with pytest.raises(RuntimeError, match='No width'):
    command.run(
      'recall', str(tmp_path), dict(MIXERS), mixers=('lstm',), parameters=1,
      **SMALL,
    )  # fmt: skip


def test_a_command_whose_cells_fail_exits_with_1(monkeypatch, tmp_path, capsys):
  """The failures stand at the end and on the page; no table is written."""
  monkeypatch.setattr(reproduce, 'run_cells', lambda job: [('cell', 'why')])
  monkeypatch.setattr(reproduce, 'in_checkout', lambda workdir: tmp_path)
  argv = ['recall', '--mixers=lstm', '--lag=8', f'--workdir={tmp_path}']
  with pytest.raises(SystemExit) as exit:
    command.main('experiments.recall', argv)
  assert exit.value.code == 1
  said = capsys.readouterr()
  assert said.err.endswith('FAILED cell\n  why\n')
  assert f'Page: {tmp_path / "report" / "index.html"}' in said.out
  assert [path.name for path in tmp_path.iterdir()] == ['report']


@pytest.mark.parametrize(
  'options, committed',
  [
    ([], False),
    (['--preset=quick'], False),
    (['--preset=full'], True),
    (['--preset', 'full'], True),
    (['--preset=full', '--seeds=6'], False),
    (['--preset=full', '--solved=0.5'], False),
    (['--preset=full', '--seeds=11'], False),
    (['--preset=full', '--lag=8'], False),
  ],
)
def test_only_the_whole_preset_full_replaces_the_committed_table(
  options, committed, monkeypatch, tmp_path
):
  """And only where it was named."""
  written = []
  monkeypatch.setattr(main, 'check', lambda config: None)  # which takes seconds
  monkeypatch.setattr(reproduce, 'run_cells', lambda job: [])
  monkeypatch.setattr(reproduce, 'in_checkout', lambda workdir: tmp_path)
  monkeypatch.setattr(
    reproduce, 'publish', lambda job, to: written.append(to) or ''
  )
  monkeypatch.setattr(page, 'DOCS', tmp_path / 'docs')
  monkeypatch.setattr(page, 'saved', lambda root: [])  # which takes seconds
  with pytest.raises(SystemExit) as exit:
    command.main('experiments.recall', ['recall', *options])
  assert exit.value.code == 0
  assert written == [main_folder() if committed else tmp_path]
  (index,) = tmp_path.rglob('index.html')
  assert index.parent == tmp_path / ('docs' if committed else 'report')


@pytest.mark.parametrize(
  'option, message',
  [
    ('--lag=1', 'needed to hold some out'),
    ('--tuning_seeds=0', 'tuning_seeds=0'),
  ],
)
def test_what_a_cell_would_refuse_is_refused_before_any_runs(
  option, message, tmp_path, capsys
):
  """One sentence and exit code 2; nothing is written."""
  argv = ['recall', '--mixers=lstm', option, f'--workdir={tmp_path}']
  with pytest.raises(SystemExit) as exit:
    command.main('experiments.recall', argv)
  assert exit.value.code == 2
  said = capsys.readouterr().err.strip()
  assert message in said and len(said.splitlines()) == 1
  assert not list(tmp_path.iterdir())


def main_folder() -> pathlib.Path:
  return pathlib.Path(main.__file__).parent


def test_one_cell_says_where_its_results_lie(tmp_path):
  """And how training goes on the way, although there is no terminal."""
  options = (
    '--lag=8', '--beyond=1', '--steps=20', '--batch_size=4', '--seeds=1',
    '--tuning_seeds=1',
    '--learning_rates=0.003', f'--workdir={tmp_path}',
  )  # fmt: skip
  done = processes.call('experiments.recall.main', *options)
  assert done.returncode == 0, done.stderr
  assert f'Results: {tmp_path}' in done.stdout and 'accuracy' in done.stdout
  assert 'compiling' in done.stderr and 'loss' in done.stderr
  again = processes.call('experiments.recall.main', *options)
  assert f'Already finished. Results: {tmp_path}' in again.stdout
