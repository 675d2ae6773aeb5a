"""seqjax-sweep: grids on the command line, failures, going on."""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from seqjax.cli import sweep
from seqjax.launch import cell_pool
from seqjax.results import table

ARRAY = pathlib.Path(__file__).parents[2] / 'scripts' / 'slurm_array.sh'
PROGRAM = """
import dataclasses, pathlib, time
from seqjax import results
from seqjax.experiment import option

@dataclasses.dataclass(frozen=True)
class Config:
  kind: str = option('good', 'What happens.', among=('good', 'bad', 'slow'))
  seed: int = option(0, 'A number.')
  size: int = option(1, 'Another.')

def run(config, workdir):
  done = results.finished(workdir, config)
  if done is not None:
    return done
  with results.Run(workdir, config) as record:
    print('seed', config.seed)
    if config.kind == 'bad':
      raise RuntimeError('bad luck')
    while config.kind == 'slow' and not pathlib.Path('awake').exists():
      pathlib.Path('asleep').touch()
      time.sleep(0.1)
    return record.finish(doubled=2 * config.seed * config.size)
"""


@pytest.fixture
def script(tmp_path):
  """A script whose cells take no time."""
  path = tmp_path / f'program_{tmp_path.name}.py'
  path.write_text(PROGRAM)
  return path


def in_this_process(call, groups, **bounds):
  """`cell_pool.run` without the time that processes take to begin."""
  for cell in itertools.chain(*groups):
    yield cell, cell_pool.attempt(call, cell)


def test_a_failed_cell_is_reported_with_its_log_and_the_others_go_on(
  script, tmp_path, monkeypatch, capsys
):
  """What has finished is in the table, and is not done again."""
  monkeypatch.setattr(cell_pool, 'run', in_this_process)
  config = sweep.Config(str(script), 'kind=good,bad;seed=1,2')
  failed = sweep.run(config, str(tmp_path / 'all'))
  said = capsys.readouterr()
  assert [c.config.kind for c, _ in failed] == ['bad', 'bad']
  assert '0 cells were finished before, 2 ran, 2 failed' in said.out
  assert said.err.count('\n  RuntimeError: bad luck\n') == 2
  rows = table.read(tmp_path / 'all' / 'results.csv')
  assert [(row['seed'], row['doubled']) for row in rows] == [(1, 2), (2, 4)]
  kept = {p: p.read_bytes() for p in tmp_path.rglob('summary.json')}
  config = dataclasses.replace(config, grid='seed=3,2,1')
  assert sweep.run(config, str(tmp_path / 'all')) == []
  assert (
    '2 cells were finished before, 1 ran, 0 failed' in capsys.readouterr().out
  )
  assert len(kept) == 2 and all(p.read_bytes() == b for p, b in kept.items())


def swept(script, tmp_path, monkeypatch, grid, **options):
  """The rows of summary.csv; none if there is none."""
  monkeypatch.setattr(cell_pool, 'run', in_this_process)
  config = sweep.Config(str(script), grid, **options)
  sweep.run(config, str(tmp_path / 'all'))
  path = tmp_path / 'all' / 'summary.csv'
  return table.read(path) if path.exists() else []


def test_a_sweep_over_seeds_ends_with_a_row_for_each_cell(
  script, tmp_path, monkeypatch, capsys
):
  """Of the grid without seeds: printed, and beside results.csv."""
  grid = 'size=1,3;seed=1,2,3,4,5'
  rows = swept(script, tmp_path, monkeypatch, grid, score='doubled', solved=9.0)
  assert [(row['size'], row['seeds'], row['mean']) for row in rows] == [
    (1, 5, 6),
    (3, 5, 18),
  ]
  for row in rows:
    assert row['iqm_low'] < row['iqm'] < row['iqm_high']
  assert [row['share_solved'] for row in rows] == [0.2, 0.8]
  assert [row['rank'] for row in rows] == [2, 1]
  said = capsys.readouterr().out
  assert 'doubled over seeds\nsize  seeds' in said and 'ranked_first' in said


@pytest.mark.parametrize(
  'grid, score', [('seed=1,2', ''), ('kind=good,bad', 'doubled')]
)
def test_without_seeds_or_a_score_there_is_no_summary(
  grid, score, script, tmp_path, monkeypatch, capsys
):
  """The script has no column test; one seed is no distribution."""
  assert swept(script, tmp_path, monkeypatch, grid, score=score) == []
  assert 'over seeds' not in capsys.readouterr().out


def test_an_unknown_score_gets_a_sentence_and_the_table_stays(
  script, tmp_path, monkeypatch
):
  """It is known once a cell has finished."""
  with pytest.raises(ValueError, match="'dubled'. Did you mean 'doubled'"):
    swept(script, tmp_path, monkeypatch, 'seed=1,2', score='dubled')
  assert len(table.read(tmp_path / 'all' / 'results.csv')) == 2


def begin(script, tmp_path, **streams):
  """A sweep of a slow cell and a good one, in a process of its own."""
  return subprocess.Popen(
    [sys.executable, '-m', 'seqjax.cli.sweep',
     f'--script={script}', '--grid=kind=slow,good',
     f'--workdir={tmp_path / "all"}', '--processes=2', '--memory_gb=16'],
    cwd=tmp_path, text=True, stderr=subprocess.PIPE, **streams,
  )  # fmt: skip


def test_a_sweep_that_was_stopped_goes_on_where_it_was(script, tmp_path):
  """SIGTERM ends its cells with it; the same command does the rest."""
  sweep_of_two = begin(script, tmp_path, stdout=subprocess.DEVNULL)
  good = tmp_path / 'all' / 'defaults' / 'summary.json'
  until(lambda: good.exists() and (tmp_path / 'asleep').exists())
  before = good.read_bytes()
  sweep_of_two.send_signal(signal.SIGTERM)
  _, said = sweep_of_two.communicate(timeout=120)
  assert sweep_of_two.returncode == 75 and 'Finished cells are kept' in said
  assert 'Traceback' not in said
  (tmp_path / 'awake').touch()
  again = begin(script, tmp_path, stdout=subprocess.PIPE)
  said, _ = again.communicate(timeout=120)
  assert (
    again.returncode == 0
    and '1 cells were finished before, 1 ran, 0 failed' in said
  )
  assert good.read_bytes() == before


@pytest.mark.slow
def test_the_cells_of_a_killed_sweep_end_too(script, tmp_path):
  """Or the sweep that is started in its place would meet them."""
  killed = begin(script, tmp_path, stdout=subprocess.DEVNULL)
  asleep = tmp_path / 'asleep'
  until(asleep.exists)
  os.kill(killed.pid, signal.SIGKILL)
  killed.communicate(timeout=120)
  until(lambda: time.time() - asleep.stat().st_mtime > 2)


def until(happens):
  """Waits for it, for two minutes at most."""
  for _ in range(1200):
    if happens():
      return
    time.sleep(0.1)
  raise TimeoutError


@pytest.mark.parametrize(
  'change, message',
  [
    ({'grid': 'sed=1'}, "'sed'. Did you mean 'seed'"),
    ({'grid': 'kind=goood'}, "kind 'goood'. Did you mean 'good'"),
    ({'grid': 'seed=1;seed=2'}, 'every name once'),
    ({'grid': 'seed=1,x'}, "seed takes an integer, but 'x'"),
    ({'compare': 'knd'}, "option to compare 'knd'. Did you mean 'kind'"),
    ({'script': 'none.py'}, "no file 'none.py'"),
    ({'script': 'seqjax.cli.trian'}, "no module 'seqjax.cli.trian'"),
    ({'script': 'seqjax.launch.process_environment'}, 'has not'),
  ],
)
def test_a_bad_sweep_gets_a_sentence(change, message, script, tmp_path):
  """Before anything is written."""
  config = dataclasses.replace(sweep.Config(str(script)), **change)
  with pytest.raises(ValueError, match=message):
    sweep.run(config, str(tmp_path / 'all'))
  assert not (tmp_path / 'all').exists()


def test_what_a_cell_would_refuse_is_refused_before_the_sweep(tmp_path):
  """A mistake in the options of mixers, or a task that is too small."""
  for grid, message in (
    ('mixer_options=num_hads=2', "Unknown mixer option 'num_hads'"),
    ('task_options="lag=1";seed=0,1', '3.0 bits.* needed to hold some out'),
  ):
    config = sweep.Config(grid=grid)
    with pytest.raises(ValueError, match=message):
      sweep.run(config, str(tmp_path / 'all'))
  assert not (tmp_path / 'all').exists()


def test_bounds_are_checked():
  """There is no such thing as less than one process."""
  with pytest.raises(ValueError, match='processes=0'):
    sweep.Config(processes=0)


def test_cells_run_as_jobs_of_their_own_and_are_reported(
  script, tmp_path, capsys
):
  """Cells have the numbers that are listed; a failed one says why."""
  config = sweep.Config(str(script), 'kind=good,bad;seed=1,2', score='doubled')
  workdir = tmp_path / 'sweep'
  sweep.run_and_exit(config, str(workdir), list=True)
  listed = capsys.readouterr().out.splitlines()
  assert [line.split()[:2] for line in listed] == [
    [str(number), 'waiting'] for number in range(4)
  ]
  assert not workdir.exists()
  sweep.run_and_exit(config, str(workdir), cell='1')
  sweep.run_and_exit(config, str(workdir), cell='1')
  said = capsys.readouterr().out
  assert 'Finished' in said and 'Already finished' in said
  with pytest.raises(RuntimeError, match='bad luck'):
    sweep.run_and_exit(config, str(workdir), cell='2')
  sweep.run_and_exit(config, str(workdir), report=True)
  said = capsys.readouterr()
  assert '1 of 4 cells have finished' in said.out
  assert said.err.count('UNFINISHED') == 3 and 'bad luck' in said.err
  (row,) = table.read(workdir / 'results.csv')
  assert row['doubled'] == 4


@pytest.mark.parametrize(
  'switches, message',
  [
    ({'cell': '4'}, 'numbers 0 to 3, but cell=4'),
    ({'cell': 'first'}, 'cell=first'),
    ({'cell': '1', 'report': True}, '--cell and --report were'),
    ({'cell': '1', 'executor': 'submitit'}, '--cell and --executor were'),
    ({'executor_options': 'timeout_min=1'}, 'add --executor=submitit'),
  ],
)
def test_a_cell_that_is_none_is_refused(
  switches, message, script, tmp_path, capsys
):
  """With the numbers that there are."""
  config = sweep.Config(str(script), 'kind=good,bad;seed=1,2')
  with pytest.raises(SystemExit) as exit:
    sweep.run_and_exit(config, str(tmp_path / 'sweep'), **switches)
  assert exit.value.code == 2 and message in capsys.readouterr().err


def test_a_cell_of_any_script_ends_with_75_on_sigterm(
  script, tmp_path, monkeypatch, capsys
):
  """So that a scheduler puts it back into the queue."""
  monkeypatch.chdir(tmp_path)

  def stop():
    while not pathlib.Path('asleep').exists():
      time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=stop, daemon=True).start()
  config = sweep.Config(str(script), 'kind=slow')
  with pytest.raises(SystemExit) as exit:
    sweep.run_and_exit(config, str(tmp_path / 'sweep'), cell='0')
  assert exit.value.code == 75 and 'Stopped' in capsys.readouterr().err
  pathlib.Path('awake').touch()
  sweep.run_and_exit(config, str(tmp_path / 'sweep'), cell='0')


class Job:
  """A job that has run its command when it is submitted."""

  job_id = '7'

  def __init__(self, command):
    arguments = [a.removeprefix('--').split('=', 1) for a in command[3:]]
    values = dict(arguments)
    workdir, cell = values.pop('workdir'), values.pop('cell')
    assert command[:3] == [sys.executable, '-m', 'seqjax.cli.sweep']
    with contextlib.suppress(RuntimeError):
      sweep.run_and_exit(sweep.Config(**values), workdir, cell=cell)

  def done(self):
    return True


def test_cells_are_submitted_as_jobs_and_reported(
  script, tmp_path, monkeypatch, capsys
):
  """Submits those that have not finished; exit code 1 if one failed."""
  submitted = []

  def jobs(commands, folder, options):
    submitted.append((len(commands), folder, options))
    return list(map(Job, commands))

  monkeypatch.setattr('seqjax.launch.submitted.jobs', jobs)
  config = sweep.Config(str(script), 'kind=good,bad;seed=1,2', score='doubled')
  workdir = str(tmp_path / 'sweep')
  how = {'executor': 'submitit', 'executor_options': 'timeout_min=3,name=x'}
  sweep.run_and_exit(config, workdir, cell='1')
  with pytest.raises(SystemExit) as exit:
    sweep.run_and_exit(config, workdir, **how)
  said = capsys.readouterr()
  assert exit.value.code == 1 and said.err.count('UNFINISHED') == 2
  assert '2 of 4 cells have finished' in said.out
  assert said.out.count('job 7: ') == 3
  options = {'timeout_min': 3, 'name': 'x'}
  assert submitted == [(3, tmp_path / 'sweep' / 'jobs', options)]


@pytest.mark.slow
def test_jobs_of_submitit_run_the_cells(script, tmp_path, capsys):
  """Runs cells by its executor for one machine."""
  pytest.importorskip('submitit')
  config = sweep.Config(str(script), 'kind=good,bad')
  how = {'executor': 'submitit', 'executor_options': 'cluster=local'}
  with pytest.raises(SystemExit) as exit:
    sweep.run_and_exit(config, str(tmp_path / 'sweep'), **how)
  said = capsys.readouterr()
  assert exit.value.code == 1 and '1 of 2 cells have finished' in said.out
  assert 'bad luck' in said.err


def test_a_job_that_is_no_array_runs_nothing(tmp_path):
  """Rather than all cells, as without a number."""
  (tmp_path / 'srun').write_text('#!/bin/sh\necho "$@" > asked\n')
  (tmp_path / 'srun').chmod(0o755)
  kept = {k: v for k, v in os.environ.items() if not k.startswith('SLURM')}
  ended = subprocess.run(
    ['bash', str(ARRAY), '--grid=seed=0,1'],
    cwd=tmp_path,
    env=kept | {'PATH': f'{tmp_path}:{os.environ["PATH"]}'},
    capture_output=True,
    text=True,
  )
  assert ended.returncode and 'submit it with --array' in ended.stderr
  assert not (tmp_path / 'asked').exists()


@pytest.mark.parametrize('code', [0, 1, 75])
def test_a_task_of_an_array_that_was_stopped_is_queued_again(code, tmp_path):
  """With stand-ins for the scheduler's programs."""
  for name, text in {
    'srun': f'echo "$@" > asked; exit {code}',
    'scontrol': 'echo "$@" > queued',
  }.items():
    (tmp_path / name).write_text(f'#!/bin/sh\n{text}\n')
    (tmp_path / name).chmod(0o755)
  ended = subprocess.run(
    ['bash', str(ARRAY), '--grid=seed=0,1'],
    cwd=tmp_path,
    env=os.environ
    | {'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
    | {'SLURM_ARRAY_TASK_ID': '1', 'SLURM_JOB_ID': '77'},
  )
  asked = (tmp_path / 'asked').read_text()
  assert asked == '--ntasks=1 seqjax-sweep --cell=1 --grid=seed=0,1\n'
  queued = tmp_path / 'queued'
  assert queued.exists() == (code == 75)
  assert ended.returncode == (0 if code == 75 else code)
  assert not queued.exists() or queued.read_text() == 'requeue 77\n'
