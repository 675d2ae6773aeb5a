"""Measures how long one waits for the first result.

    python -m experiments.startup --parts=command,imports
    python -m experiments.startup.main --part=compilation --mixer=gla

The first command measures many cells and ends with a table and a figure; the
second is one cell.
"""

import dataclasses
from typing import Any

from experiments import command
from experiments.startup import compilation, waits
from seqjax import experiment, results
from seqjax.experiment import option

PARTS = {
  'command': waits.until_metrics,
  'imports': waits.of_imports,
  'compilation': compilation.rows,
}


@dataclasses.dataclass(frozen=True)
class Config:
  """The options of one cell."""

  part: str = option(
    'command',
    'What is waited for. command: the first metrics of seqjax-train, with '
    'nothing compiled before and again; imports: the layers of seqjax and of '
    'Flax; compilation: the gradients of a layer.',
    among=PARTS,
    named=True,
  )
  mixer: str = option(
    'lstm', 'Layer that is compiled.', among=compilation.ENTRIES
  )
  length: int = option(256, 'Number of positions it is compiled for.')
  processes: int = option(5, 'Processes that commands and imports are run in.')

  def __post_init__(self):
    default = Config.mixer, Config.length
    if self.part != 'compilation' and (self.mixer, self.length) != default:
      raise ValueError(
        'mixer and length are those of part=compilation, but part='
        f'{self.part}, mixer={self.mixer} and length={self.length} were given.'
      )
    for name in ('length', 'processes'):
      if getattr(self, name) < 1:
        raise ValueError(
          f'{name} is at least 1, but {name}={getattr(self, name)} was given.'
        )


def run(config: Config, workdir: str) -> dict[str, Any]:
  """Measures one cell; a finished cell is not measured again."""
  experiment.validate(config)
  done = results.finished(workdir, config)
  if done is not None:
    return done
  with results.Run(workdir, config) as record:
    print(f'Measuring {config.part}; written to {workdir}.', flush=True)
    measured = PARTS[config.part](
      mixer=config.mixer,
      length=config.length,
      processes=config.processes,
    )
    return record.finish(rows=measured)


if __name__ == '__main__':
  command.one_cell(Config, run, workdir='runs/startup')
