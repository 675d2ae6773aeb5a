"""A Config, its flags, its mistakes, its grids."""

import dataclasses
import json
import subprocess
import sys
import warnings

import pytest
from absl import flags as absl_flags

from seqjax import experiment
from seqjax.errors import Catalog, Note

CELLS = {'elman': 1, 'gru': 2, 'lstm': 3}


@dataclasses.dataclass(frozen=True)
class Config:
  cell: str = experiment.option('lstm', 'What moves along time.', among=CELLS)
  cells: tuple[str, ...] = experiment.option(('gru',), 'Rivals.', among=CELLS)
  lengths: tuple[int, ...] = experiment.option((64, 256), 'Positions.')
  rate: float = experiment.option(1e-3, 'Learning rate.')
  seed: int = experiment.option(0, 'Seeds everything.')
  fast: bool = experiment.option(False, 'Whether to hurry.')

  def __post_init__(self):
    if any(length < 1 for length in self.lengths):
      raise ValueError(f'Lengths are positive, but {self.lengths} were given.')


@dataclasses.dataclass(frozen=True)
class Other:
  seed: str = experiment.option('a', 'Another thing of the same name.')


def parse(Config, *arguments):
  flags = experiment.define_flags(Config)
  flags(['program', *arguments])
  return experiment.from_flags(Config, flags)


def test_no_flags_are_the_defaults():
  """from_flags after an empty command line is Config()."""
  assert parse(Config) == Config()


def test_every_kind_of_field_is_read_from_the_command_line():
  """Scalars and comma separated lists, an empty one included."""
  config = parse(
    Config,
    '--cell=gru',
    '--cells=elman, lstm',
    '--lengths=8,32',
    '--rate=1',
    '--seed=3',
    '--fast',
  )
  assert config == Config('gru', ('elman', 'lstm'), (8, 32), 1.0, 3, True)
  assert isinstance(config.rate, float)
  assert parse(Config, '--cells=').cells == ()


def test_a_config_is_written_as_a_command_line():
  """Less its defaults; what is read from it is the config."""
  config = Config(
    cell='gru', cells=('elman', 'gru'), lengths=(3,), rate=2e-05, fast=True
  )
  written = experiment.arguments(config)
  assert len(written) == 5 and parse(Config, *written) == config
  assert experiment.arguments(Config()) == []
  slow = dataclasses.replace(config, lengths=(), fast=False)
  assert parse(Config, *experiment.arguments(slow)) == slow


def test_two_experiments_live_in_one_process():
  """The same flag name means two things, and absl's own flags see neither."""
  assert parse(Config, '--seed=4').seed == 4
  assert parse(Other, '--seed=x').seed == 'x'
  assert 'seed' not in absl_flags.FLAGS


def test_a_value_that_cannot_be_read_names_its_flag():
  """Text among integers is an error of that flag."""
  with pytest.raises(absl_flags.IllegalFlagValueError, match='lengths.*8,x'):
    parse(Config, '--lengths=8,x')


@pytest.mark.parametrize('arguments', [{'cell': 'gruu'}, {'cells': ('gruu',)}])
def test_an_unknown_name_is_answered_by_the_nearest_known(arguments):
  """Did you mean, then all there are; in a tuple too."""
  with pytest.raises(ValueError, match="'gruu'. Did you mean 'gru'.*elman"):
    experiment.validate(Config(**arguments))


def test_validate_takes_the_names_that_a_run_was_given():
  """A notebook's own entry is allowed where its dict is, and only there."""
  config = Config(cell='mine')
  experiment.validate(config, cell={**CELLS, 'mine': 4})
  with pytest.raises(ValueError, match="Unknown cell 'mine'"):
    experiment.validate(config)
  with pytest.raises(ValueError, match="Did you mean 'cell'"):
    experiment.validate(config, cel=CELLS)


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    ('seed', 1.0),
    ('seed', True),
    ('rate', '1'),
    ('fast', 1),
    ('lengths', [64]),
    ('lengths', (64, 2.5)),
    ('cell', 3),
  ],
)
def test_a_wrong_type_is_told_with_its_value(name, value):
  """Neither Python nor absl checks the fields of a dataclass."""
  config = dataclasses.replace(Config(), **{name: value})
  with pytest.raises(
    ValueError, match=rf'Config needs {name} to be .* was given'
  ):
    experiment.validate(config)


def test_a_field_that_no_flag_could_hold_is_told():
  """Dicts are not options, and every option has a help text."""

  @dataclasses.dataclass
  class Bad:
    table: dict = experiment.option(None, 'A dict.')

  @dataclasses.dataclass
  class Bare:
    seed: int = 0

  with pytest.raises(ValueError, match='Bad.table is'):
    experiment.define_flags(Bad)
  with pytest.raises(ValueError, match="option.default, help.*'seed'"):
    experiment.define_flags(Bare)


def test_choose_is_a_dict_lookup_that_suggests():
  """For tasks, mixers, and whatever else has a name."""
  assert experiment.choose(CELLS, 'gru', 'cell') == 2
  with pytest.raises(ValueError, match="Unknown cell 'lsmt'. Did you mean"):
    experiment.choose(CELLS, 'lsmt', 'cell')
  with pytest.raises(ValueError, match="'zzz'. There are: elman, gru, lstm"):
    experiment.choose(CELLS, 'zzz', 'cell')


def test_a_folder_name_always_holds_mixer_and_task():
  """Other fields where they differ from their defaults."""

  @dataclasses.dataclass(frozen=True)
  class Cell:
    task: str = experiment.option('recall', 'Task.')
    mixer: str = experiment.option('lstm', 'Mixer.')
    seed: int = experiment.option(0, 'Seed.')

  assert experiment.folder_name(Cell()) == 'task=recall,mixer=lstm'
  assert experiment.folder_name(Cell(seed=1, mixer='gru')) == (
    'task=recall,mixer=gru,seed=1'
  )
  assert experiment.folder_name(Config()) == 'defaults'
  assert experiment.folder_name(Config(lengths=(8, 16))) == 'lengths=8+16'


@dataclasses.dataclass(frozen=True)
class Measured:
  """A config whose mixer is declared last, as one with a budget is."""

  steps: int = experiment.option(100, 'Updates.')
  work: str = experiment.option('training', 'Work.', named=True)
  mixer: str = experiment.option('lstm', 'Mixer.')


def test_a_folder_name_begins_with_the_mixer_and_what_is_measured():
  """At its default, too."""
  name = experiment.folder_name(Measured(steps=50))
  assert name == 'mixer=lstm,work=training,steps=50'


def test_a_folder_that_an_earlier_version_made_is_found(tmp_path):
  """Unless there is one with the name of today."""
  config = Measured(steps=50)
  today = tmp_path / experiment.folder_name(config)
  assert experiment.folder_in(tmp_path, config) == today
  (tmp_path / 'steps=50,mixer=lstm').mkdir()
  found = experiment.folder_in(tmp_path, config)
  assert found == tmp_path / 'steps=50,mixer=lstm'
  today.mkdir()
  assert experiment.folder_in(tmp_path, config) == today


def test_a_grid_is_the_product_in_the_order_given():
  """The last list varies fastest."""
  configs = experiment.grid(Config, seed=[1, 0], cell=['gru', 'lstm'])
  assert [(c.seed, c.cell) for c in configs] == [
    (1, 'gru'),
    (1, 'lstm'),
    (0, 'gru'),
    (0, 'lstm'),
  ]
  assert experiment.grid(Config) == [Config()]


def test_a_grid_refuses_unknown_fields_and_bare_values():
  """A string would be taken for a list of letters."""
  with pytest.raises(ValueError, match="Config 'sed'. Did you mean 'seed'"):
    experiment.grid(Config, sed=[1])
  with pytest.raises(ValueError, match=r"write cell=\['gru'\]"):
    experiment.grid(Config, cell='gru')
  with pytest.raises(ValueError, match=r'write seed=\[1\]'):
    experiment.grid(Config, seed=1)


def test_a_grid_is_read_from_text():
  """Values are those of the flags; quotes hold a comma together."""
  configs = experiment.parse_grid(Config, 'cell=gru,lstm; lengths="8,32",64')
  assert configs == experiment.grid(
    Config, cell=['gru', 'lstm'], lengths=[(8, 32), (64,)]
  )
  assert experiment.parse_grid(Config, 'fast=true') == [Config(fast=True)]
  assert experiment.parse_grid(Config, '') == [Config()]


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('sed=1', "Config 'sed'. Did you mean 'seed'"),
    ('seed', "got 'seed'"),
    ('seed=', "got 'seed='"),
    ('seed=1;seed=2', 'every name once'),
    ('seed=1,x', "seed takes an integer, but 'x'"),
    ('cell=gruu', "'gruu'. Did you mean 'gru'"),
  ],
)
def test_a_grid_in_text_is_checked(text, message):
  """Names, values, and that both are there."""
  with pytest.raises(ValueError, match=message):
    experiment.parse_grid(Config, text)


def test_a_config_survives_json():
  """from_dict(to_dict) is the identity, through text."""
  config = Config('gru', ('elman',), (8,), 0.1, 7, True)
  text = json.dumps(experiment.to_dict(config))
  assert experiment.from_dict(Config, json.loads(text)) == config
  assert experiment.from_dict(Config, {'seed': 7}) == Config(seed=7)


def test_from_dict_refuses_unknown_fields_and_wrong_types():
  """Old files and typos do not pass silently."""
  with pytest.raises(ValueError, match="'lenghts'. Did you mean 'lengths'"):
    experiment.from_dict(Config, {'lenghts': [1]})
  with pytest.raises(ValueError, match="seed to be a whole number, but '7'"):
    experiment.from_dict(Config, {'seed': '7'})


def launch(*arguments):
  """What run was called with, what was written, and the exit code."""
  calls = []
  with pytest.raises(SystemExit) as exit:
    experiment.launch(
      Config,
      lambda config, workdir: calls.append((config, workdir)),
      'runs/here',
      ['program', *arguments],
    )
  return calls, exit.value.code


def test_launch_calls_run_with_config_and_workdir():
  """Twice in one process, and absl's flags are as before."""
  assert launch('--seed=3') == ([(Config(seed=3), 'runs/here')], None)
  assert launch('--workdir=there') == ([(Config(), 'there')], None)
  assert 'seed' not in absl_flags.FLAGS


JAX_FLAGS = """
import dataclasses, sys
import jax
from seqjax import experiment

@dataclasses.dataclass(frozen=True)
class Config:
  seed: int = experiment.option(0, 'Seed.')

def run(config):
  print(config.seed, jax.config.jax_debug_nans, jax.config.jax_enable_x64)

experiment.launch(Config, run, None)
"""


def test_options_of_jax_are_set_and_no_part_of_the_config(tmp_path):
  """From the command line, or from a file of options."""
  (tmp_path / 'options').write_text('--jax_debug_nans\n--seed=3\n')
  for arguments in (['--jax_debug_nans', '--seed=3'], ['--flagfile=options']):
    said = subprocess.run(
      [sys.executable, '-c', JAX_FLAGS, *arguments],
      cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout == '3 True False\n'


def test_switches_are_no_part_of_the_config():
  """They are given to run by name, off unless asked for."""
  calls = []
  with pytest.raises(SystemExit):
    experiment.launch(
      Config,
      lambda config, workdir, **switches: calls.append((config, switches)),
      'runs/here',
      ['program', '--trace'],
      trace='Write a trace.',
      quiet='Print nothing.',
    )
  assert calls == [(Config(), {'trace': True, 'quiet': False})]


def test_a_switch_may_be_a_choice_of_names(capsys):
  """The first is its default; others are refused in a sentence."""
  calls = []
  shown = experiment.Choice('Where.', Catalog('place', {'none': 0, 'here': 1}))

  def call(*arguments):
    run = lambda config, where: calls.append(where)  # noqa: E731
    with pytest.raises(SystemExit) as exit:
      experiment.launch(Config, run, None, ['program', *arguments], where=shown)
    return exit.value.code or 0

  assert call() == call('--where=here') == call('--where=help') == 0
  assert calls == ['none', 'here']
  assert capsys.readouterr().out.split() == ['none', 'here']
  assert call('--where=her') == 2 and len(calls) == 2
  said = capsys.readouterr().err
  assert said.startswith("Unknown place 'her'. Did you mean 'here'?")


def test_a_switch_of_text_is_not_empty(capsys):
  """--only=$NUMBER of a script that set no number would run all cells."""
  calls = []

  def call(*arguments):
    run = lambda config, only: calls.append(only)  # noqa: E731
    text = experiment.Text('Which.')
    with pytest.raises(SystemExit) as exit:
      experiment.launch(Config, run, None, ['program', *arguments], only=text)
    return exit.value.code or 0

  assert call() == call('--only=3') == 0
  assert call('--only=') == 2 and calls == ['', '3']
  assert capsys.readouterr().err == (
    '--only takes a text, but nothing was given; leave it out for none.\n'
  )


@pytest.mark.parametrize(
  ('argument', 'sentence'),
  [
    ('--cell=gruu', "Unknown cell 'gruu'. Did you mean 'gru'?"),
    ('--lengths=0', 'Lengths are positive, but (0,) were given.'),
    ('256', "Options are written --name=value, but '256' is not."),
    ('--cell=GRU', "Unknown cell 'GRU'. Did you mean 'gru'? There are: "),
    ('--lenghts=1', "Unknown option '--lenghts'. Did you mean '--lengths'?"),
    ('--seed=x', "--seed takes an integer, but 'x' was given."),
    ('--rate=a: b', "--rate takes a number, but 'a: b' was given."),
    ('--lengths=8,x', "--lengths takes a comma separated list of int, but '8,"),
    ('--fast=maybe', "--fast takes true or false, but 'maybe' was given."),
    ('--seed', 'Missing value for flag --seed.'),
    ('--workdir=', '--workdir names a folder, but nothing was given.'),
    ('--flagfile=none', 'Unable to open flagfile: '),
    ('--jax_debug_nans=maybe', '--jax_debug_nans takes true or false, but '),
    ('--jax_debug_nan', "Unknown option '--jax_debug_nan'."),
  ],
)
def test_launch_turns_a_bad_config_into_a_sentence(argument, sentence, capsys):
  """One line on stderr, exit code 2, and run is not called."""
  assert launch(argument) == ([], 2)
  error = capsys.readouterr().err
  assert error.startswith(sentence) and error.count('\n') == 1


def test_a_field_with_many_names_lists_them_when_asked(capsys):
  """Neither its help text nor a message does."""
  many = [f'name{i}' for i in range(66)]

  @dataclasses.dataclass(frozen=True)
  class Many:
    name: str = experiment.option('name0', 'One of many.', among=many)

  text = experiment.define_flags(Many)['name'].help
  assert text == (
    'One of many. 66 choices, such as name0, name1, name2; --name=help lists '
    'them.'
  )
  with pytest.raises(SystemExit) as exit:
    experiment.launch(Many, print, 'here', ['program', '--name=help'])
  assert exit.value.code == 0 and capsys.readouterr().out.split() == many


def test_a_program_without_a_workdir_has_no_flag_of_that_name(capsys):
  """It is called with the config alone."""
  calls = []
  with pytest.raises(SystemExit):
    experiment.launch(Config, calls.append, None, ['program', '--seed=3'])
  assert calls == [Config(seed=3)]
  with pytest.raises(SystemExit) as exit:
    experiment.launch(Config, calls.append, None, ['program', '--workdir=x'])
  assert exit.value.code == 2 and len(calls) == 1


def test_what_run_raises_propagates():
  """Only a bad config is turned into a sentence."""

  def run(config, workdir):
    raise ValueError('of the run itself')

  with pytest.raises(ValueError, match='of the run itself'):
    experiment.launch(Config, run, 'here', ['program'])
  assert 'seed' not in absl_flags.FLAGS


PROGRAM = '''"""The question."""
import dataclasses
from seqjax import experiment
from seqjax.errors import Note

@dataclasses.dataclass(frozen=True)
class Config:
  cell: str = experiment.option('gru', 'What moves.', among=('gru', 'lstm'))
  lengths: tuple[int, ...] = experiment.option((8, 16), 'Positions.')
  fast: bool = experiment.option(False, 'Whether to hurry.')

if __name__ == '__main__':
  experiment.launch(Config, lambda *_: None, workdir='runs/question')
'''


def test_help_lists_every_field_with_text_and_default(tmp_path):
  """As a program, where absl decides what is the main module."""
  path = tmp_path / 'program.py'
  path.write_text(PROGRAM)
  shown = subprocess.run(
    [sys.executable, str(path), '--help'],
    capture_output=True,
    text=True,
    check=True,
  ).stdout
  for words in [
    'The question.',
    '--cell: What moves. Choices: gru, lstm.',
    "(default: 'gru')",
    '--lengths: Positions.',
    "(default: '8,16')",
    '--[no]fast: Whether to hurry.',
    '--workdir: Folder',
    "(default: 'runs/question')",
  ]:
    assert words in shown, shown


def test_a_grid_refuses_values_of_wrong_types():
  """In a sentence, before a Config's own checks compare them."""
  with pytest.raises(ValueError, match="'fast' was given"):
    experiment.grid(Config, rate=['fast'])


def test_a_folder_of_a_long_config_has_a_name_that_a_file_system_takes(
  tmp_path,
):
  """And of two that differ at their ends, two names."""

  @dataclasses.dataclass(frozen=True)
  class Long:
    mixers: tuple[str, ...] = experiment.option((), 'Names.')

  names = tuple(f'mixer_{i}' for i in range(60))
  first, second = Long(names), Long((*names[:-1], 'other'))
  folders = {experiment.folder_name(config) for config in (first, second)}
  assert len(folders) == 2
  for name in folders:
    (tmp_path / name).mkdir()


def test_a_note_is_one_line_on_stderr(capsys):
  """Without the place in the code that a warning has."""

  def run(config, workdir):
    warnings.simplefilter('default')
    warnings.warn('Training has seen what is scored.', Note, stacklevel=1)

  with pytest.raises(SystemExit):
    experiment.launch(Config, run, 'runs/here', ['program'])
  error = capsys.readouterr().err
  assert error == 'Note: Training has seen what is scored.\n'
