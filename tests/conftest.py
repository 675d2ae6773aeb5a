"""What runs on one worker: a file; of the contracts, each for itself."""

import gc

import jax
import pytest


def unit(nodeid: str) -> str:
  """Tests of one unit share what they compile, and units share nothing."""
  file, _, _ = nodeid.partition('::')
  return nodeid if file.endswith('test_contract.py') else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  """Of xdist, whose own groups not every version of pytest can form."""
  from xdist.scheduler import LoadScopeScheduling

  class Units(LoadScopeScheduling):
    def _split_scope(self, nodeid):
      return unit(nodeid)

  return Units(config, log)


def pytest_runtest_teardown(item, nextitem):
  """Forgets what a unit compiled: collecting garbage walks all of it."""
  if nextitem is None or unit(nextitem.nodeid) != unit(item.nodeid):
    jax.clear_caches()
    gc.collect()
