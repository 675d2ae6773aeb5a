"""Reads a Config from the command line, and grids of them from text.

Flags are made inside `launch`, never at import: two experiments live in one
process.
"""

import contextlib
import csv
import dataclasses
import functools
import gc
import logging
import sys
import textwrap
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from absl import app
from absl import flags as absl_flags

from seqjax.errors import MOST_LISTED, Catalog, Note, unknown
from seqjax.experiment import compilation_cache, pipes
from seqjax.experiment.config import (
  SCALARS,
  check_fields,
  field_types,
  grid,
  validate,
  validate_options,
)

HELP = ('help', 'h', 'helpshort', 'helpfull')
NAMED = 3  # names that a help text gives of many
_HANGING = {
  'subsequent_indent': '    ',
  'break_long_words': False,
  'break_on_hyphens': False,
}
BAD_INPUT = 2  # the exit code of a command line that is refused


class Choice(NamedTuple):
  """A switch that takes a name of several; the first is its default."""

  help: str
  among: Catalog


class Text(NamedTuple):
  """A switch that takes any text but the empty one, which is its default."""

  help: str


@contextlib.contextmanager
def _collecting_less() -> Iterator[None]:
  """Looks for garbage less often, which takes memory of some megabytes.

  Tracing makes many objects that live on, and every look goes through them.
  """
  before = gc.get_threshold()
  gc.set_threshold(50_000, 20, 50)
  try:
    yield
  finally:
    gc.set_threshold(*before)


def _check_texts(switches, flags):
  """Raises ValueError for --name=, as of a shell's variable that is not set."""
  for name, switch in switches.items():
    empty = isinstance(switch, Text) and not flags[name].value
    if empty and flags[name].present:
      raise ValueError(
        f'--{name} takes a text, but nothing was given; leave it out for none.'
      )


def parse_grid(Config: type, text: str) -> list[Any]:
  """Returns the grid of 'mixer=lstm,gru;seed=0,1', validated; see `grid`.

  A value that holds a comma stands in double quotes, as in
  'lengths="64,256","512"'.
  """
  flags, lists = define_flags(Config), {}
  for part in filter(None, text.split(';')):
    name, _, values = part.partition('=')
    check_fields(Config, [name := name.strip()])
    if not values or name in lists:
      raise ValueError(
        'A grid is name=value,value;name=value with every name once, but got'
        f' {part!r}.'
      )
    (values,) = csv.reader([values])
    lists[name] = [_parse_value(flags[name], value) for value in values]
  configs = grid(Config, **lists)
  for config in configs:
    validate(config)
  return configs


def _parse_value(flag: absl_flags.Flag, text: str) -> Any:
  try:
    return flag.parser.parse(text.strip())
  except ValueError as error:
    raise ValueError(_illegal(flag.name, flag, text)) from error


def _illegal(name: str, flag: absl_flags.Flag, text: str) -> str:
  """Returns the message for a value that a flag cannot hold."""
  wanted = flag.parser.syntactic_help or 'true or false'
  return f'{name} takes {wanted}, but {text!r} was given.'


def define_flags(Config: type) -> absl_flags.FlagValues:
  """Returns a set of flags of their own, one for each field."""
  flags = absl_flags.FlagValues()
  for field in dataclasses.fields(Config):
    if 'help' not in field.metadata:
      raise ValueError(
        f'Fields of {Config.__name__} are made by option(default, help), but'
        f' {field.name!r} is not.'
      )
    _define_flag(flags, field, field_types(Config)[field.name])
  return flags


def arguments(config: Any) -> list[str]:
  """Returns the command line that describes a config, less its defaults."""
  flags = define_flags(type(config))
  given = []
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if repr(value) != repr(field.default):  # NaN is not equal to itself
      flags[field.name].value = value
      given.append(flags[field.name].serialize())
  return given


def from_flags(Config: type, flags: absl_flags.FlagValues) -> Any:
  """Returns the Config that parsed flags describe, validated."""
  fields = dataclasses.fields(Config)
  config = Config(**{field.name: flags[field.name].value for field in fields})
  validate_options(config)
  return config


def launch(
  Config: type,
  run: Callable[..., Any],
  workdir: str | None,
  argv: Sequence[str] | None = None,
  **switches: str | Choice | Text,
):
  """Parses the command line, calls `run(config, workdir)`, exits.

  A command line that is wrong is one sentence on stderr and exit code 2;
  exceptions of `run` propagate. --help prints the docstring of the module that
  `run` is from, and every option; --FIELD=help prints the names that a field
  may hold.

  The options of JAX's own configuration are taken, too, as in
  --jax_debug_nans; they are no part of the config.

  What is compiled is kept for the next time, as `compilation_cache.keep` says,
  and Python looks for garbage less often until `run` returns.

  A program whose output nobody reads any more, as in `program | head`, ends
  without a word.

  Args:
    Config: a frozen dataclass whose fields are made by `option`.
    run: called with the config, and with the workdir unless that is None.
    workdir: the default of the flag of that name; None: there is no such flag.
    argv: stands in for the command line, with the program first.
    **switches: help texts of further flags, which are on or off, choices, or
      texts. They are no part of the config, since they change nothing about the
      result. `run` is given them by name.
  """
  flags = define_flags(Config)
  choices = {k: v.among for k, v in switches.items() if isinstance(v, Choice)}
  for name, switch in switches.items():
    if name in choices:
      default, text = next(iter(switch.among)), switch.help
      text += _choices(name, switch.among)
      absl_flags.DEFINE_string(name, default, text, flag_values=flags)
    elif isinstance(switch, Text):
      absl_flags.DEFINE_string(name, '', switch.help, flag_values=flags)
    else:
      absl_flags.DEFINE_boolean(name, False, switch, flag_values=flags)
  if workdir is not None:
    absl_flags.DEFINE_string(
      'workdir', workdir, 'Folder of the run and its results.', flags
    )

  def parse(arguments):
    with refusals():
      if any(_name(argument) in HELP for argument in arguments[1:]):
        _print_help(flags, _program_text(run))
        sys.exit(0)
      _define_jax_flags()
      _read_flags(flags, arguments)
      jax.config.complete_absl_config(absl_flags)
      if workdir and not flags['workdir'].value:
        raise ValueError('--workdir names a folder, but nothing was given.')
      _check_texts(switches, flags)
      fields = dataclasses.fields(Config)
      among = {field.name: field.metadata['among'] for field in fields}
      _print_names(among | choices, flags)
      for name, names in choices.items():
        names[flags[name].value]  # raises UnknownName
      return from_flags(Config, flags)

  def main(config):
    # absl shows all that libraries tell, such as which backends there are not.
    logging.getLogger('jax').setLevel(logging.WARNING)
    compilation_cache.keep()
    chosen = {name: flags[name].value for name in switches}
    folder = [] if workdir is None else [flags['workdir'].value]
    with _notes(), _collecting_less():
      run(config, *folder, **chosen)

  with _installed(flags), pipes.ended_quietly():
    app.run(main, None if argv is None else list(argv), flags_parser=parse)


@functools.cache
def _define_jax_flags():
  """Defines a flag for each option of JAX's configuration, once."""
  jax.config.config_with_absl()


@contextlib.contextmanager
def _notes() -> Iterator[None]:
  """Prints a `Note` as one line on stderr, without the code that it is from."""
  with warnings.catch_warnings():
    others = warnings.showwarning

    def show(message, category, *where, **options):
      if issubclass(category, Note):
        print(f'Note: {message}', file=sys.stderr, flush=True)
      else:
        others(message, category, *where, **options)

    warnings.showwarning = show
    yield


@contextlib.contextmanager
def refusals() -> Iterator[None]:
  """Ends the process with one sentence and exit code 2 on a ValueError."""
  try:
    yield
  except (ValueError, absl_flags.Error) as error:
    sentence = ' '.join(str(error).removeprefix('ERROR:: ').split())
    print(f'{sentence.removesuffix(".")}.', file=sys.stderr)
    sys.exit(BAD_INPUT)


def _name(argument: str) -> str:
  """Returns the name of the option in '--name=value'; '' if it is none."""
  if not argument.startswith('-'):
    return ''
  return argument.lstrip('-').partition('=')[0]


def _read_flags(flags: absl_flags.FlagValues, arguments: Sequence[str]):
  """Parses the command line; ValueError for what no flag takes."""
  try:
    rest = absl_flags.FLAGS(arguments)
  except absl_flags.UnrecognizedFlagError as error:
    known = [f'--{name}' for name in flags]
    name = f'--{error.flagname}'
    raise ValueError(
      unknown('option', name, known, '--help lists them')
    ) from error
  except absl_flags.IllegalFlagValueError as error:
    raise ValueError(_illegal_value(flags, error)) from error
  if len(rest) > 1:
    raise ValueError(
      f'Options are written --name=value, but {rest[1]!r} is not.'
    )


def _illegal_value(flags: absl_flags.FlagValues, error: Exception) -> str:
  """Returns a sentence for absl's 'flag --NAME=VALUE: REASON'."""
  start, end = 'flag --', f': {error.__context__}'
  text = str(error)
  name, _, value = text.removeprefix(start).removesuffix(end).partition('=')
  if not text.startswith(start) or not text.endswith(end):
    return text
  known = flags if name in flags else absl_flags.FLAGS
  return _illegal(f'--{name}', known[name], value)


def _print_names(
  among: dict[str, Iterable[str] | None], flags: absl_flags.FlagValues
):
  """Prints what an option may hold and exits, where it was set to 'help'."""
  for name, names in among.items():
    if names is not None and flags[name].value in ('help', ('help',)):
      print(*names, sep='\n')
      sys.exit(0)


def _program_text(run: Callable[..., Any]) -> str:
  """Returns the docstring of the module that a function is from."""
  module = sys.modules.get(getattr(run, '__module__', ''))
  return getattr(module, '__doc__', None) or ''


def _print_help(flags: absl_flags.FlagValues, text: str):
  """Prints every option with its help text and its default."""
  lines = [textwrap.dedent(text).strip(), '', 'Options:']
  for name in flags:
    flag = flags[name]
    dashes = '--[no]' if flag.boolean else '--'
    lines += [
      textwrap.fill(f'  {dashes}{name}: {flag.help}', 78, **_HANGING),
      textwrap.fill(f'    (default: {flag.default_as_str})', 78, **_HANGING),
    ]
  lines += [
    '  --flagfile: Read options from this file, one per line.',
    "  --jax_...: JAX's own options, as in --jax_debug_nans.",
  ]
  print('\n'.join(lines))


@contextlib.contextmanager
def _installed(flags: absl_flags.FlagValues) -> Iterator[None]:
  """Puts flags among the program's own for a while."""
  absl_flags.FLAGS.append_flag_values(flags)
  try:
    yield
  finally:
    absl_flags.FLAGS.remove_flag_values(flags)


class _TupleParser(absl_flags.ArgumentParser):
  """Reads '64,256' as (64, 256)."""

  def __init__(self, item: type):
    self.item = item
    self.syntactic_help = f'a comma separated list of {item.__name__}'

  def parse(self, argument):
    if isinstance(argument, tuple):
      return argument
    parts = [part.strip() for part in argument.split(',')]
    return tuple(self.item(part) for part in parts if part)

  def flag_type(self):
    return f'comma separated list of {self.item.__name__}'


class _TupleSerializer(absl_flags.ArgumentSerializer):
  """Writes (64, 256) as '64,256'."""

  def serialize(self, value):
    return ','.join(str(item) for item in value)


_SCALAR_FLAGS = {
  bool: absl_flags.DEFINE_boolean,
  int: absl_flags.DEFINE_integer,
  float: absl_flags.DEFINE_float,
  str: absl_flags.DEFINE_string,
}


def _define_flag(flags, field, kind):
  text = field.metadata['help'] + _choices(field.name, field.metadata['among'])
  if kind in SCALARS:
    _SCALAR_FLAGS[kind](field.name, field.default, text, flag_values=flags)
  else:
    absl_flags.DEFINE(
      _TupleParser(typing.get_args(kind)[0]),
      field.name,
      field.default,
      text,
      flag_values=flags,
      serializer=_TupleSerializer(),
    )


def _choices(option: str, among: Iterable[str] | None) -> str:
  """Returns the end of a help text: the names, or a few of many."""
  if among is None:
    return ''
  names = list(map(str, among))
  if len(names) <= MOST_LISTED:
    return f' Choices: {", ".join(names)}.'
  return (
    f' {len(names)} choices, such as {", ".join(names[:NAMED])}; '
    f'--{option}=help lists them.'
  )
