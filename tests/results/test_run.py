"""What a run leaves on disk, and what it refuses to overwrite."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import results
from seqjax.results import environment, json_files, lock, processor, records


@dataclasses.dataclass(frozen=True)
class Config:
  mixer: str = 'gru'
  lengths: tuple[int, ...] = (64, 256)
  rate: float = 1e-3


def finish(workdir, config=None, **summary):
  with results.Run(workdir, config or Config()) as run:
    return run.finish(**summary)


def lines(workdir):
  text = (pathlib.Path(workdir) / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def files(folder):
  return {
    path.name: path.read_bytes() for path in folder.rglob('*') if path.is_file()
  }


def test_a_run_writes_config_metrics_and_summary(tmp_path):
  """Arrays that hold one number are numbers; clocks stand under `time`."""
  with results.Run(tmp_path / 'a' / 'b', Config()) as run:
    run.log(jnp.array(1), loss=jnp.array([0.5]), kind='train')
    run.log(2, loss=np.float32(0.25), norm=jnp.bfloat16(1.5))
    summary = run.finish(accuracy=np.float64(0.75), by_lag=[jnp.array(1), 2])
  workdir = tmp_path / 'a' / 'b'
  assert [{**line, 'time': 0} for line in lines(workdir)] == [
    {'step': 1, 'loss': 0.5, 'kind': 'train', 'time': 0},
    {'step': 2, 'loss': 0.25, 'norm': 1.5, 'time': 0},
  ]
  config = json.loads((workdir / 'config.json').read_text())
  assert config['config'] == {
    'mixer': 'gru',
    'lengths': [64, 256],
    'rate': 1e-3,
  }
  assert {*environment.ENVIRONMENT_COLUMNS, 'python', 'created'} <= {
    *config['environments'][0]
  }
  assert {**summary, 'time': 0} == {
    'accuracy': 0.75,
    'by_lag': (1, 2),
    'time': 0,
  }
  assert results.finished(workdir, Config()) == summary
  assert set(files(workdir)) == {
    'config.json',
    'metrics.jsonl',
    'summary.json',
  }


def test_numbers_that_are_not_finite_survive_in_valid_json(tmp_path):
  """NaN and infinities are texts in the file and floats when read."""
  with results.Run(tmp_path, Config(rate=math.inf)) as run:
    run.log(0, loss=math.nan)
    run.finish(low=-math.inf, high=jnp.inf, value=jnp.nan, none=None)

  def refuse(constant):
    raise AssertionError(f'{constant} is not JSON')

  for text in files(tmp_path).values():
    for line in text.decode().splitlines() if text[:3] == b'{"s' else [text]:
      json.loads(line, parse_constant=refuse)
  assert lines(tmp_path)[0]['loss'] == 'NaN'
  summary = results.finished(tmp_path, Config(rate=math.inf))
  assert summary['low'] == -math.inf and summary['high'] == math.inf
  assert math.isnan(summary['value']) and summary['none'] is None
  (row,) = results.collate(tmp_path)
  assert row['rate'] == math.inf


def test_the_workdir_of_another_config_is_refused_untouched(tmp_path):
  """Every field that differs is named with both values."""
  finish(tmp_path, accuracy=1.0)
  before = files(tmp_path)
  other = Config(lengths=(8,), rate=0.1)
  for ask in (results.Run, results.finished):
    with pytest.raises(ValueError) as error:
      ask(tmp_path, other)
    assert 'lengths is [64, 256] there and [8] here' in str(error.value)
    assert 'rate is 0.001 there and 0.1 here' in str(error.value)
    assert 'mixer' not in str(error.value)
  assert files(tmp_path) == before


def test_a_field_added_since_is_a_difference(tmp_path):
  """Old runs are not taken for runs of a config that asks for more."""

  @dataclasses.dataclass(frozen=True)
  class Wider(Config):
    seed: int = 0

  finish(tmp_path)
  with pytest.raises(ValueError, match='seed is absent there and 0 here'):
    results.finished(tmp_path, Wider())


def test_a_finished_run_is_not_run_again(tmp_path):
  """`finished` gives its summary; `Run` refuses and leaves it."""
  assert results.finished(tmp_path, Config()) is None
  finish(tmp_path, accuracy=1.0)
  before = files(tmp_path)
  with pytest.raises(ValueError, match='has finished'):
    results.Run(tmp_path, Config())
  assert files(tmp_path) == before
  assert results.finished(tmp_path, Config())['accuracy'] == 1.0


def test_an_exception_leaves_no_summary_and_the_next_run_starts_anew(tmp_path):
  """Not even when finish had been called; the metrics until then stay."""
  with pytest.raises(KeyError):
    with results.Run(tmp_path, Config()) as run:
      run.log(1, loss=1.0)
      run.finish(accuracy=1.0)
      raise KeyError('lost')
  assert set(files(tmp_path)) == {'config.json', 'metrics.jsonl', 'failed.json'}
  assert "KeyError: 'lost'" in (tmp_path / 'failed.json').read_text()
  assert len(lines(tmp_path)) == 1
  assert results.finished(tmp_path, Config()) is None
  assert results.collate(tmp_path) == []
  finish(tmp_path, accuracy=0.5)
  assert lines(tmp_path) == []
  assert 'failed.json' not in files(tmp_path)


def stop(workdir, *steps):
  """Logs these steps and fails."""
  with pytest.raises(KeyError):
    with results.Run(workdir, Config()) as run:
      for step in steps:
        run.log(step, loss=step / 2)
      raise KeyError


def test_a_run_that_is_resumed_doubles_no_line_and_misses_none(tmp_path):
  """Lines after the step, and one that was cut short, come again."""
  stop(tmp_path, 10, 20, 30)
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 4')
  with results.Run(tmp_path, Config()) as run:
    run.resume(jnp.array(20))
    assert [line['step'] for line in lines(tmp_path)] == [10, 20]
    run.log(30, loss=15.0)
    run.finish()
  found = lines(tmp_path)
  assert [line['step'] for line in found] == [10, 20, 30]
  clocks = [line['time'] for line in found]
  assert clocks == sorted(clocks)
  assert not list(tmp_path.glob('.*'))


def test_metrics_that_are_none_are_not_cut(tmp_path):
  """A person looks first."""
  stop(tmp_path, 10, 20)
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"loss": 1}\n' + path.read_text())
  with pytest.raises(ValueError, match='holds a line that no run wrote'):
    with results.Run(tmp_path, Config()) as run:
      run.resume(20)
  assert len(lines(tmp_path)) == 3


def test_metrics_stay_until_a_run_has_begun_anew(tmp_path):
  """One that fails before its first line takes none away."""
  stop(tmp_path, 10, 20)
  stop(tmp_path)
  assert [line['step'] for line in lines(tmp_path)] == [10, 20]
  stop(tmp_path, 5)
  assert [line['step'] for line in lines(tmp_path)] == [5]


@contextlib.contextmanager
def full_disk(num_bytes):
  """No file grows beyond so many."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_sentence_whatever_is_written(tmp_path):
  """The config, the metrics, kept ones and new, the summary."""
  stop(tmp_path, 10, 20)
  before = files(tmp_path)
  with pytest.raises(ValueError, match='cannot be written: File too large'):
    with full_disk(16), results.Run(tmp_path, Config()):
      pass
  told = 'The {} of the run in .*: File too large. What was saved before'
  with pytest.raises(OSError, match=told.format('metrics')):
    with results.Run(tmp_path, Config()) as run, full_disk(16):
      run.resume(20)
  with pytest.raises(OSError, match=told.format('metrics')):
    with results.Run(tmp_path, Config()) as run:
      run.resume(20)
      with full_disk(16):
        run.log(30, loss=1.0)
  with contextlib.ExitStack() as full:
    with pytest.raises(OSError, match=told.format('summary')):
      with results.Run(tmp_path, Config()) as run:
        run.resume(20)
        run.finish(accuracy=1.0)
        full.enter_context(full_disk(16))
  assert files(tmp_path)['metrics.jsonl'] == before['metrics.jsonl']
  assert results.finished(tmp_path, Config()) is None


def test_where_a_run_failed_is_kept(tmp_path):
  """For whoever only saw the sentence."""
  stop(tmp_path)
  content = json.loads((tmp_path / 'failed.json').read_text())
  assert (
    content['error'] == 'KeyError: ' and 'in stop' in content['traceback'][1]
  )


def test_what_is_logged_is_on_disk_at_once(tmp_path):
  """A job that is killed keeps its metrics."""
  with results.Run(tmp_path, Config()) as run:
    run.log(1, loss=1.0)
    assert len(lines(tmp_path)) == 1
    run.finish()


def test_leaving_without_finish_is_an_error(tmp_path):
  """Otherwise a run would be missing from the table without a word."""
  with pytest.raises(RuntimeError, match='without calling finish'):
    with results.Run(tmp_path, Config()):
      pass
  assert results.finished(tmp_path, Config()) is None


@pytest.mark.parametrize(
  ('summary', 'sentence'),
  [
    ({'loss': np.zeros(3)}, r"'loss' is one number.*shape \(3,\)"),
    ({'by_lag': {8: 1.0}}, "'by_lag' is a number.*dict was given"),
    ({'nested': [[1]]}, "'nested' is a number.*list was given"),
    ({'time': 3.0}, "'time' is the run's own clock"),
    ({'rows': [{'a': object()}]}, "row 'a' is a number"),
  ],
)
def test_what_a_table_cannot_hold_is_refused(tmp_path, summary, sentence):
  """At once, and not when the table is made."""
  with pytest.raises(ValueError, match=sentence):
    finish(tmp_path, **summary)
  assert results.finished(tmp_path, Config()) is None


def test_a_workdir_that_cannot_be_written_is_told(tmp_path):
  """Its parent is a file, say."""
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match=r"file/run' cannot be written: Not a"):
    finish(tmp_path / 'file' / 'run')


def test_a_folder_of_unknown_origin_is_left_alone(tmp_path):
  """metrics.jsonl without config.json, a config.json that is none."""
  path = tmp_path / 'metrics.jsonl'
  path.write_text('mine')
  with pytest.raises(ValueError, match='holds metrics.jsonl but no config'):
    results.Run(tmp_path, Config())
  assert path.read_text() == 'mine'
  (tmp_path / 'config.json').write_text('{')
  with pytest.raises(ValueError, match='is not JSON'):
    results.Run(tmp_path, Config())
  (tmp_path / 'config.json').write_text('[]')
  with pytest.raises(ValueError, match='is not a config of a run'):
    results.Run(tmp_path, Config())


def test_a_config_is_a_dataclass(tmp_path):
  """Neither a dict nor the class itself."""
  for config in ({'seed': 0}, Config):
    with pytest.raises(ValueError, match='instance of a dataclass'):
      results.Run(tmp_path, config)


def test_a_failed_write_leaves_the_old_file(tmp_path):
  """And nothing beside it."""
  path = tmp_path / 'table.csv'
  path.write_text('old')

  def write(temporary):
    temporary.write_text('half')
    raise OSError('disk full')

  with pytest.raises(OSError, match='disk full'):
    json_files.write_atomically(path, write)
  assert files(tmp_path) == {'table.csv': b'old'}


def test_collate_gives_a_flat_row_a_run_in_the_order_of_paths(tmp_path):
  """Config, summary and environment side by side; unfinished runs left out."""
  for name in ('b', 'a', 'a/c'):
    finish(tmp_path / name, Config(mixer=name), accuracy=0.5)
  with pytest.raises(KeyError):
    with results.Run(tmp_path / 'd', Config()):
      raise KeyError
  rows = results.collate(tmp_path)
  assert [row['mixer'] for row in rows] == ['a', 'a/c', 'b']
  assert rows[0]['lengths'] == (64, 256)
  assert set(rows[0]) == {
    *('run', 'mixer', 'lengths', 'rate', 'accuracy'),
    *environment.ENVIRONMENT_COLUMNS,
    'run_seconds',
  }


def test_rows_of_one_run_become_one_row_each(tmp_path):
  """With the run's config, and what a row knows better about its device."""
  rows = [{'T': 8, 'mixer': 'gru'}, {'T': 16, 'device': 'child'}]
  assert finish(tmp_path, peak=2.0, rows=rows)['rows'] == rows
  first, second = results.collate(tmp_path)
  assert (first['T'], first['peak'], first['rate']) == (8, 2.0, 1e-3)
  assert first['device'] == environment.device_name()
  assert (second['T'], second['device']) == (16, 'child')


def test_the_time_of_a_run_counts_once_however_many_rows_it_has(tmp_path):
  """It is that of the summary; a row without one leaves the total unknown."""
  finish(tmp_path / 'a', rows=[{'T': 8}, {'T': 16}])
  finish(tmp_path / 'b', accuracy=0.5)
  taken = [
    json.loads((tmp_path / name / 'summary.json').read_text())['time']
    for name in 'ab'
  ]
  rows = results.collate(tmp_path)
  assert [row['run_seconds'] for row in rows] == [taken[0], *taken]
  assert records.total_seconds(rows) == sum(taken)
  for column in ('run', 'run_seconds'):
    assert records.total_seconds([*rows, rows[0] | {column: None}]) is None
  assert records.total_seconds([]) is None


def test_two_values_for_one_column_are_an_error(tmp_path):
  """A row may not contradict the config of its run."""
  finish(tmp_path, rows=[{'mixer': 'lstm'}])
  with pytest.raises(ValueError, match="'mixer' twice, as 'gru' and as 'lstm'"):
    results.collate(tmp_path)
  with pytest.raises(ValueError, match='collected from a folder'):
    results.collate(tmp_path / 'nowhere')


@pytest.mark.skipif(shutil.which('git') is None, reason='git is not here')
def test_the_commit_says_whether_code_was_changed(tmp_path):
  """Results that were redrawn and files git does not know leave it clean."""

  def git(*arguments):
    subprocess.run(
      ['git', '-C', str(tmp_path), *arguments], check=True, capture_output=True
    )

  def commit(name='code.py'):
    environment.commit.cache_clear()
    return environment.commit(tmp_path / 'package' / name)

  package = tmp_path / 'package'
  package.mkdir()
  (package / 'code.py').write_text('x = 1\n')
  (tmp_path / 'results.csv').write_text('1\n')
  assert commit() == 'unknown'
  git('init')
  git('add', '.')
  git('-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-m', 'One')
  (tmp_path / 'results.csv').write_text('2\n')
  (package / 'new.py').write_text('')
  clean = commit()
  assert len(clean) == 40 and int(clean, 16)
  assert commit('new.py') == 'unknown'
  (tmp_path / 'main.py').write_text('')
  git('add', 'main.py')
  assert commit() == clean + '-dirty'


def test_importing_results_does_not_load_matplotlib():
  """Not even the module that draws."""
  code = (
    'import sys; from seqjax.results import plotting, report, run;'
    'assert "matplotlib" not in sys.modules'
  )
  subprocess.run([sys.executable, '-c', code], check=True)


HOLDS = """
import dataclasses, sys, time
from seqjax import results
@dataclasses.dataclass(frozen=True)
class Config:
  mixer: str = 'gru'
  lengths: tuple[int, ...] = (64, 256)
  rate: float = 1e-3
with results.Run(sys.argv[1], Config()) as run:
  run.log(1, loss=1.0)
  print('begun', flush=True)
  time.sleep(600)
"""


def test_one_process_writes_at_a_time(tmp_path):
  """The second is told which one does; one that was killed is none."""
  child = subprocess.Popen(
    [sys.executable, '-c', HOLDS, str(tmp_path)],
    stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  assert child.stdout.readline() == 'begun\n'
  before = files(tmp_path)
  here = f'Process {child.pid} on host {socket.gethostname()} is writing into'
  with pytest.raises(ValueError, match=here):
    finish(tmp_path)
  assert files(tmp_path) == before and 'lock.json' in before
  child.kill()
  child.communicate()
  assert 'lock.json' in files(tmp_path)
  finish(tmp_path, accuracy=1.0)
  assert 'lock.json' not in files(tmp_path)


def test_two_runs_of_one_process_are_told_as_well(tmp_path):
  """Threads, say; the folder is free again after an exception."""
  with pytest.raises(KeyError):
    with results.Run(tmp_path, Config()):
      with pytest.raises(ValueError, match=f'Process {os.getpid()} on host'):
        finish(tmp_path)
      raise KeyError
  finish(tmp_path)
  with pytest.raises(ValueError, match='has finished'):
    finish(tmp_path)


def test_a_lock_can_be_waited_for(tmp_path):
  """Until whoever holds it lets go; others of the folder do not matter."""
  order = []

  def hold():
    with lock.held(tmp_path, 'a', wait=60.0):
      order.append('second')

  with lock.held(tmp_path, 'a'), lock.held(tmp_path, 'b'):
    other = threading.Thread(target=hold)
    other.start()
    time.sleep(0.2)
    order.append('first')
  other.join()
  assert order == ['first', 'second'] and not list(tmp_path.iterdir())


@pytest.mark.parametrize('content, free', [
  ('', True), ('{', True), ('[1]', True), ('{"host": 3}', False),
  ('{"host": "elsewhere", "process": 1}', False),
  (f'{{"host": "{socket.gethostname()}", "process": {2**22 + 1}}}', True),
  (f'{{"host": "{socket.gethostname()}", "process": 1}}', False),
])  # fmt: skip
def test_without_locks_of_the_file_system_processes_are_looked_for(
  content, free, tmp_path, monkeypatch
):
  """Of another host nothing is known: a person decides."""
  monkeypatch.setattr(lock, 'fcntl', None)
  (tmp_path / lock.FILE).write_text(content)
  if free:
    finish(tmp_path)
  else:
    with pytest.raises(ValueError, match='If there is no such process, delete'):
      finish(tmp_path)


def environments(workdir):
  content = json.loads((workdir / 'config.json').read_text())
  return [(known['commit'], known['step']) for known in content['environments']]


def test_every_environment_is_kept_with_the_step_it_began_at(
  tmp_path, monkeypatch
):
  """Those whose steps come again give way; the same one is said once."""

  def resume(commit, step, *steps):
    monkeypatch.setattr(environment, 'commit', lambda path: commit)
    with pytest.raises(KeyError):
      with results.Run(tmp_path, Config()) as run:
        if step is not None:
          run.resume(step)
        for logged in steps:
          run.log(logged, loss=0.0)
        raise KeyError
    return environments(tmp_path)

  assert resume('a', None, 10, 20) == [('a', 0)]
  assert resume('a', 20, 30) == [('a', 0)]
  assert resume('b', 20, 30) == [('a', 0), ('b', 20)]
  assert resume('c', 10, 20) == [('a', 0), ('c', 10)]
  assert resume('d', None) == [('a', 0), ('c', 10)]  # it did not even begin
  with results.Run(tmp_path, Config()) as run:
    run.resume(20)
    run.finish()
  (row,) = results.collate(tmp_path)
  assert row['commit'] == 'a then c then d' and row['run'] == tmp_path.name
  assert row['device'] == environment.device_name()


def test_a_run_that_begins_anew_forgets_where_it_was_stopped_before(
  tmp_path, monkeypatch
):
  """Before its first line, and so without a step to resume at."""
  for commit in 'ab':
    monkeypatch.setattr(environment, 'commit', lambda path, c=commit: c)
    with pytest.raises(KeyError):
      with results.Run(tmp_path, Config()) as run:
        run.begin()
        raise KeyError
  assert environments(tmp_path) == [('b', 0)]


@pytest.mark.parametrize('known', ['"x"', '[1]', 'null', '[{"step": "a"}]'])
def test_environments_that_are_none_are_named_and_kept(known, tmp_path):
  """Their history would be lost otherwise."""
  stop(tmp_path, 10)
  path = tmp_path / 'config.json'
  content = json.loads(path.read_text())
  path.write_text(json.dumps({**content, 'environments': json.loads(known)}))
  before = path.read_bytes()
  with pytest.raises(ValueError, match='is not the config of a run'):
    results.Run(tmp_path, Config())
  assert path.read_bytes() == before


def test_a_column_of_the_runs_own_does_not_replace_its_folder(tmp_path):
  """Two values for one column are an error here too."""
  finish(tmp_path / 'a', run=3)
  with pytest.raises(ValueError, match="gives 'run' twice"):
    results.collate(tmp_path)


def test_processors_of_one_name_are_told_apart():
  """By family, model, instruction set and caches, as far as they are known."""
  one = processor.described(
    'processor : 0\ncpu family : 25\nmodel : 1\nmodel name : AMD EPYC\n'
    'flags : fpu sse2 avx avx2\n\nprocessor : 1\nmodel : 2\n'
  )
  assert processor.short(one) == 'AMD EPYC (family 25, model 1, AVX2)'
  other = processor.described('model name : AMD EPYC\nflags : avx2 avx512f')
  other['caches'] = 'L1 48K, L2 1024K'
  assert processor.short(other) == 'AMD EPYC (AVX-512, L2 1024K)'
  assert processor.described('') == {}
  if jax.default_backend() == 'cpu':
    here = processor.short(processor.processor())
    assert environment.device_name() == f'cpu {here}'


def test_lines_that_a_power_cut_took_are_noticed(tmp_path):
  """By the number that there were when a checkpoint was saved."""
  stop(tmp_path, 10, 20, 30)
  path = tmp_path / 'metrics.jsonl'
  run = results.Run(tmp_path, Config())
  assert run.lost_lines({'lines': 3}) is None and run.lost_lines({}) is None
  kept = path.read_bytes()
  path.write_bytes(kept[: kept.rindex(b'{') + 4])
  assert 'lost 1 of 3 lines' in run.lost_lines({'lines': 3})
  path.unlink()
  assert 'lost 3 of 3 lines' in run.lost_lines({'lines': 3})


def test_metrics_are_on_the_disk_itself_after_sync(tmp_path, monkeypatch):
  """All that was logged; nothing before the first line."""
  synced = []
  monkeypatch.setattr(os, 'fsync', lambda fd: synced.append(os.fstat(fd)))
  with results.Run(tmp_path, Config()) as run:
    assert (tmp_path / 'config.json').stat() in synced
    synced.clear()
    run.sync()
    assert not synced
    run.log(1, loss=1.0)
    synced.clear()
    run.sync()
    assert synced[0].st_size == (tmp_path / 'metrics.jsonl').stat().st_size > 0
    assert run.num_lines == 1
    run.finish()


BROKEN = {
  'list': b'[1]', 'null': b'null', 'half': b'{"step": 1, "lo', 'empty': b'',
  'bytes': b'{"step": "\xff\xfe"}\n', 'number': b'3', 'text': b'"a"',
  'deep': b'[' * 100_000,
}  # fmt: skip


@pytest.mark.parametrize('name', ['config.json', 'summary.json'])
@pytest.mark.parametrize('content', BROKEN.values(), ids=BROKEN)
def test_a_damaged_record_is_named_and_kept(name, content, tmp_path):
  """By whoever reads it."""
  finish(tmp_path, accuracy=1.0)
  (tmp_path / name).write_bytes(content)
  before = files(tmp_path)
  asked = (
    lambda: results.finished(tmp_path, Config()),
    lambda: results.Run(tmp_path, Config()),
    lambda: results.collate(tmp_path),
  )
  for ask in asked:
    with pytest.raises(ValueError, match=f"/{name}' is n"):
      ask()
  assert files(tmp_path) == before


@pytest.mark.parametrize('content', BROKEN.values(), ids=BROKEN)
def test_a_damaged_line_of_metrics_is_named_and_kept(content, tmp_path):
  """A last line without an end is one that a kill has cut."""
  stop(tmp_path, 10, 20)
  path = tmp_path / 'metrics.jsonl'
  whole = path.read_bytes()
  path.write_bytes(content.rstrip() + b'\n' + whole)
  if content.strip():
    run = results.Run(tmp_path, Config())
    for read in (lambda: results.metrics(tmp_path), lambda: run.resume(20)):
      with pytest.raises(ValueError, match="metrics.jsonl' holds a line that"):
        read()
    assert path.read_bytes().endswith(whole)
  path.write_bytes(whole + content.rstrip())
  assert [row['step'] for row in results.metrics(tmp_path)] == [10, 20]
