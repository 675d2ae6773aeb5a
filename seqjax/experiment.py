"""A frozen dataclass <-> absl flags: the knobs of an experiment, and grids.

    @dataclasses.dataclass(frozen=True)
    class Config:
      mixer: str = option('lstm', 'What moves along time.', among=MIXERS)
      lengths: tuple[int, ...] = option((64, 256), 'Positions in a sequence.')

    if __name__ == '__main__':
      experiment.launch(Config, run, workdir='runs/question')

A field is a bool, int, float or str, or a tuple of int, float or str
(`tuple[int, ...]`), which the command line takes as a comma separated list.
Flags are made inside `launch`, never at import: two experiments live in one
process.
"""

import contextlib
import csv
import dataclasses
import itertools
import logging
import re
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from absl import app
from absl import flags as absl_flags

from seqjax.errors import Catalog, UnknownName, unknown

_SCALARS = (bool, int, float, str)
_ITEMS = (int, float, str)


def option(default: Any, help: str, among: Iterable[str] | None = None) -> Any:
  """A field of a Config: its default, one line of help, the names it may hold.

  `among` (a dict of mixers, say) is held as it is, so that a name added to the
  dict later is allowed too.
  """
  return dataclasses.field(
    default=default, metadata={'help': help, 'among': among}
  )


def choose(mapping: Mapping[str, Any], name: str, what: str) -> Any:
  """Returns mapping[name]; an unknown name is a ValueError with a suggestion.

  `what` is the kind of thing that has names: 'mixer', 'task'.
  """
  return Catalog(what, mapping)[name]


def validate(config: Any, **among: Iterable[str]):
  """Raises ValueError where a field has a wrong type or an unknown name.

  `among` replaces what the fields allow: a `run` that is handed its own dict of
  mixers says `validate(config, mixer=mixers)`.
  """
  kinds = _kinds(type(config))
  _check_fields(type(config), among)
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    _check_type(type(config), field.name, kinds[field.name], value)
    allowed = among.get(field.name, field.metadata.get('among'))
    if allowed is not None:
      for name in value if isinstance(value, tuple) else (value,):
        if name not in allowed:
          what = allowed.what if isinstance(allowed, Catalog) else field.name
          raise UnknownName(unknown(what, name, allowed))


def grid(Config: type, **lists: Any) -> list[Any]:
  """A Config for every combination; the field named last varies fastest."""
  _check_fields(Config, lists)
  for name, values in lists.items():
    if isinstance(values, str) or not isinstance(values, Iterable):
      raise ValueError(
        f'A grid takes a list of values for each field; write'
        f' {name}=[{values!r}] instead of {name}={values!r}.'
      )
  return [
    Config(**dict(zip(lists, values, strict=True)))
    for values in itertools.product(*lists.values())
  ]


def parse_grid(Config: type, text: str) -> list[Any]:
  """The grid that 'mixer=lstm,gru;seed=0,1' describes, validated; see `grid`.

  A value that holds a comma stands in double quotes, as in
  'lengths="64,256","512"'.
  """
  flags, lists = define_flags(Config), {}
  for part in filter(None, text.split(';')):
    name, _, values = part.partition('=')
    _check_fields(Config, [name := name.strip()])
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
    raise ValueError(
      f'{flag.name} takes {flag.parser.syntactic_help}, but {text!r} was given.'
    ) from error


def to_dict(config: Any) -> dict[str, Any]:
  """The fields as JSON holds them: tuples become lists."""
  values = dataclasses.asdict(config)
  return {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in values.items()
  }


def folder_name(config: Any) -> str:
  """A folder for the run: the fields that are not at their defaults."""
  parts = [
    f'{field.name}={_folder_value(getattr(config, field.name))}'
    for field in dataclasses.fields(config)
    if getattr(config, field.name) != field.default
  ]
  return ','.join(parts) or 'defaults'


def _folder_value(value: Any) -> str:
  """A value as part of a file name: no separators, no spaces."""
  if isinstance(value, tuple):
    return '+'.join(_folder_value(item) for item in value)
  return re.sub(r'[^\w.+-]', '_', str(value))


def from_dict(Config: type, mapping: Mapping[str, Any]) -> Any:
  """The Config with these fields and defaults elsewhere; undoes `to_dict`."""
  kinds = _kinds(Config)
  _check_fields(Config, mapping)
  values = {}
  for name, value in mapping.items():
    values[name] = tuple(value) if isinstance(value, list) else value
    _check_type(Config, name, kinds[name], values[name])
  return Config(**values)


def define_flags(Config: type) -> absl_flags.FlagValues:
  """One absl flag a field, in a set of their own."""
  flags = absl_flags.FlagValues()
  for field in dataclasses.fields(Config):
    if 'help' not in field.metadata:
      raise ValueError(
        f'Fields of {Config.__name__} are made by option(default, help), but'
        f' {field.name!r} is not.'
      )
    _define_flag(flags, field, _kinds(Config)[field.name])
  return flags


def from_flags(Config: type, flags: absl_flags.FlagValues) -> Any:
  """The Config that parsed flags describe, validated."""
  fields = dataclasses.fields(Config)
  config = Config(**{field.name: flags[field.name].value for field in fields})
  validate(config)
  return config


def launch(
  Config: type,
  run: Callable[[Any, str], Any],
  workdir: str,
  argv: Sequence[str] | None = None,
  **switches: str,
):
  """Parses the command line, calls `run(config, workdir)`, exits.

  `workdir` is the default of the flag of that name; `argv`, with the program
  first, stands in for the command line. A bad config is one sentence on stderr
  and exit code 2; exceptions of `run` propagate. `switches` (a help text each)
  are flags that are on or off and no part of the config: what changes nothing
  about the result. `run` is given them by name.
  """
  flags = define_flags(Config)
  for name, text in switches.items():
    absl_flags.DEFINE_boolean(name, False, text, flag_values=flags)
  absl_flags.DEFINE_string(
    'workdir', workdir, 'Folder that the run is written to.', flags
  )

  def main(arguments):
    try:
      if len(arguments) > 1:
        raise ValueError(
          f'Options are written --name=value, but {arguments[1]!r} is not.'
        )
      config = from_flags(Config, flags)
    except ValueError as error:
      print(error, file=sys.stderr)
      sys.exit(2)
    # absl shows all that libraries tell, such as which backends there are not.
    logging.getLogger('jax._src.xla_bridge').setLevel(logging.WARNING)
    chosen = {name: flags[name].value for name in switches}
    run(config, flags['workdir'].value, **chosen)

  with _installed(flags):
    app.run(main, None if argv is None else list(argv))


@contextlib.contextmanager
def _installed(flags: absl_flags.FlagValues) -> Iterator[None]:
  """Puts flags among the program's own, which --help lists, for a while."""
  absl_flags.FLAGS.append_flag_values(flags)
  for name in flags:
    absl_flags.FLAGS.register_flag_by_module(sys.argv[0], flags[name])
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
  among = field.metadata['among']
  text = field.metadata['help']
  if among is not None:
    text += f' Among: {", ".join(among)}.'
  if kind in _SCALARS:
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


def _kinds(Config: type) -> dict[str, Any]:
  """The type of every field; ValueError for one that no flag could hold."""
  if not (isinstance(Config, type) and dataclasses.is_dataclass(Config)):
    raise ValueError(f'A config is a dataclass, but {Config!r} is not.')
  hints = typing.get_type_hints(Config)
  kinds = {
    field.name: hints[field.name] for field in dataclasses.fields(Config)
  }
  for name, kind in kinds.items():
    if kind not in _SCALARS and kind not in [tuple[i, ...] for i in _ITEMS]:
      raise ValueError(
        f'A field is a bool, int, float or str or a tuple[int, ...],'
        f' tuple[float, ...] or tuple[str, ...], but'
        f' {Config.__name__}.{name} is {kind}.'
      )
  return kinds


def _check_fields(Config: type, names: Iterable[str]):
  known = [field.name for field in dataclasses.fields(Config)]
  for name in names:
    if name not in known:
      raise ValueError(unknown(f'field of {Config.__name__}', name, known))


def _check_type(Config: type, name: str, kind: Any, value: Any):
  if kind in _SCALARS:
    good, wanted = _is(kind, value), kind.__name__
  else:
    item = typing.get_args(kind)[0]
    good = isinstance(value, tuple) and all(_is(item, v) for v in value)
    wanted = f'tuple of {item.__name__}'
  if not good:
    raise ValueError(
      f'{Config.__name__}.{name} is a {wanted}, but {value!r} was given.'
    )


def _is(kind: type, value: Any) -> bool:
  """Whether value is of a kind: an int is a float, a bool is no number."""
  if isinstance(value, bool):
    return kind is bool
  return isinstance(value, (int, float) if kind is float else kind)
