"""The code on the pages of docs/ runs, and the site is built from them."""

import dataclasses
import doctest
import html
import importlib
import inspect
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from seqjax import experiment
from seqjax.cli import build, export, train
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS
from seqjax.training import meshes

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / 'docs'
FIELDS = [field.name for field in dataclasses.fields(train.Config)]
# What the code of a page leaves behind: a name, and its shape.
RESULTS = {
  'index.md': ('y', (4, 100, 32)),
  'protocol.md': ('y', (2, 100, 32)),
  'nnx.md': ('y', (4, 100, 32)),
  'training.md': ('tokens', (2, 20)),
  'own_data.md': ('tokens', (60, 12)),
  'experiments.md': ('said', None),
  'weights.md': ('y', (2, 100, 32)),
}
# The doors that most users come through; each has an example in its docstring.
DOORS = (
  *('nn.catalog', 'nn.from_flax', 'ops.segments.from_lengths'),
  *('nn.from_torch', 'nn.to_flax_nnx', 'nn.RecurrentLayers'),
  *('nn.nnx', 'nn.nnx.from_linen', 'models.nnx'),
  *('models.model_for', 'models.generate', 'models.beam_search'),
  *('training.train', 'training.train_population', 'training.evaluate'),
  *('testing.assert_mixer_contract', 'testing.assert_task_contract'),
  *('analysis.timing.compare', 'cli.trained.load_run'),
  'analysis.communication.communication',
  *('cli.parameters.load_parameters', 'nn.mamba2_from_official'),
)
NOTEBOOK = json.loads((DOCS / 'intro.ipynb').read_text(encoding='utf-8'))
CELLS = [
  ''.join(cell['source'])
  for cell in NOTEBOOK['cells']
  if cell['cell_type'] == 'code'
]


def blocks_of(page: str) -> list[str]:
  text = (DOCS / page).read_text(encoding='utf-8')
  return re.findall(r'^```python\n(.*?)^```', text, re.M | re.S)


def test_every_page_with_code_is_tried():
  """The page of runs by a test of its own, which makes a run first."""
  pages = {page.name for page in DOCS.glob('*.md') if blocks_of(page.name)}
  assert pages == {*RESULTS, 'runs.md'}


@pytest.mark.filterwarnings('default::UserWarning')
@pytest.mark.parametrize('page', RESULTS)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
  """One block after another, as a reader would paste them."""
  if page == 'weights.md':
    pytest.importorskip('safetensors')
  monkeypatch.chdir(tmp_path)
  namespace = {'__name__': 'page'}
  for block in blocks_of(page):
    exec(compile(block, page, 'exec'), namespace)
  name, shape = RESULTS[page]
  assert shape is None or namespace[name].shape == shape
  if page == 'protocol.md':
    assert namespace['y_t'].shape == (4, 32)
    names = set(namespace['gradients']['params'])
    assert names == {'input', 'recurrent', 'bias'}
  if page == 'training.md':
    assert namespace['best'].shape == (2, 20)
  if page == 'weights.md':
    assert namespace['logits'].shape == (4, 10, 5)
    assert namespace['state_dict'][f'{namespace["prefix"]}D'].shape == (4,)
  if page == 'nnx.md':
    assert namespace['losses'][-1] < namespace['losses'][0]
    assert namespace['weights'].shape == (4, 2, 100, 100)
    assert namespace['logits'].shape[:2] == namespace['tokens'].shape
    given = namespace['restored'](namespace['x'])
    assert jnp.array_equal(given, namespace['layer'](namespace['x']))
  if page == 'experiments.md':
    assert 'mine' in (tmp_path / 'runs/mine/figure.svg').read_text()


@pytest.mark.parametrize('door', DOORS)
def test_the_example_of_a_docstring_runs(door, tmp_path, monkeypatch, capfd):
  """And prints what it says."""
  if door.startswith('cli.parameters'):
    pytest.importorskip('safetensors')
  monkeypatch.chdir(tmp_path)
  package, _, name = f'seqjax.{door}'.rpartition('.')
  found = getattr(importlib.import_module(package), name, None)
  if found is None:
    found = importlib.import_module(f'seqjax.{door}')
  examples = doctest.DocTestParser().get_doctest(
    inspect.getdoc(inspect.unwrap(found)), {}, door, None, None
  )
  runner = doctest.DocTestRunner()
  runner.run(examples)
  assert runner.tries >= 2, door
  assert not runner.failures, capfd.readouterr().out


def test_every_command_that_trains_is_a_config():
  """Names and types are checked, in the table of scores too; none is run."""
  text = (DOCS / 'training.md').read_text(encoding='utf-8')
  text += (ROOT / 'README.md').read_text(encoding='utf-8')
  commands = re.findall(r'`(--task=[^`]+)`', text)
  commands += re.findall(r'seqjax-train (--task=.*)', text)
  assert len(commands) >= 8
  for command in commands:
    flags = experiment.define_flags(train.Config)
    options = [x for x in command.split() if '--workdir=' not in x]
    flags(['train.py', *options])
    config = experiment.from_flags(train.Config, flags)
    if 'text' not in config.task:
      build.make(config)


def test_every_mesh_of_a_command_divides_its_batches():
  """On the page of several devices; what devices there are is not asked."""
  text = (DOCS / 'scale.md').read_text(encoding='utf-8').replace('\\\n', ' ')
  commands = re.findall(r'seqjax-train (--task=.*--mesh=.*)', text)
  commands = [command for command in commands if '--task=text' not in command]
  assert len(commands) >= 2
  for command in commands:
    given = [x for x in command.split() if x.startswith('--')]
    config = {x for x in given if x[2:].split('=')[0] in FIELDS}
    flags = experiment.define_flags(train.Config)
    flags(['train.py', *config])
    config = experiment.from_flags(train.Config, flags)
    axes = re.findall(r'(\w+):(\d+)', command.split('--mesh=')[1].split()[0])
    devices = np.full([int(size) for _, size in axes], jax.devices()[0])
    mesh = Mesh(devices, [name for name, _ in axes])
    task, _ = build.make(config)
    meshes.check(mesh, config.batch_size, build.num_positions(task))


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  """The folder of the site, built from every page and docstring."""
  pytest.importorskip('mkdocs', reason="pip install '.[docs]' builds the site")
  site = tmp_path_factory.mktemp('site')
  called = subprocess.run(
    [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', site],
    cwd=ROOT, capture_output=True, text=True,
    env=os.environ | {'NO_MKDOCS_2_WARNING': '1'},
  )  # fmt: skip
  assert called.returncode == 0, called.stderr
  assert 'WARNING' not in called.stderr
  return site


def test_the_site_is_built_without_a_warning(site):
  """Every page, link and docstring that the pages name."""
  for page in DOCS.glob('*.md'):
    assert (site / page.with_suffix('.html').name).is_file()
  api = (site / 'api.html').read_text(encoding='utf-8')
  names = ('LSTM', 'Mamba2', 'beam_search', 'assert_mixer_contract')
  names += 'train_population', 'to_linen', 'models.nnx.from_linen'
  for name in names:
    assert f'>{name}<' in api or f'.{name}"' in api, name


def test_every_name_of_the_api_page_is_shown(site):
  """Those that `members` lists, where a module has the same name, too."""
  listed = re.findall(
    r'^::: ([\w.]+)\n    options:\n      members: \[(.*)\]$',
    (DOCS / 'api.md').read_text(encoding='utf-8'),
    re.M,
  )
  names = {f'{owner}.{n}' for owner, each in listed for n in each.split(', ')}
  assert {'seqjax.cli.trained.load_run', 'seqjax.results.curves'} <= names
  assert {f'seqjax.tasks.{n}' for n in ('Task', 'ArrayTask')} <= names
  shown = (site / 'api.html').read_text(encoding='utf-8')
  anchors = set(re.findall(r'<h\d id="([\w.]+)"', shown))
  assert names - anchors == set()


@pytest.mark.parametrize('name', MIXERS | NONCAUSAL_MIXERS)
def test_the_api_page_shows_how_a_mixer_is_made(site, name):
  """Its options in their order, with the defaults of the source."""
  made = (MIXERS | NONCAUSAL_MIXERS)[name]
  page = (site / 'api.html').read_text(encoding='utf-8')
  start = page.index(f'<h3 id="{made.__module__}"')
  start = page.index(f'id="{made.__module__}.{made.__qualname__}"', start)
  block = page[page.index('<pre', start) : page.index('</pre>', start)]
  text = ' '.join(html.unescape(re.sub('<[^>]+>', '', block)).split())
  assert text.startswith(f'{made.__name__}( features: int, context:'), text
  wanted = [
    p
    for p in inspect.signature(made).parameters.values()
    if p.name not in ('parent', 'name')
  ]
  assert re.findall(r'(\w+): ', text) == [p.name for p in wanted]
  for p in wanted[1:]:
    shown = re.search(rf'\b{p.name}: [^=]* = (.*?),(?= \w+: | \))', text)[1]
    assert eval(shown, {'jnp': jnp, 'math': math}) == p.default, p.name


def test_the_notebook_was_run_from_top_to_bottom():
  """Its outputs are those of one run, without an error or a machine's paths."""
  cells = [cell for cell in NOTEBOOK['cells'] if cell['cell_type'] == 'code']
  counts = [cell['execution_count'] for cell in cells]
  assert counts == list(range(1, len(cells) + 1))
  outputs = json.dumps([cell['outputs'] for cell in cells])
  assert '"error"' not in outputs and '/tmp' not in outputs
  assert outputs.count('image/png') == 2 and '2.4a' in outputs


@pytest.mark.slow
@pytest.mark.filterwarnings('default::UserWarning')
def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
  """In three minutes at most."""
  matplotlib = pytest.importorskip('matplotlib')
  matplotlib.use('Agg')
  monkeypatch.chdir(tmp_path)
  namespace, began = {'__name__': 'notebook'}, time.monotonic()
  for cell in CELLS:
    exec(compile(cell, 'intro.ipynb', 'exec'), namespace)
  assert time.monotonic() - began < 180
  assert namespace['losses'][-1][1] < 0.1
  assert '2.4a' in capsys.readouterr().out


def test_the_page_of_runs_runs(tmp_path, monkeypatch, capsys):
  """On a run that is made as it says, block after block."""
  pytest.importorskip('safetensors')
  pytest.importorskip('matplotlib')
  monkeypatch.chdir(tmp_path)
  config = train.Config(
    features=8, layers=1, steps=4, log_every=2, batch_size=4
  )
  train.run(config, 'runs/train')
  export.run(export.Config(to='model.safetensors'), 'runs/train')
  namespace = {}
  for block in blocks_of('runs.md'):
    exec(compile(block, 'runs.md', 'exec'), namespace)
  assert len(blocks_of('runs.md')) == 4
  assert namespace['logits'].shape[0] == 8
  assert (tmp_path / 'curves.svg').exists()
  assert namespace['rows'][0]['run'] == 'train'
  assert str(int(namespace['state']['step'])) in capsys.readouterr().out


def test_the_page_of_runs_names_every_file_of_a_run(tmp_path):
  """And none that there is not."""
  text = (DOCS / 'runs.md').read_text(encoding='utf-8')
  named = set(re.findall(r'^\| `([\w.]+)', text, re.M))
  assert named == {
    'config.json', 'metrics.jsonl', 'summary.json', 'evaluation.json',
    'fitted.json', 'checkpoints', 'failed.json', 'lock.json', 'tracked.json',
  }  # fmt: skip
