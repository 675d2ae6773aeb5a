"""One worker a file, unless a test says better: compiled functions stay."""

import os

import pytest


def pytest_collection_modifyitems(items):
  for item in items:
    if not any(mark.name == 'xdist_group' for mark in item.iter_markers()):
      item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture(scope='session')
def data_folder():
  """Real data to try things on, where there are any."""
  folder = os.environ.get('SEQJAX_DATA')
  if not folder:
    pytest.skip('SEQJAX_DATA names no folder with data.')
  return folder
