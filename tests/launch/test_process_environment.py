"""The variables that processes are started with."""

from seqjax.launch import process_environment


def test_what_the_user_set_is_appended_to_and_never_overwritten(monkeypatch):
  """A name that is given keeps its value."""
  environment = process_environment
  monkeypatch.setattr(environment.shutil, 'which', lambda name: None)
  monkeypatch.setattr(environment.platform, 'system', lambda: 'Linux')
  set_by_user = {
    'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=2',
    'XLA_FLAGS': '--xla_cpu_prefer_vector_width=256 --xla_foo=1',
  }
  found = environment.for_children(set_by_user)
  assert found['XLA_FLAGS'] == set_by_user['XLA_FLAGS']
  parts = found['GLIBC_TUNABLES'].split(':')
  assert parts[0] == 'glibc.malloc.hugetlb=2' and len(parts) == 4
  assert environment.for_children(found) == found
  monkeypatch.setattr(environment.platform, 'system', lambda: 'Darwin')
  assert environment.for_children({}) == {}
