"""Peak memory of calls whose memory is known, each in its own process."""

import os

import jax
import jax.numpy as jnp
import pytest

from seqjax.analysis import memory, timing

MIB = 2**20

CHILD = """
import jax
import jax.numpy as jnp

def matrix(mebibytes, kept):
  'An outer product; returned whole, or only its largest element.'
  a = jnp.ones((512, 1))
  b = jnp.ones((1, mebibytes * 512))
  outer = jax.jit(lambda a, b: a @ b if kept else jnp.max(jnp.sin(a @ b) @ b.T))
  compiled = outer.lower(a, b).compile()
  return lambda: compiled(a, b)

def broken():
  raise FileNotFoundError('no such weights')
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
  """The name of a module that only this test's processes can import."""
  (tmp_path / 'memory_child.py').write_text(CHILD)
  monkeypatch.syspath_prepend(tmp_path)
  return 'memory_child'


@pytest.mark.parametrize('kept', [True, False])
def test_a_known_array_takes_its_bytes(child, kept):
  """64 MiB, as an output and as a temporary that is gone at the end."""
  peak = timing.peak_memory(f'{child}:matrix', mebibytes=64, kept=kept)
  assert peak == pytest.approx(64 * MIB, rel=0.25)


def test_a_child_that_fails_says_why(child):
  """The parent's error ends with the child's own."""
  with pytest.raises(RuntimeError, match='no such weights'):
    memory.peak_memory(f'{child}:broken')


def test_a_child_has_a_limit_of_its_own(child):
  """A hanging child does not hang its parent."""
  with pytest.raises(RuntimeError, match='more than 0.1 s'):
    memory.peak_memory(f'{child}:matrix', timeout=0.1, mebibytes=1, kept=True)


def test_a_target_and_its_arguments_are_checked_before_a_process_starts():
  """A missing colon, and arguments that JSON cannot hold."""
  with pytest.raises(ValueError, match="'module:function'.*'matrix'"):
    memory.peak_memory('matrix')
  with pytest.raises(ValueError, match='JSON'):
    memory.peak_memory('child:matrix', x=jnp.ones(3))


@pytest.mark.skipif(
  not os.path.exists('/proc/self/status'), reason='Linux only'
)
def test_sampling_sees_what_the_kernel_does_not_tell():
  """Where the mark cannot be reset, a thread finds the same 64 MiB."""
  outer = jax.jit(lambda a, b: a @ b)
  a, b = jnp.ones((4096, 1)), jnp.ones((1, 4096))
  outer = outer.lower(a, b).compile()
  peak = memory._sampled_peak(lambda: outer(a, b))
  assert peak == pytest.approx(64 * MIB, rel=0.25)


@pytest.mark.parametrize('hidden', [None, 'text', 3.0])
def test_a_call_without_jax_arrays_cannot_be_measured(hidden):
  """Waiting on it would prove nothing."""
  with pytest.raises(RuntimeError, match='cannot be measured: it returns'):
    memory._finish(lambda: hidden)


def test_the_limits_of_control_groups_are_read_in_both_versions(
  tmp_path, monkeypatch
):
  """The limit may stand at any ancestor; 'max' is none."""
  for folder, name, limit in [
    ('memory', 'memory.limit_in_bytes', 7000),
    ('memory/a/b', 'memory.limit_in_bytes', 5000),
    ('a', 'memory.max', 3000),
    ('a/b', 'memory.max', 'max'),
  ]:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / name).write_text(f'{limit}\n')
  (tmp_path / 'cgroup').write_text('4:memory:/a/b\n3:cpu:/a\n0::/a/b\n')
  monkeypatch.setattr(memory, '_PROC', tmp_path)
  monkeypatch.setattr(memory, '_CGROUPS', tmp_path)
  assert sorted(memory._cgroup_limits()) == [3000, 5000, 7000]
  if jax.default_backend() == 'cpu':
    assert memory.available_memory() == 3000
