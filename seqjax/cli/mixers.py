"""Makes the mixers of a run: one of the catalogue, or a hybrid of several."""

from typing import Any

from seqjax.cli.options import pairs, parse_options, refusing, types_of
from seqjax.cli.train_config import EVERY_MIXER, Config, parts_of
from seqjax.errors import unknown
from seqjax.nn import SequenceLayer


def make_mixers(config: Config, dtype: Any) -> tuple[SequenceLayer, ...]:
  """Returns a mixer per layer; those of a hybrid take turns.

  An option goes to each mixer of a hybrid that has it.

  Raises:
    ValueError: there are more mixers than layers, or none has the option.
  """
  names = parts_of(config.mixer)
  if len(names) > config.layers:
    raise ValueError(
      f'The mixers of {config.mixer} take turns, one in a layer, which takes '
      f'{len(names)} layers, but layers={config.layers} was given.'
    )
  _check_known(config.mixer_options, names)
  kinds = [_make(name, names, config, dtype) for name in names]
  return tuple(kinds[i % len(kinds)] for i in range(config.layers))


def _make(name, names, config: Config, dtype: Any) -> SequenceLayer:
  maker, text = EVERY_MIXER[name], config.mixer_options
  options = parse_options(text, maker, 'mixer', ignored=_known(names))
  with refusing(f'the mixer {name}'):
    return maker(config.features, config.context, **{'dtype': dtype} | options)


def _check_known(text: str, names: tuple[str, ...]):
  known = _known(names)
  for option, _ in pairs(text):
    if option not in known:
      raise ValueError(unknown('mixer option', option, known))


def _known(names: tuple[str, ...]) -> dict[str, None]:
  """Returns the options that one of the mixers has."""
  return dict.fromkeys(
    option for name in names for option in types_of(EVERY_MIXER[name])
  )
