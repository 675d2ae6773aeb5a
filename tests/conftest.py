"""One group a file, unless a test says better; groups share nothing."""

import gc

import jax
import pytest


def pytest_collection_modifyitems(items):
  for item in items:
    if not any(mark.name == 'xdist_group' for mark in item.iter_markers()):
      item.add_marker(pytest.mark.xdist_group(item.path.name))


def pytest_runtest_teardown(item, nextitem):
  """Forgets what a group compiled: collecting garbage walks all of it."""
  if nextitem is None or group(nextitem) != group(item):
    jax.clear_caches()
    gc.collect()


def group(item) -> str:
  return item.get_closest_marker('xdist_group').args[0]
