"""Tables of Flax name the parts of a mixer, and no helper of it."""

import re

import jax
import jax.numpy as jnp
import pytest

from seqjax.nn import MIXERS, NONCAUSAL_MIXERS


@pytest.mark.parametrize('name', MIXERS | NONCAUSAL_MIXERS)
def test_tables_have_rows_for_modules_alone(name):
  """Every row is a path of the parameters; methods of its own have none."""
  mixer, x = (MIXERS | NONCAUSAL_MIXERS)[name](8, 16), jnp.ones((1, 3, 8))
  table = mixer.tabulate(
    jax.random.key(0), x, console_kwargs={'width': 300, 'force_terminal': False}
  )
  variables = jax.eval_shape(mixer.init, jax.random.key(0), x)
  paths = {
    '/'.join(str(entry.key) for entry in path[1:-1])
    for path, _ in jax.tree_util.tree_leaves_with_path(variables)
  }
  rows = re.findall(r'^│ ([\w/]*) +│', table, flags=re.MULTILINE)
  assert set(rows) - {''} <= paths | {p.split('/')[0] for p in paths}, rows
