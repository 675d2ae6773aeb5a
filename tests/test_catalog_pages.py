"""Pages made from the catalogues say what the catalogues say."""

import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import pytest

from scripts import write_catalog
from seqjax.nn import MIXERS
from seqjax.nn import catalog as mixers
from seqjax.tasks import TASKS
from seqjax.tasks import overview as tasks

ROOT = pathlib.Path(__file__).parent.parent
LENGTH = 256


@pytest.mark.parametrize('mark', write_catalog.TABLES)
def test_tables_of_pages_are_the_catalogues(mark):
  """To the letter; `scripts/write_catalog.py` writes them."""
  name, content = write_catalog.TABLES[mark]
  page = (ROOT / 'docs' / name).read_text()
  assert write_catalog.between(page, mark, content()) == page


def test_the_page_of_tasks_is_the_catalogue():
  """docs/tasks.md, to the letter."""
  page = (ROOT / 'docs' / 'tasks.md').read_text()
  assert write_catalog.tasks_page() == page
  header, *rows = tasks.table()
  assert len(rows) == len(TASKS) and header[-1] == 'source'
  assert all(cell for row in rows for cell in row)


def longest_loop(jaxpr) -> int:
  """The most steps that one loop inside takes one after the other."""
  longest = 0
  for equation in jaxpr.eqns:
    inner = [
      longest_loop(value.jaxpr if hasattr(value, 'jaxpr') else value)
      for parameter in equation.params.values()
      for value in (
        parameter if isinstance(parameter, tuple | list) else (parameter,)
      )
      if hasattr(value, 'eqns') or hasattr(value, 'jaxpr')
    ]
    steps = equation.params.get('length', 1)
    assert equation.primitive.name != 'while' or not inner or max(inner) < 2
    longest = max([longest, steps * max([1, *inner])])
  return longest


@pytest.mark.parametrize('name', MIXERS)
def test_parallel_over_time_means_fewer_steps_than_positions(name, monkeypatch):
  """By the algorithm for parallel hardware; the others take one a position."""
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  mixer = MIXERS[name](8, 16)
  x = jnp.zeros((1, LENGTH, 8))
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)
  traced = jax.make_jaxpr(mixer.apply)(variables, x)
  if mixers.CAUSAL[name].parallel == 'yes':
    assert longest_loop(traced.jaxpr) < LENGTH / 4
  else:
    assert longest_loop(traced.jaxpr) >= LENGTH


def test_every_section_has_its_drawing():
  """A task without an example tells nobody what it asks."""
  page = tasks.markdown()
  sections = re.split(r'^## ', page, flags=re.MULTILINE)[1:]
  bare = {s.split('\n')[0] for s in sections if '```' not in s}
  assert not bare
  assert 'tensorflow' not in sys.modules
