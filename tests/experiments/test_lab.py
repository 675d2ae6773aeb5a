"""All experiments together: every claim is judged in one place."""

import collections
import dataclasses
import importlib
import importlib.util
import re
import shlex
import types
from xml.etree import ElementTree

import pytest

from experiments import axes, drawing, folders, headline
from experiments import command as experiments_command
from experiments.recall import sweep
from seqjax import experiment
from seqjax.analysis.verdicts import UNDECIDED, Verdict
from seqjax.errors import Importable
from seqjax.nn import MIXERS, NONCAUSAL_MIXERS
from seqjax.results import labels, plotting, table
from tests.experiments import test_command as command_tests

IDS = {
  f'{text}.{number}'
  for text, last in enumerate((18, 16, 9))
  for number in range(1, last + 1)
}

FIGURES = [*sorted(folders.ROOT.glob('*/figure.svg')), headline.PATH]


def whole(id: str) -> str:
  """Returns the number of a claim, given that of one of its parts."""
  return id.rstrip('abcdefgh')


def test_every_claim_is_judged_by_one_experiment():
  """43 claims, each with all of its parts in one folder."""
  judges = collections.defaultdict(set)
  for name in folders.names():
    for id in folders.find(name).claims:
      judges[whole(id)].add(name)
  assert set(judges) == IDS and len(IDS) == 43
  assert {id: names for id, names in judges.items() if len(names) > 1} == {}


@pytest.mark.parametrize('name', folders.names())
def test_a_claim_is_a_sentence_with_a_rule(name):
  """Both end with a full stop, and the rule says when it is decided."""
  for id, claim in folders.find(name).claims.items():
    for said in claim:
      assert said[0].isupper() and said.endswith('.'), (id, said)
      assert '  ' not in said, (id, said)


@pytest.mark.parametrize('name', folders.names())
def test_what_is_undecided_names_a_command_that_runs_more(name):
  """Its experiment and options exist, and its cells are not those measured."""
  found = folders.find(name)
  path = found.folder / 'results.csv'
  for verdict in found.verdicts(table.read(path)) if path.is_file() else []:
    if verdict.verdict != UNDECIDED:
      continue
    commands = folders.commands_in(verdict.sentence)
    assert commands, verdict.id
    for command in commands:
      _, _, module, *options = shlex.split(command)
      named = folders.find(module.removeprefix('experiments.'))
      Options = experiments_command.options(named, 'full')
      flags = experiment.define_flags(Options)
      flags(['x', *options])
      given = dataclasses.asdict(experiment.from_flags(Options, flags))
      del given['preset']
      longer = axes.cells(named, **given)
      measured = axes.cells(named, **named.axes('full'))
      assert set(longer) - set(measured), command


def test_commands_are_read_off_a_sentence():
  """As a shell would read them, without the full stop after them."""
  commands = [
    'python -m experiments.recall --preset=full --mixers=lstm,gru --seeds=33',
    'python -m experiments.exact',
    "python -m experiments.recall --mixers='attention (ALiBi)' --lag=8",
    'python -m experiments.card --mixers=my.mod:MyMixer',
    'python -m experiments.recall.main --mixer=lstm',
  ]
  sentence = f'It is open: {"; ".join(commands)}.'
  assert folders.commands_in(sentence) == commands
  assert folders.commands_in('It is open.') == []


@pytest.mark.parametrize(
  'given, options',
  [
    ({'seeds': 5}, ''),
    ({'seeds': 5, 'more': '--lag=8'}, ''),
    ({}, ''),
    ({'seeds': 11}, ' --seeds=33'),
    ({'seeds': 50}, ' --seeds=150'),
    ({'seeds': 11, 'more': '--lag=8'}, ' --lag=8'),
    ({'more': '--lag=8'}, ' --lag=8'),
    ({'seeds': 11, 'sentence': 'lstm is learnt by 3 of 11.'}, ' --steps=9000'),
  ],
)
def test_a_command_that_may_decide_has_more_than_was_run(
  given, options, monkeypatch
):
  """The preset; or more seeds, updates, or what the claim says."""
  found = folders.find('recall')
  open_ = Verdict('2.2b', UNDECIDED, **{'sentence': 'It is open.'} | given)
  claims = types.SimpleNamespace(verdicts=lambda rows: [open_])
  monkeypatch.setattr(found, '_module', lambda *_, **__: claims)
  monkeypatch.setattr(type(found), 'presets', {'full': sweep.FULL})
  (verdict,) = found.verdicts([{'device': 'cpu', 'steps': 3000}])
  command = f'python -m experiments.recall --preset=full{options}.'
  assert verdict.sentence == f'{open_.sentence} This may decide it: {command}'


@pytest.mark.parametrize(
  'presets, seeds, options',
  [
    ({'quick': {'seeds': 5}}, 2, '--preset=quick'),
    ({'quick': {'seeds': 5}}, 5, '--preset=quick --seeds=15'),
    ({'first': {'seeds': 2}, 'gpu': {}}, 2, '--preset=first --seeds=5'),
    ({'first': {}, 'quick': {'seeds': 2}}, 3, '--preset=quick --seeds=5'),
    ({'quick': {}}, 5, ''),
    ({'benchmark': {}}, None, '--preset=benchmark'),
  ],
)
def test_a_command_names_a_preset_that_there_is(
  presets, seeds, options, monkeypatch
):
  """And as many seeds as a verdict needs; nothing, where nothing is longer."""
  found = folders.find('recall')
  open_ = Verdict('2.2b', UNDECIDED, sentence='It is open.', seeds=seeds)
  claims = types.SimpleNamespace(verdicts=lambda rows: [open_])
  monkeypatch.setattr(found, '_module', lambda *_, **__: claims)
  monkeypatch.setattr(type(found), 'presets', presets)
  (verdict,) = found.verdicts([{'device': 'cpu'}])
  command = f'python -m experiments.recall {options}'
  assert folders.commands_in(verdict.sentence) == ([command] if options else [])


ROOT = folders.ROOT.parent
PAGES = [
  ROOT / 'README.md',
  *ROOT.glob('docs/*.md'),
  *folders.ROOT.glob('*.py'),
  *folders.ROOT.glob('*/*.py'),
  *folders.ROOT.glob('*/*.md'),
]
OWN = re.compile(r'my_package\.my_module:\w+')  # stands for one that there is


@pytest.mark.parametrize(
  'path', PAGES, ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_command_that_a_page_names_is_one_that_there_is(path):
  """Its module, its options and their values, and the cells of its axes."""
  text = OWN.sub(f'{command_tests.__name__}:windowed', path.read_text('utf-8'))
  for command in folders.commands_in(text):
    _, _, module, *options = shlex.split(command)
    if module.endswith('.NAME') or any(o.endswith('=help') for o in options):
      continue
    if importlib.util.find_spec(module).submodule_search_locations is None:
      Config = getattr(importlib.import_module(module), 'Config', None)
      assert Config or not options, command
    else:
      named = folders.find(module.removeprefix('experiments.'))
      preset = [o for o in options if o.startswith('--preset=')]
      Config = experiments_command.options(
        named,
        preset[0].removeprefix('--preset=')
        if preset
        else experiments_command.default_preset(named),
      )
    if not options:
      continue
    flags = experiment.define_flags(Config)
    flags(['x', *(o for o in options if not o.startswith('--workdir='))])
    config = experiment.from_flags(Config, flags)
    if Config.__name__ == 'Options':
      given = dataclasses.asdict(config)
      del given['preset']
      assert axes.cells(named, **given), command


@pytest.mark.parametrize('name', folders.names())
def test_every_experiment_on_mixers_takes_those_of_a_module(name):
  """Named by module:name; peers compares whole libraries."""
  fields = dataclasses.fields(folders.find(name).main.Config)
  for field in fields:
    if field.name in ('mixer', 'mixers'):
      among = field.metadata['among']
      assert isinstance(among, Importable), field.name
      assert f'{command_tests.__name__}:windowed' in among


def test_a_name_looks_the_same_in_every_figure():
  """No experiment draws a mixer, or a variant of several, as it likes."""
  drawn = {}
  for name in folders.names():
    plot = importlib.import_module(f'experiments.{name}.plot')
    looks = getattr(plot, 'LOOKS', {})
    assert len(set(looks.values())) == len(looks), name
    for label, look in looks.items():
      assert drawn.setdefault(label, look) == look, (name, label)
  mixers = {n: plotting.style(n) for n in MIXERS | NONCAUSAL_MIXERS}
  assert not set(drawn) & set(mixers)
  owners = {}
  for label, look in (mixers | drawn).items():
    name = label if isinstance(label, str) else 'gru'  # the one of capacity
    assert owners.setdefault(look, name) == name, (label, owners[look])


def family(label: str) -> str:
  """Returns what is common to a mixer's label and those of its variants."""
  return re.sub(r'^\w+-grams?', 'grams', re.split(r'[ ,:]', label)[0])


@pytest.mark.parametrize('path', FIGURES, ids=lambda path: path.parent.name)
def test_a_colour_means_one_mixer_and_its_variants_in_a_figure(path):
  """In all of its panels."""
  families, found = {}, ElementTree.parse(path).iter(f'{drawing._SVG}text')
  for text in found:
    if text.get('id') == labels.END:
      (color,) = re.findall(r'fill: (#\w+)', text.get('style'))
      families.setdefault(color, set()).add(family(text.text))
  assert all(len(names) == 1 for names in families.values()), families
