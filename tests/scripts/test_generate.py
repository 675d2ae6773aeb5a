"""scripts/generate.py: text in, text out."""

import dataclasses

import generate
import pytest

from tests.scripts import saved

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
