"""Text from a language model that seqjax-train has trained.

    seqjax-generate --workdir=runs/train --prompt='To be, ' \
        --num_tokens=200 --temperature=0.8 --top_p=0.95

Without a prompt the first character is drawn from the text that the model was
trained on. What is printed is the prompt and what follows it.
"""

import dataclasses
import functools
import sys

import jax
import numpy as np
from jaxtyping import Int

from seqjax.analysis import memory, timing
from seqjax.cli import trained
from seqjax.experiment import option, validate
from seqjax.launch import memory_limits
from seqjax.models import generate
from seqjax.ops.sampling import NO_TOKEN


@dataclasses.dataclass(frozen=True)
class Config:
  """How text is drawn."""

  prompt: str = option('', 'What the text begins with.')
  num_tokens: int = option(200, 'Characters or bytes that follow.')
  temperature: float = option(1.0, 'Of the logits; 0 takes the likeliest.')
  top_k: int = option(0, 'Draw from the k likeliest tokens; 0: from all.')
  top_p: float = option(1.0, 'Draw from the likeliest that make up p.')
  stop: str = option('', 'Text that ends it, and is left out.')
  checkpoint: str = option(
    'newest', 'newest, best (in validation), or the step of one.'
  )
  seed: int = option(0, 'Of what is drawn.')


def run(config: Config, workdir: str) -> str:
  """The prompt and what follows; printed, too."""
  validate(config)
  run_of = trained.load(workdir, config.checkpoint)
  task = run_of.task
  if not hasattr(task, 'decode'):
    raise ValueError(
      'Text is drawn from a model of language, but the run in '
      f'{str(workdir)!r} is of the task {run_of.config.task}, whose tokens are '
      'no characters; those of text, text_bytes and lm1b are.'
    )
  first_key, key = jax.random.split(jax.random.key(config.seed))
  prompt = (
    _encode(config.prompt, task, 'prompt')
    if config.prompt
    else np.asarray(task.batch(first_key, 0, 1).inputs)[0, :1]
  )
  stop = _encode(config.stop, task, 'stop')
  tokens = generate(
    run_of.model,
    {'params': run_of.params},
    key,
    prompt[None],
    config.num_tokens,
    temperature=config.temperature,
    top_k=config.top_k or None,
    top_p=None if config.top_p == 1 else config.top_p,
    stop_token=int(stop[0]) if len(stop) == 1 else None,
  )
  text = _text(task, prompt, np.asarray(tokens[0]), config.stop)
  print(text)
  return text


def _encode(text: str, task, what: str) -> Int[np.ndarray, 'T']:
  """Its tokens; ValueError where it has characters that the task has not."""
  unknown = [c for c in text if task.decode(task.encode(c)) != c]
  if unknown:
    raise ValueError(
      f'The {what} holds {unknown[0]!r}, which the text that the model was '
      'trained on does not: it has no token.'
    )
  return task.encode(text)


def _text(task, prompt, tokens, stop: str) -> str:
  """Prompt and continuation up to `stop`, and to where the model can go."""
  lost = np.flatnonzero(tokens == NO_TOKEN)
  if len(lost):
    tokens = tokens[: lost[0]]
    print(
      f'The model gives no numbers after {len(tokens)} tokens; learned '
      'positions end with the context that it was trained with.',
      file=sys.stderr,
    )
  begin = len(task.decode(prompt))
  text = task.decode(np.concatenate([prompt, tokens]))
  end = text.find(stop, begin) if stop else -1
  return text if end < 0 else text[:end]


def too_large(config: Config, workdir: str) -> str:
  """What to say when the device's memory did not suffice: what would do."""
  run_of = trained.load(workdir, config.checkpoint)
  limit = memory.available_memory()
  given = max(1, len(_encode(config.prompt, run_of.task, 'prompt')))
  fits = memory_limits.largest_half(
    lambda size: _bytes_needed(run_of, size, config.num_tokens), limit, given
  )
  advice = f'a prompt of {fits} would fit' if fits else 'ask for fewer'
  return (
    f'The device has not enough memory, {memory_limits.gibibytes(limit)},'
    ' to read a '
    f'prompt of {given} tokens and to draw {config.num_tokens}; {advice}.'
  )


def _bytes_needed(run_of, prompt_size: int, num_tokens: int) -> int:
  """Of a text that follows such a prompt; compiled, not run."""
  draw = functools.partial(generate, run_of.model, num_tokens=num_tokens)
  prompt = jax.ShapeDtypeStruct((1, prompt_size), np.int32)
  variables = {'params': run_of.params}
  return timing.predicted_bytes(draw, variables, jax.random.key(0), prompt)


if __name__ == '__main__':
  trained.launch(Config, run, workdir='runs/train', too_large=too_large)
