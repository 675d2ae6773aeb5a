"""The page on one's own data: its code runs, its options are taken."""

import pathlib
import re
import shlex

import jax
import pytest

from seqjax import experiment
from seqjax.cli import build, train_config
from seqjax.tasks import TASKS

PAGE = pathlib.Path(__file__).parent.parent.parent / 'docs' / 'own_data.md'
TEXT = PAGE.read_text('utf-8')
OPTIONS = re.findall(r'`--task=(\w+) --task_options=([^`]+)`', TEXT)


def test_the_code_of_the_page_runs():
  """Block after block, as in one notebook."""
  names = {}
  for block in re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL):
    exec(block, names)
    batch = names['task'].batch(jax.random.key(0), 0, 4)
    assert batch.inputs.shape == (4, 12) and batch.targets.shape == (4,)


@pytest.mark.parametrize('name, options', OPTIONS)
def test_the_options_of_the_page_make_tasks(name, options):
  """Whole options in quotes are the shell's."""
  if options[0] in ('"', "'"):
    options = options[1:-1]
  TASKS[name](**build.parse_options(options, TASKS[name], 'task'))
  assert len(OPTIONS) == 5


def test_the_flags_of_the_page_are_those_of_training():
  """Names and types, without reading anything."""
  commands = re.findall(r'`(--task=\w+ --corpus=[^`]+)`', TEXT)
  assert len(commands) == 4
  for command in commands:
    flags = experiment.define_flags(train_config.Config)
    flags(['train.py', *shlex.split(command)])
    config = experiment.from_flags(train_config.Config, flags)
    assert config.corpus and config.task.startswith('text')
    assert config.include == ('*.py' if 'project' in command else '')
