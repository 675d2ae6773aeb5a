"""The one runner: presets, finished and failed cells, committed tables."""

import itertools
import multiprocessing
import os
import pathlib
import re
import signal
import threading
import time
import types

import pytest

from experiments import axes, folders, page, reproduce
from experiments.recall import main
from seqjax.launch import cell_pool
from seqjax.results import table
from tests import processes

ROOT = pathlib.Path(__file__).parent.parent.parent
RECALL = folders.find('recall')
EXACT = folders.find('exact')
SMALL = {
  'steps': 25, 'batch_size': 4, 'seeds': 1, 'tuning_seeds': 1,
  'learning_rates': (3e-3,),
  'beyond': 1,
}  # fmt: skip


@pytest.mark.parametrize('name', folders.names())
def test_every_preset_of_every_experiment_has_cells(name):
  """Each config is valid and there once, and has a folder of its own."""
  found = folders.find(name)
  assert found.presets
  for preset in found.presets:
    cells = axes.cells(found, **found.axes(preset))
    assert cells and len(set(cells)) == len(cells)
    job = reproduce.Job(found, cells, pathlib.Path('runs'))
    assert len(set(map(job.folder, cells))) == len(cells)
    grouped = [cell for group in found.groups(cells) for cell in group]
    assert sorted(map(repr, grouped)) == sorted(map(repr, cells))


def test_run_sh_runs_the_preset_first():
  """Flags that follow it count."""
  script = (ROOT / 'scripts' / 'run.sh').read_text(encoding='utf-8')
  assert '-m experiments.reproduce --preset=first "$@"' in script
  assert reproduce.Config().preset == 'first'


def test_the_first_preset_stays_three_experiments():
  """However many folders follow, scripts/run.sh ends within minutes."""
  chosen = [found.name for found in reproduce.chosen('first', ())]
  assert chosen == ['exact', 'parallelism', 'recall']


@pytest.mark.parametrize(
  'flag, message',
  [
    ('--preset=quik', "preset 'quik'. Did you mean 'quick'"),
    ('--preset=Quick', "Did you mean 'quick'"),
    ('--only=recal', "experiment 'recal'. Did you mean 'recall'"),
    ('--only=peers', "preset 'first' among: peers"),
    ('preset=quick', "but 'preset=quick' is not"),
    (f'--workdir={__file__}', 'cannot be made: File exists'),
  ],
)
def test_a_bad_flag_is_one_sentence_and_exit_code_2(flag, message, tmp_path):
  """Nothing runs, nothing is written."""
  done = processes.call('experiments.reproduce', f'--workdir={tmp_path}', flag)
  assert done.returncode == 2 and message in done.stderr
  assert 'Traceback' not in done.stderr and not list(tmp_path.iterdir())


def in_this_process(call, groups, *, processes, apart):
  """Stands in for `cell_pool.run`, without the time that processes take."""
  for cell in itertools.chain(*groups):
    yield cell, cell_pool.attempt(call, cell)


def test_finished_cells_are_kept_and_failed_ones_reported(
  tmp_path, monkeypatch
):
  """A stopped job is resumed; one failure does not stop the others."""
  good, bad = (
    main.Config(lag=8, **SMALL, parameters=p)
    for p in (25000, 1)  # no width has a single parameter
  )
  monkeypatch.setattr(cell_pool, 'run', in_this_process)
  job = reproduce.Job(RECALL, [bad, good], tmp_path)
  failed = reproduce.run_cells(job)
  assert len(failed) == 1 and 'No width' in failed[0][1]
  kept = {p: p.read_bytes() for p in tmp_path.rglob('summary.json')}
  assert len(kept) == 1
  job = reproduce.Job(RECALL, [good], tmp_path)
  assert reproduce.run_cells(job) == []
  assert kept == {p: p.read_bytes() for p in tmp_path.rglob('summary.json')}


def test_a_cell_that_an_earlier_version_finished_is_kept(tmp_path):
  """Its folder had another name; the new one begins with the mixer."""
  config = main.Config(lag=8, **SMALL, mixer='window_mlp')
  job = reproduce.Job(RECALL, [config], tmp_path)
  assert job.folder(config).name.startswith('mixer=window_mlp,design=mixed,')
  earlier = (
    tmp_path
    / 'cells'
    / (
      'learning_rates=0.003,steps=25,batch_size=4,seeds=1,tuning_seeds=1,'
      'mixer=window_mlp,lag=8,beyond=1'
    )
  )
  main.run(config, str(earlier))
  assert reproduce.run_cells(job) == [] and job.folder(config) == earlier
  assert [path.name for path in (tmp_path / 'cells').iterdir()] == [
    earlier.name
  ]


def test_experiments_share_processes_but_those_that_need_the_machine_alone(
  tmp_path, monkeypatch
):
  """Each is handed on when its own last cell has ended, not after the others'.

  One that has finished is handed on at once; failures stay with their own.
  """
  pools, done = [], []

  def pool(call, groups, *, processes, apart):
    cells = list(itertools.chain(*groups))
    pools.append(({cell.config[0] for cell in cells}, processes))
    for cell in cells:
      done.append(cell.config[0])
      yield cell, 'why' if cell.config[0] == 'exact' else None

  monkeypatch.setattr(cell_pool, 'run', pool)
  names = ('costs', 'exact', 'recall', 'peers')
  found = {name: folders.find(name) for name in names}
  configs = {
    'costs': [Config() for Config in [found['costs'].main.Config]],
    'exact': axes.cells(EXACT, **EXACT.axes('first'))[:2],
    'recall': [main.Config(lag=8, **SMALL)],
    'peers': [],
  }
  jobs = [
    reproduce.Job(found[name], configs[name], tmp_path / name) for name in names
  ]
  ended = []
  for job, failed in reproduce.run_jobs(jobs):
    ended.append((job.found.name, len(failed), tuple(done)))
  assert [(name, failures) for name, failures, _ in ended] == [
    *(('exact', 2), ('recall', 0), ('costs', 0), ('peers', 0))
  ]
  assert ended[0][2] == ('exact', 'exact')  # and recall had not ended
  assert [names for names, _ in pools] == [
    {'exact', 'recall'},
    {'costs'},
    set(),
  ]
  assert pools[1][1] == 1


@pytest.mark.slow
def test_a_worker_that_is_killed_does_not_take_the_others_with_it(tmp_path):
  """Its cells are tried once more, and the rest goes on."""
  configs = [main.Config(lag=lag, **SMALL) for lag in (8, 9, 10)]

  def kill_one():  # while it still compiles, however long its start took
    while not list(tmp_path.rglob(cell_pool.LOG)):
      time.sleep(0.1)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

  killer = threading.Thread(target=kill_one, daemon=True)
  killer.start()
  assert reproduce.run_cells(reproduce.Job(RECALL, configs, tmp_path)) == []
  killer.join()
  assert len(list(tmp_path.rglob('summary.json'))) == 3


@pytest.fixture
def published(monkeypatch, tmp_path):
  """published(preset, only, fails, broken) -> where tables were written."""

  def reproduce_with(preset, only=(), fails=(), broken=''):
    written = []

    def publish(job, to):
      if job.found.name == broken:
        raise ZeroDivisionError('no panels')
      written.append(to)
      return ''

    monkeypatch.setattr(
      reproduce,
      'run_jobs',
      lambda jobs: [
        (job, [('cell', 'why')] * (job.found.name in fails)) for job in jobs
      ],
    )
    monkeypatch.setattr(reproduce, 'publish', publish)
    monkeypatch.setattr(folders.Experiment, 'check', lambda self, configs: None)
    monkeypatch.setattr(page, 'DOCS', tmp_path / 'docs' / 'report')
    monkeypatch.setattr(page, 'saved', lambda root: [])  # which takes seconds
    code = reproduce.reproduce(preset, only, tmp_path)
    assert code == (1 if fails or broken else 0)
    return written

  return reproduce_with


def test_only_a_whole_job_replaces_the_tables_that_are_committed(
  published, tmp_path
):
  """Neither --only, nor another preset, nor an experiment that failed."""
  full = [found.name for found in reproduce.chosen('full', ())]
  assert published('full') == [folders.ROOT / name for name in full]
  assert published('full', only=['recall']) == [tmp_path / 'full' / 'recall']
  assert published('quick', only=['recall']) == [tmp_path / 'quick' / 'recall']
  left = published('full', fails=['recall'])
  assert left == [folders.ROOT / n for n in full if n != 'recall']


def test_of_a_job_with_failures_the_finished_rows_are_kept(
  tmp_path, monkeypatch
):
  """In the workdir, whatever the preset; nothing else is drawn or judged."""
  good, bad = (
    main.Config(lag=8, **SMALL, parameters=p, mixer='elman') for p in (2000, 1)
  )
  monkeypatch.setattr(cell_pool, 'run', in_this_process)
  job = reproduce.Job(RECALL, [bad, good], tmp_path)
  failed = reproduce.run_cells(job)
  said = reproduce.conclude(job, failed, tmp_path / 'committed')
  assert '1 of 2 cells finished' in said
  rows = table.read(tmp_path / 'results.csv')
  assert {row['parameters'] for row in rows} == {2000}
  assert {path.name for path in tmp_path.iterdir()} == {'cells', 'results.csv'}


def test_a_job_that_failed_lists_its_cells_at_the_end(
  published, capsys, tmp_path
):
  """With the reason, on standard error and on a page of the job."""
  published('full', fails=['recall'])
  said = capsys.readouterr()
  assert said.err.endswith('FAILED cell\n  why\n')
  own = tmp_path / 'full' / 'report' / 'index.html'
  assert f'Page: {own}' in said.out
  assert '<li><code>cell</code> why</li>' in own.read_text(encoding='utf-8')


def test_a_figure_that_fails_leaves_the_other_experiments(
  published, capsys, tmp_path
):
  """The failure is listed at the end, and the others are published."""
  written = published('quick', broken='recall')
  assert 'FAILED' in (said := capsys.readouterr().err)
  assert said.rstrip().endswith('ZeroDivisionError: no panels')
  names = [found.name for found in reproduce.chosen('quick', ())]
  others = [tmp_path / 'quick' / name for name in names if name != 'recall']
  assert written == others


@pytest.mark.parametrize('broken', ['verdicts', 'summaries', 'draw'])
def test_what_cannot_be_made_of_rows_is_said_and_the_page_is_written(
  broken, tmp_path, monkeypatch, capsys
):
  """The table stays, and no cell is said to have failed."""

  def fail(*_):
    raise ZeroDivisionError('no panels')

  config = main.Config(lag=8, **SMALL, parameters=2000, mixer='elman')
  job = reproduce.Job(RECALL, [config], tmp_path / 'recall')
  monkeypatch.setattr(cell_pool, 'run', in_this_process)
  monkeypatch.setattr(reproduce, 'jobs_of', lambda *_: [job])
  monkeypatch.setattr(page, 'saved', lambda root: [])  # which takes seconds
  monkeypatch.setattr(folders.Experiment, broken, fail)
  assert reproduce.reproduce('quick', ['recall'], tmp_path) == 1
  said = capsys.readouterr().err
  assert said.rstrip().endswith('ZeroDivisionError: no panels')
  assert table.read(tmp_path / 'recall' / 'results.csv')
  text = (tmp_path / 'quick' / 'report' / 'index.html').read_text('utf-8')
  assert 'Cells that failed' not in text
  assert ('no panels' in text) == (broken != 'draw')


def test_a_job_ends_with_a_page_of_all_its_experiments(
  published, capsys, tmp_path
):
  """That of committed tables lies in the docs."""
  for preset, folder in (('quick', 'quick/report'), ('full', 'docs/report')):
    published(preset)
    index = tmp_path / folder / 'index.html'
    assert f'Page: {index}' in capsys.readouterr().out
    text = index.read_text(encoding='utf-8')
    anchors = set(re.findall(r'<section aria-labelledby="([\w-]+)">', text))
    names = {
      found.name.replace('_', '-') for found in reproduce.chosen(preset, ())
    }
    assert anchors == {'verdicts', 'machines'} | (
      names if preset == 'quick' else set()
    )


def test_publishing_writes_table_figure_and_verdicts(tmp_path):
  """From the committed rows of one cell, drawn again from the table alone."""
  config = main.Config(lag=8, **SMALL, mixer='window_mlp')
  job = reproduce.Job(RECALL, [config], tmp_path)
  main.run(config, str(job.folder(config)))
  said = reproduce.publish(job, tmp_path / 'to')
  assert {path.name for path in (tmp_path / 'to').iterdir()} == {
    'results.csv',
    'figure.svg',
    'verdicts.md',
  }
  rows = table.read(tmp_path / 'to' / 'results.csv')
  assert {row['mixer'] for row in rows} == {'window_mlp'}
  assert 8 in {row['tested_lag'] for row in rows}
  assert 'UNDECIDED' in said and str(tmp_path / 'to' / 'figure.svg') in said


def test_cells_run_as_jobs_of_their_own_and_are_reported(
  tmp_path, monkeypatch, capsys
):
  """Cells have the numbers that are listed."""
  ran = []
  monkeypatch.setattr(reproduce, 'run_cell', lambda *cell: ran.append(cell))
  config = reproduce.Config('first', ('exact',))
  root = tmp_path / 'runs'
  reproduce.run(config, str(root), list=True)
  listed = capsys.readouterr().out.splitlines()
  assert len(listed) == len(axes.cells(EXACT, **EXACT.axes('first')))
  assert not root.exists()
  reproduce.run(config, str(root), cell='1')
  (((name, _), folder),) = ran
  assert name == 'exact' and listed[1].split()[1:] == ['waiting', folder]
  with pytest.raises(SystemExit) as exit:
    reproduce.run(config, str(root), cell='99')
  assert exit.value.code == 2 and 'numbers 0 to' in capsys.readouterr().err
  submitted = []

  def jobs(commands, *where):
    submitted.append((commands, *where))
    return [types.SimpleNamespace(job_id='7', done=bool)] * len(commands)

  monkeypatch.setattr('seqjax.launch.submitted.jobs', jobs)
  monkeypatch.setattr('seqjax.launch.submitted.wait', lambda jobs: None)
  for switches in ({'report': True}, {'executor': 'submitit'}):
    with pytest.raises(SystemExit) as exit:
      reproduce.run(config, str(root), **switches)
    said = capsys.readouterr()
    assert exit.value.code == 1
    assert said.err.count('It has not finished.') == len(listed)
  ((commands, folder, _),) = submitted
  assert len(commands) == len(listed) and folder == root / 'jobs'
  assert commands[1][1:] == [
    *('-m', 'experiments.reproduce', '--only=exact'),
    *(f'--workdir={root}', '--cell=1'),
  ]
  assert (root / 'first' / 'report' / 'index.html').exists()
