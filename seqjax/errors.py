"""Sentences for bad input, shared by the command line and by Python."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MOST_LISTED = 12  # names that one message holds
_LISTINGS = {
  'mixer': 'seqjax-train --mixer=help lists them',
  'task': 'seqjax-train --task=help lists them',
}


def unknown(
  what: str, name: str, known: Iterable[str], listing: str = ''
) -> str:
  """Returns the message for an unknown name, with the nearest known one.

  Args:
    what: the kind of thing that has names: 'mixer', 'task'.
    name: the name that was given.
    known: the names that exist. Matching ignores upper and lower case.
    listing: says where all names are found, as in 'seqjax-train --help lists
      them'; used where there are more than MOST_LISTED.
  """
  known = list(known)
  nearest = suggestion(name, known)
  meant = f' Did you mean {nearest!r}?' if nearest is not None else ''
  return f'Unknown {what} {name!r}.{meant} {_inventory(what, known, listing)}'


def suggestion(name: str, known: Iterable[str]) -> str | None:
  """Returns the known name nearest to `name`, or None if none is near."""
  lower = {str(candidate).lower(): candidate for candidate in known}
  close = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
  return lower[close[0]] if close else None


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
  """Says how to install what is imported inside and is not there.

  Raises:
    ModuleNotFoundError: names the module, and the extra that installs it.
  """
  try:
    yield
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      f'The module {error.name} is not installed: '
      f"pip install 'seqjax[{extra}]' installs it.",
      name=error.name,
    ) from error


def _inventory(what: str, known: list[str], listing: str) -> str:
  """Returns a sentence that names what exists, or counts it if it is much."""
  if len(known) <= MOST_LISTED:
    return f'There are: {", ".join(map(str, known))}.'
  listing = listing or _LISTINGS.get(what, '')
  return f'{len(known)} names are known{"; " * bool(listing)}{listing}.'


class UnknownName(KeyError, ValueError):
  """A name that a catalogue does not have; its text is one sentence."""

  def __str__(self) -> str:
    return self.args[0]  # KeyError would put it in quotes


class Catalog(dict[str, Any]):
  """A dict from names to things, where an unknown name gets a suggestion.

      MIXERS = Catalog('mixer', {'lstm': LSTM, 'gru': GRU})
      MIXERS['lsmt']  # UnknownName: Unknown mixer 'lsmt'. Did you mean ...

  Attributes:
    what: the kind of thing that has names.
    listing: says where all names are found, as in `unknown`.
  """

  def __init__(self, what: str, mapping: Mapping[str, Any], listing: str = ''):
    super().__init__(mapping)
    self.what, self.listing = what, listing

  def unknown(self, name: str) -> str:
    """Returns the message for a name that is not in the catalogue."""
    return unknown(self.what, name, self, self.listing)

  def __missing__(self, name: str):
    raise UnknownName(self.unknown(name))

  def __or__(self, other: Mapping[str, Any]) -> 'Catalog':
    return Catalog(self.what, {**self, **other}, self.listing)
