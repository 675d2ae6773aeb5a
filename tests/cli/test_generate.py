"""seqjax-generate: text in, text out."""

import dataclasses

import jax
import pytest

from seqjax.analysis import memory
from seqjax.cli import build, generate, train, trained
from seqjax.launch import exits
from seqjax.results.checkpoint import Checkpoints
from tests.cli import saved

TEXT = 'the time machine, by one who was there.\n' * 60
TEN = generate.Config(prompt='the ', num_tokens=10)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A run on a small text."""
  folder = tmp_path_factory.mktemp('generate')
  (folder / 'notes.txt').write_text(TEXT)
  corpus = str(folder / 'notes.txt')
  saved.save(folder / 'run', task='text', corpus=corpus, mixer='gru')
  return str(folder / 'run')


def test_a_prompt_is_continued_in_its_characters(workdir, capsys):
  """The seed decides how; what is printed is what is returned."""
  text = generate.run(TEN, workdir)
  assert text.startswith('the ') and len(text) == 14 and set(text) <= set(TEXT)
  assert capsys.readouterr().out == text + '\n'
  assert generate.run(TEN, workdir) == text
  assert generate.run(dataclasses.replace(TEN, seed=1), workdir) != text


def test_the_likeliest_token_is_temperature_0_and_top_k_1(workdir):
  """And a nucleus of next to nothing."""
  greedy = [{'temperature': 0.0}, {'top_k': 1}, {'top_p': 1e-9}]
  texts = {
    generate.run(dataclasses.replace(TEN, **options), workdir)
    for options in greedy
  }
  assert len(texts) == 1


def test_a_padded_prompt_gives_the_same_text(workdir):
  """To a sample and to a search; a longer one is refused."""
  for options in ({'seed': 3}, {'beams': 2}):
    config = dataclasses.replace(TEN, **options)
    padded = dataclasses.replace(config, longest_prompt=9)
    assert generate.run(padded, workdir) == generate.run(config, workdir)
  with pytest.raises(ValueError, match='longest_prompt=3 was given with 4'):
    generate.run(dataclasses.replace(TEN, longest_prompt=3), workdir)


def test_text_ends_before_what_stops_it(workdir):
  """One character or several; a prompt may hold them."""
  text = generate.run(TEN, workdir)
  for stop in (text[7], text[7:10]):
    end = text.index(stop, 4)
    config = dataclasses.replace(TEN, stop=stop)
    assert generate.run(config, workdir) == text[:end]
  config = dataclasses.replace(TEN, stop='t')
  assert generate.run(config, workdir).startswith('the ')


def test_without_a_prompt_text_begins_with_a_character_that_it_knows(workdir):
  """Drawn as the text has them: another seed, another one."""
  config = dataclasses.replace(TEN, prompt='', num_tokens=1)
  texts = {
    generate.run(dataclasses.replace(config, seed=seed), workdir)
    for seed in range(4)
  }
  assert {len(text) for text in texts} == {2}
  assert len({text[0] for text in texts}) > 1 and set(''.join(texts)) < set(
    TEXT
  )


@pytest.mark.parametrize('options, message', [
  ({'prompt': 'the ß'}, "prompt holds 'ß'"),
  ({'stop': 'Z'}, "stop holds 'Z'"),
  ({'temperature': -1.0}, 'emperature'),
  ({'top_k': -1}, 'top_k'),
  ({'top_p': 1.5}, 'top_p'),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused(options, message, workdir):
  """Characters without a token, numbers outside their range."""
  with pytest.raises(ValueError, match=message):
    generate.run(dataclasses.replace(TEN, **options), workdir)


@pytest.mark.parametrize('length, said', [
  (64, '64 tokens and to generate 10; a prompt of 16 would fit.'),
  (1, '1 tokens and to generate 10; ask for fewer.'),
])  # fmt: skip
def test_a_prompt_that_is_too_long_is_told_with_one_that_fits(
  length, said, workdir, monkeypatch, capsys
):
  """By the sizes of what is compiled."""
  config = dataclasses.replace(TEN, prompt=(TEXT * 2)[:length])
  limit = (
    generate.bytes_needed(trained.load_trained(workdir, 'newest'), 16, 10)
    * 5
    // 4
    + 4
  )
  monkeypatch.setattr(memory, 'available_memory', lambda: limit)

  def exhausted(*args, **kwargs):
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')

  monkeypatch.setattr(generate, 'run', exhausted)
  with pytest.raises(SystemExit) as exit:
    with exits.sentences(lambda: generate.too_large(config, workdir)):
      generate.run(config, workdir)
  assert exit.value.code == 1 and said in capsys.readouterr().err


def test_a_run_of_something_else_is_refused(tmp_path):
  """Its tokens are no characters."""
  saved.save(tmp_path / 'run', task='parity', mixer='gru')
  with pytest.raises(ValueError, match='task parity.*text, text_bytes and lm1'):
    generate.run(TEN, str(tmp_path / 'run'))


def test_past_learned_positions_the_text_ends(workdir, tmp_path, capsys):
  """A sentence says where, beside what there is."""
  corpus = tmp_path / 'notes.txt'
  corpus.write_text(TEXT)
  saved.save(
    tmp_path / 'run',
    task='text',
    corpus=str(corpus),
    task_options='length=8',
    mixer='attention',
    mixer_options='positions=learned',
    context=8,
  )
  text = generate.run(TEN, str(tmp_path / 'run'))
  assert text.startswith('the ') and 8 <= len(text) <= 9
  assert 'gives no numbers after' in capsys.readouterr().err


def test_any_checkpoint_of_a_run_is_read(tmp_path):
  """The newest, the best, that of a step; who asks for another is told."""
  workdir = tmp_path / 'run'
  (tmp_path / 'notes.txt').write_text(TEXT)
  corpus = str(tmp_path / 'notes.txt')
  config = saved.save(workdir, task='text', corpus=corpus, mixer='gru')
  like = build.initial_state(config, *build.make(config))
  with Checkpoints(workdir / train.CHECKPOINTS) as checkpoints:
    for step, score in {2: -1.0, 4: -3.0, 6: -2.0}.items():
      params = jax.tree.map(
        lambda leaf, step=step: 0 * leaf + step, like.params
      )
      state = like._replace(step=like.step + step, params=params)
      checkpoints.save(step, state, {}, score)
      checkpoints.wait()
  for which, step in {'newest': 6, 'best': 2, '4': 4, 2: 2}.items():
    found = trained.load_trained(str(workdir), which)
    assert found.step == step
    assert {float(x.max()) for x in jax.tree.leaves(found.params)} == {step}
  for which in ('0', 'bset'):
    config = dataclasses.replace(TEN, checkpoint=which)
    with pytest.raises(ValueError, match='there are: newest, best, 2, 4, 6'):
      generate.run(config, str(workdir))
  for path in (workdir / train.CHECKPOINTS / '2' / 'state').rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  with pytest.raises(ValueError, match="checkpoints/2' is damaged"):
    trained.load_trained(str(workdir), 'best')


BEAMS = dataclasses.replace(TEN, beams=3)


def test_beams_print_the_best_text(workdir, capsys):
  """One beam is greedy; no seed changes what is found, three find more."""
  text = generate.run(BEAMS, workdir)
  assert text.startswith('the ') and len(text) == 14
  assert capsys.readouterr().out == text + '\n'
  assert generate.run(dataclasses.replace(BEAMS, seed=1), workdir) == text
  one = generate.run(dataclasses.replace(TEN, beams=1), workdir)
  greedy = dataclasses.replace(TEN, temperature=0.0)
  assert one == generate.run(greedy, workdir)
  run_of = trained.load_trained(workdir, 'newest')

  def log_prob(text):
    tokens = jax.numpy.asarray(run_of.task.encode(text))[None]
    logits = run_of.model.apply({'params': run_of.params}, tokens[:, :-1])
    chosen = jax.nn.log_softmax(logits)[0, jax.numpy.arange(13), tokens[0, 1:]]
    return float(chosen[3:].sum())

  assert log_prob(text) >= log_prob(one) - 1e-5


def test_the_best_text_ends_before_what_stops_it(workdir):
  """A penalty that is large enough makes it long."""
  found = generate.run(BEAMS, workdir)
  stop = dataclasses.replace(BEAMS, stop=found[4])
  short = generate.run(stop, workdir)
  long = generate.run(dataclasses.replace(stop, length_penalty=50.0), workdir)
  assert len(short) < len(long) and long.startswith('the ')


@pytest.mark.parametrize('options, message', [
  ({'beams': 2, 'temperature': 0.5}, 'temperature=0.5 and beams=2 were given'),
  ({'beams': 2, 'top_k': 3, 'top_p': 0.9}, 'top_k=3, top_p=0.9 and beams=2'),
  ({'beams': -1}, 'at least 1, but beams=-1'),
  ({'beams': 2, 'length_penalty': -1.0}, 'length_penalty=-1.0 was given'),
  ({'length_penalty': 0.6}, 'length_penalty=0.6 was given without one; add'),
])  # fmt: skip
def test_what_cannot_be_searched_is_refused(options, message, workdir, capsys):
  """Options of sampling among others: exit code 2, as for other bad input."""
  config = dataclasses.replace(TEN, **options)
  with pytest.raises(SystemExit) as exit:
    with exits.sentences():
      generate.run(config, workdir)
  assert exit.value.code == exits.REFUSED
  assert message in capsys.readouterr().err


def test_beams_take_memory(workdir, monkeypatch):
  """More than one text does; who has too little is told."""
  run_of = trained.load_trained(workdir, 'newest')
  one, many = (generate.bytes_needed(run_of, 4, 10, n) for n in (1, 1000))
  assert many > one
  monkeypatch.setattr(memory, 'available_memory', lambda: 1)
  said = generate.too_large(BEAMS, workdir)
  assert said.endswith(
    'generate 10 with 3 beams; ask for fewer, or for fewer beams.'
  )
