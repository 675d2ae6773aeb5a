"""Checks the claims that are computations: shapes, counts, zeros and sums.

    python -m experiments.exact --mixers=lstm,attention --claims=0.1,1.5
    python -m experiments.exact.main --claim=1.7

The first command ends with a table, a figure and verdicts; the second is one
cell, which is one claim. Each check is a number that is expected, from a count
by hand or from a loop, beside the number that came out.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments import command
from experiments.exact import counting, lengths, shapes, sharing, tensors
from seqjax import experiment, results
from seqjax.errors import Importable
from seqjax.experiment import option
from seqjax.nn import MIXERS, CausalMixer

ENTRIES = Importable('mixer', MIXERS, MIXERS.listing)
CHECKS = {
  '0.1': lengths.any_length,
  '0.2': lengths.place_of_pads,
  '0.3': lengths.parameters,
  '0.5': lengths.useful_share,
  '0.10': sharing.time_sharing,
  '0.15': shapes.unequal_lengths,
  '0.18': shapes.taxonomy,
  '1.3': tensors.tau_windows,
  '1.5': sharing.carries,
  '1.7': counting.chain_rule,
  '1.8': counting.counts,
  '1.14': tensors.text_windows,
  '1.16': tensors.one_hot,
}


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of one cell: a claim, and the mixers that it is asked of."""

  claim: str = option('0.1', 'Number of the claim.', among=CHECKS, named=True)
  mixers: tuple[str, ...] = option(
    ('gru', 'lstm', 'attention', 'tcn'), 'Mixers to check.', among=ENTRIES
  )


def run(
  config: Config,
  workdir: str,
  mixers: Mapping[str, Callable[..., CausalMixer]] = ENTRIES,
) -> dict[str, Any]:
  """Makes all checks of a claim; a finished cell is not run again."""
  experiment.validate(config, mixers=mixers)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  with results.Run(workdir, config) as record:
    chosen = {name: mixers[name] for name in config.mixers}
    return record.finish(rows=CHECKS[config.claim](chosen))


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/exact')
