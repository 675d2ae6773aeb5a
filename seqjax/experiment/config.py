"""Fields of a Config: their declaration, checks, grids and names on disk.

A field is a bool, int, float or str, or a tuple of int, float or str
(`tuple[int, ...]`), which the command line takes as a comma separated list.
"""

import dataclasses
import itertools
import os
import pathlib
import re
import typing
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from seqjax.errors import Catalog, UnknownName, check_value, unknown

SCALARS = (bool, int, float, str)
_ITEMS = (int, float, str)
LISTING = 'the --help of its program lists them'
LONGEST_NAME = 180  # bytes; file systems take 255
ALWAYS_NAMED = ('mixer', 'task')  # fields that every folder's name holds


def option(
  default: Any,
  help: str,
  among: Iterable[str] | None = None,
  named: bool = False,
) -> Any:
  """Declares a field of a Config: default, help text, the names it may hold.

  Args:
    default: its value where none is given.
    help: what `--help` prints.
    among: the names it may hold (a dict of mixers, say), held as it is, so that
      a name added to the dict later is allowed too.
    named: says what a run measures, so that its folder's name begins with it,
      see `folder_name`.
  """
  return dataclasses.field(
    default=default, metadata={'help': help, 'among': among, 'named': named}
  )


def choose(mapping: Mapping[str, Any], name: str, what: str) -> Any:
  """Returns mapping[name]; an unknown name is a ValueError with a suggestion.

  `what` is the kind of thing that has names: 'mixer', 'task'.
  """
  return Catalog(what, mapping)[name]


def validate(config: Any, **among: Iterable[str]):
  """Raises ValueError where a field has a wrong type or an unknown name.

  Numbers are finite and whole ones fit 32 bits; only a field whose default is
  NaN may be NaN. A seed is 0 or more.

  `among` replaces what the fields allow: a `run` that is handed its own dict of
  mixers says `validate(config, mixer=mixers)`.
  """
  _validate(config, among)


def validate_options(config: Any):
  """Validates a config whose fields are the options of a command line.

  The message for a name that is one of many says which option lists them.
  """
  _validate(config, {}, '--{}=help lists them')


def _validate(
  config: Any, among: Mapping[str, Iterable[str]], listing: str = ''
):
  """Checks every field; `listing` says where the names of a field are found."""
  kinds = field_types(type(config))
  check_fields(type(config), among)
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    _check_type(type(config), field.name, kinds[field.name], value)
    allowed = among.get(field.name, field.metadata.get('among'))
    if allowed is not None:
      for name in value if isinstance(value, tuple) else (value,):
        if name not in allowed:
          where = listing.format(field.name)
          if isinstance(allowed, Catalog):
            raise UnknownName(allowed.unknown(name, where))
          raise UnknownName(unknown(field.name, name, allowed, where))


def grid(Config: type, **lists: Any) -> list[Any]:
  """Returns a Config for every combination; the last field varies fastest."""
  check_fields(Config, lists)
  for name, values in lists.items():
    if isinstance(values, str) or not isinstance(values, Iterable):
      raise ValueError(
        f'A grid takes a list of values for each field; write'
        f' {name}=[{values!r}] instead of {name}={values!r}.'
      )
  lists = {name: list(values) for name, values in lists.items()}
  kinds = field_types(Config)
  for name, values in lists.items():
    for value in values:
      _check_type(Config, name, kinds[name], value)
  return [
    Config(**dict(zip(lists, values, strict=True)))
    for values in itertools.product(*lists.values())
  ]


def without_seed_and_rate(config: Any) -> Any:
  """Returns the config with the default seed and learning rate, if it has them.

  Runs that differ in these alone share what is compiled, and what is refused.
  """
  defaults = {field.name: field.default for field in dataclasses.fields(config)}
  same = {k: defaults[k] for k in ('seed', 'learning_rate') if k in defaults}
  return dataclasses.replace(config, **same)


def to_dict(config: Any) -> dict[str, Any]:
  """Returns the fields as JSON holds them: tuples become lists."""
  values = dataclasses.asdict(config)
  return {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in values.items()
  }


def folder_name(config: Any) -> str:
  """Returns a name for a run's folder, as in 'task=parity,mixer=lstm,seed=1'.

  It begins with the fields called `mixer` and `task`, and with those that are
  declared as `named`; others follow where they differ from their defaults. One
  that is too long for a file system ends in a checksum.
  """
  fields = dataclasses.fields(config)
  first = [f for f in fields if f.name in ALWAYS_NAMED]
  first += [f for f in fields if f.metadata.get('named') and f not in first]
  others = [
    f for f in fields if f not in first and getattr(config, f.name) != f.default
  ]
  return _name_of(config, [*first, *others])


def folder_in(root: str | os.PathLike, config: Any) -> pathlib.Path:
  """Returns the folder of a run under another one.

  Versions before this one left out what was at its default, and kept fields in
  the order of the Config. A folder that they made is found and resumed.
  """
  former = [
    f
    for f in dataclasses.fields(config)
    if f.name in ALWAYS_NAMED or getattr(config, f.name) != f.default
  ]
  path = pathlib.Path(root) / folder_name(config)
  made = pathlib.Path(root) / _name_of(config, former)
  return made if made.exists() and not path.exists() else path


def _name_of(config: Any, fields: Iterable[dataclasses.Field]) -> str:
  """Returns the values of fields as a name that a file system takes."""
  parts = [
    f'{field.name}={_folder_value(getattr(config, field.name))}'
    for field in fields
  ]
  name = ','.join(parts) or 'defaults'
  content = name.encode()
  if len(content) <= LONGEST_NAME:
    return name
  start = content[:LONGEST_NAME].decode(errors='ignore')
  return f'{start}-{zlib.crc32(content):08x}'


def _folder_value(value: Any) -> str:
  """Returns a value as part of a file name: no separators, no spaces."""
  if isinstance(value, tuple):
    return '+'.join(_folder_value(item) for item in value)
  return re.sub(r'[^\w.+-]', '_', str(value))


def from_dict(Config: type, mapping: Mapping[str, Any]) -> Any:
  """Returns the Config with these fields; undoes `to_dict`."""
  kinds = field_types(Config)
  check_fields(Config, mapping)
  values = {}
  for name, value in mapping.items():
    values[name] = tuple(value) if isinstance(value, list) else value
    _check_type(Config, name, kinds[name], values[name])
  return Config(**values)


def field_types(Config: type) -> dict[str, Any]:
  """Returns every field's type; ValueError for one that no flag could hold."""
  if not (isinstance(Config, type) and dataclasses.is_dataclass(Config)):
    raise ValueError(f'A config is a dataclass, but {Config!r} is not.')
  hints = typing.get_type_hints(Config)
  kinds = {
    field.name: hints[field.name] for field in dataclasses.fields(Config)
  }
  for name, kind in kinds.items():
    if kind not in SCALARS and kind not in [tuple[i, ...] for i in _ITEMS]:
      raise ValueError(
        f'A field is a bool, int, float or str or a tuple[int, ...],'
        f' tuple[float, ...] or tuple[str, ...], but'
        f' {Config.__name__}.{name} is {kind}.'
      )
  return kinds


def check_fields(Config: type, names: Iterable[str]):
  """Raises ValueError for a name that is no field."""
  known = [field.name for field in dataclasses.fields(Config)]
  for name in names:
    if name not in known:
      what = f'field of {Config.__name__}'
      raise UnknownName(unknown(what, name, known, LISTING))


def check_types(config: Any):
  """Raises ValueError where a field has a wrong type or an infinite value.

  For the first line of a Config's `__post_init__`, before it compares values.
  """
  for name, kind in field_types(type(config)).items():
    _check_type(type(config), name, kind, getattr(config, name))


def _check_type(Config: type, name: str, kind: Any, value: Any):
  """Raises ValueError for a value of another type; NaN may be the default."""
  default = Config.__dataclass_fields__[name].default
  if kind is float and value != value and default != default:
    return
  check_value(Config.__name__, name, kind, value)
