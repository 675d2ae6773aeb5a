"""Sentences that bad input gets in more than one place."""

import difflib
from collections.abc import Iterable


def unknown(what: str, name: str, known: Iterable[str]) -> str:
  """What is unknown, what may have been meant, and what there is."""
  known = list(known)
  close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
  meant = f' Did you mean {close[0]!r}?' if close else ''
  return f'Unknown {what} {name!r}.{meant} There are: {", ".join(known)}.'
