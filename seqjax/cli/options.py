"""Parses options of a task or a mixer: name=value,name=value."""

import ast
import contextlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from seqjax import errors
from seqjax.errors import unknown

# Fields of Flax, those that flags set, and those that a run fits to its data.
NOT_OPTIONS = ('parent', 'name', 'features', 'context', 'vocabulary', 'scale')
DTYPES = ('dtype', 'param_dtype')


def parse_options(
  text: str, maker: Callable, what: str, ignored: Iterable[str] = ()
) -> dict[str, Any]:
  """Parses 'name=value,name=value' into arguments of `maker`.

  Names in `ignored` are skipped, unless `maker` takes them.

  Values have the types that `maker` declares. One that holds a comma stands in
  quotes or brackets: path="a,b.csv", coefficients=(0.5,0.2).

  Raises:
    ValueError: an option is unknown, or its value is of another type.
  """
  known = types_of(maker)
  owner = getattr(maker, 'func', maker).__name__
  options = {}
  for name, value in pairs(text):
    if name not in known and name in ignored:
      continue
    if name not in known:
      raise ValueError(unknown(f'{what} option', name, known))
    options[name] = _parse_value(owner, name, known[name], value)
  return options


def types_of(maker: Callable) -> dict[str, Any]:
  """Returns the types that `maker` declares for its options, by name."""
  return {
    name: parameter.annotation
    for name, parameter in inspect.signature(maker).parameters.items()
    if name not in NOT_OPTIONS
  }


def pairs(text: str) -> Iterator[tuple[str, str]]:
  """Yields (name, value) of each option; quotes around a value are removed."""
  place = 0
  while place < len(text):
    if text[place] == ',':
      place += 1
      continue
    found = _PAIR.match(text, place)
    if not found:
      part = text[place:].partition(',')[0]
      raise ValueError(
        f'Options are written name=value,name=value, but got {part!r}.'
      )
    name, value = found.groups()
    if value[:1] in ('"', "'") and value[-1:] == value[:1] and value[1:]:
      value = value[1:-1]
    yield name.strip(), value
    place = found.end()


_PAIR = re.compile(
  r"""([^,=]*)=("[^"]*"|'[^']*'|\([^()]*\)|\[[^][]*\]|[^,]*)(?=,|$)"""
)


def _parse_value(owner: str, name: str, kind: Any, text: str) -> Any:
  """Returns the value in a text, of the type that an option declares."""
  if errors.wanted(kind) is None and name not in DTYPES:
    raise ValueError(
      f'{owner} takes {name} from Python, not from the command line.'
    )
  if name in DTYPES or kind is str:
    return text
  value = literal(text)
  errors.check_value(owner, name, kind, value, given=text)
  return value


def literal(text: str) -> Any:
  """Returns what Python reads in a text; 1e3 is no whole number."""
  try:
    value = ast.literal_eval(text.strip())
  except (SyntaxError, ValueError, MemoryError, RecursionError):
    words = {'true': True, 'false': False, 'none': None}
    return words.get(text.strip().lower(), text)
  return tuple(value) if isinstance(value, list) else value


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
  """Raises ValueError for options that another library refuses."""
  try:
    yield
  except TypeError as error:
    raise ValueError(f'The options of {what} are refused: {error}.') from error
