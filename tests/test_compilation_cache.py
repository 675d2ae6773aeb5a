"""Compiled programs are kept for the next process, where the user wants it."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from seqjax.experiment import compilation_cache

# Prints how many programs were compiled, and how many were found.
PROGRAM = """
import dataclasses, jax
from seqjax import experiment
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))

@dataclasses.dataclass(frozen=True)
class Config:
  length: int = experiment.option(3, 'Positions.')

def run(config):
  jax.jit(lambda x: x + 1)(jax.numpy.arange(config.length))
  hits = events.count('/jax/compilation_cache/cache_hits')
  print(len(set(events)) and hits, jax.config.jax_compilation_cache_dir)

experiment.launch(Config, run, None)
"""


def launched(tmp_path, *arguments, **environment):
  """Runs PROGRAM in a process of its own; returns its hits and its folder."""
  clean = {k: v for k, v in os.environ.items() if not k.startswith('JAX_')}
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, *arguments],
    env={**clean, 'XDG_CACHE_HOME': str(tmp_path), **environment},
    capture_output=True,
    text=True,
    check=True,
  )
  hits, _, folder = done.stdout.strip().partition(' ')
  return int(hits), folder


def entries(folder):
  return sorted(path.name for path in pathlib.Path(folder).rglob('*-cache'))


def test_a_command_finds_what_it_compiled_before(tmp_path):
  """The second process compiles nothing anew; nobody else reads the folder."""
  hits, folder = launched(tmp_path)
  kept = entries(folder)
  assert hits == 0
  assert kept
  assert pathlib.Path(folder).is_relative_to(tmp_path / 'seqjax')
  assert pathlib.Path(folder).stat().st_mode & 0o077 == 0
  again, _ = launched(tmp_path)
  assert again == len(kept)
  assert entries(folder) == kept


@pytest.mark.parametrize('by', ['variable', 'option'])
def test_the_users_own_folder_is_left_to_them(tmp_path, by):
  """Neither the folder nor JAX's own limits are touched."""
  own = str(tmp_path / 'own')
  if by == 'variable':
    _, folder = launched(tmp_path, JAX_COMPILATION_CACHE_DIR=own)
  else:
    _, folder = launched(tmp_path, f'--jax_compilation_cache_dir={own}')
  assert folder == own
  assert entries(tmp_path) == []  # programs that compile in under a second


def test_nothing_is_kept_where_the_user_says_so(tmp_path):
  """JAX's own switch turns the cache off."""
  launched(tmp_path, JAX_ENABLE_COMPILATION_CACHE='0')
  assert entries(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
  """A file is in its place: the program runs, and nothing is kept."""
  (tmp_path / 'seqjax').write_text('a file')
  assert launched(tmp_path) == (0, 'None')


def test_without_a_home_nothing_is_kept(monkeypatch):
  """As of a user that the system does not know."""

  def unknown(self):
    raise RuntimeError('Could not determine home directory.')

  monkeypatch.setattr(pathlib.Path, 'expanduser', unknown)
  monkeypatch.setattr(jax.config, 'update', None)  # is not called
  environment = {}
  before = jax.config.jax_compilation_cache_dir
  if before is None:
    compilation_cache.keep(environment)
  with pytest.raises(RuntimeError):
    compilation_cache._user_folder(environment)
  assert environment == {}


def test_children_keep_in_the_same_folder(tmp_path, monkeypatch):
  """The environment tells them, and a second call changes nothing."""
  before = jax.config.jax_compilation_cache_dir
  shortest = jax.config.jax_persistent_cache_min_compile_time_secs
  environment = {'XDG_CACHE_HOME': str(tmp_path)}
  jax.config.update('jax_compilation_cache_dir', None)
  try:
    compilation_cache.keep(environment)
    folder = environment[compilation_cache.FOLDER]
    assert jax.config.jax_compilation_cache_dir == folder
    assert environment[compilation_cache.SHORTEST] == '0'
    compilation_cache.keep(environment | {'XDG_CACHE_HOME': '/elsewhere'})
    assert jax.config.jax_compilation_cache_dir == folder
  finally:
    jax.config.update('jax_compilation_cache_dir', before)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', shortest)


def test_programs_of_one_processor_are_not_given_to_another(
  tmp_path, monkeypatch
):
  """Two that differ in one instruction set have two names; two alike, one."""
  names = []
  for flags in ('avx avx2', 'avx avx2 avx512f', 'avx avx2'):
    info = tmp_path / 'cpuinfo'
    info.write_text(f'cpu MHz : {len(names)}\nflags : {flags}\n' * 2)
    monkeypatch.setattr(compilation_cache, 'CPUINFO', info)
    names.append(compilation_cache._processor())
  assert names[0] == names[2] != names[1]


def test_those_used_least_recently_are_deleted(tmp_path):
  """From above the limit to half of it, and not a byte below the limit."""
  for i in range(10):
    path = tmp_path / str(i)
    path.write_bytes(bytes(10))
    os.utime(path, (1000 - i, 500))  # read last to first
  stamp = tmp_path / compilation_cache.STAMP
  compilation_cache.shrink(tmp_path, most_bytes=100)
  assert len(list(tmp_path.iterdir())) == 11  # with the stamp
  compilation_cache.shrink(tmp_path, most_bytes=99)
  assert len(list(tmp_path.iterdir())) == 11  # it was looked at just before
  os.utime(stamp, (0, 0))
  compilation_cache.shrink(tmp_path, most_bytes=99)
  assert sorted(p.name for p in tmp_path.iterdir()) == [*'0123', stamp.name]


def test_a_relative_cache_home_is_ignored(monkeypatch):
  """As the XDG Base Directory Specification says."""
  for given in ({}, {'XDG_CACHE_HOME': ''}, {'XDG_CACHE_HOME': 'here'}):
    folder = compilation_cache._user_folder(given)
    assert folder == pathlib.Path.home() / '.cache'
