"""Metadata: the name, what seqjax needs, and what else it can use."""

import pathlib

import setuptools

_DATA = ['array_record', 'grain', 'pillow', 'scikit-learn>=1.5']
_DOCS = [
  'mkdocs-jupyter>=0.25',
  'mkdocs-material>=9.6',
  'mkdocstrings[python]>=0.29',
]
_EXPORT = ['safetensors>=0.5']
# The kernels of jax-linear-attention, which pins JAX and needs Python 3.12.
_HOPPER = ['jax-linear-attention[cuda]>=0.1']
_PEERS = ['equinox>=0.11']  # torch is compared with where it is installed
_PLOT = ['matplotlib>=3.9']
_REPORT = ['jinja2>=3.1']
_SUBMITIT = ['submitit>=1.5.4']
_TENSORBOARD = ['tensorboardX>=2.6.2.2']
_TOKENIZERS = ['tokenizers>=0.20']
_TRACKIO = ['trackio>=0.43']
_WANDB = ['wandb>=0.31']
_TEST = [
  'beartype>=0.18.2',
  'pytest>=8',
  'pytest-xdist>=3.5',
  'ruff>=0.6',
]

setuptools.setup(
  name='seqjax',
  version='0.1.0',
  description=(
    'Sequence models in JAX and Flax under one protocol: scans, parallel'
    ' recurrences, attention, and experiments that compare them.'
  ),
  long_description=(pathlib.Path(__file__).parent / 'README.md').read_text(
    encoding='utf-8'
  ),
  long_description_content_type='text/markdown',
  author='The seqjax authors',
  license='Apache-2.0',
  license_files=['LICENSE'],
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['seqjax', 'seqjax.*']),
  package_data={'seqjax': ['py.typed'], 'seqjax.frozen': ['checksums.json']},
  entry_points={
    'console_scripts': [
      'seqjax-evaluate = seqjax.cli.evaluate:main',
      'seqjax-export = seqjax.cli.export:main',
      'seqjax-generate = seqjax.cli.generate:main',
      'seqjax-prepare-data = seqjax.cli.prepare_data:main',
      'seqjax-sweep = seqjax.cli.sweep:main',
      'seqjax-train = seqjax.cli.train:main',
      'seqjax-train-population = seqjax.cli.train_population:main',
    ]
  },
  install_requires=[
    'absl-py>=2.1',
    'etils>=1.9.1',
    'flax>=0.12.8',
    'importlib_resources>=6',  # tensorflow-datasets uses, not always asks
    'jax>=0.10.2',
    'jaxtyping>=0.3',
    'numpy>=2',
    'optax>=0.2.5',
    'orbax-checkpoint>=0.12',
    'scipy>=1.15',
    'tensorflow-datasets>=4.9.9',
    'tqdm>=4.66',
  ],
  extras_require={
    'cuda12': ['jax[cuda12]'],
    'cuda13': ['jax[cuda13]'],
    'tpu': ['jax[tpu]'],
    'data': _DATA,
    'docs': _DOCS,
    'export': _EXPORT,
    'hopper': _HOPPER,
    'peers': _PEERS,
    'plot': _PLOT,
    'report': _REPORT,
    'submitit': _SUBMITIT,
    'tensorboard': _TENSORBOARD,
    'tokenizers': _TOKENIZERS,
    'trackio': _TRACKIO,
    'wandb': _WANDB,
    'test': (
      _TEST
      + _DATA
      + _DOCS
      + _EXPORT
      + _PLOT
      + _REPORT
      + _SUBMITIT
      + _TENSORBOARD
      + _TOKENIZERS
    ),
  },
  classifiers=[
    'Intended Audience :: Science/Research',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
)
