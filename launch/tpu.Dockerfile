# docker build -f launch/tpu.Dockerfile -t dignified_jax:tpu .
# libtpu comes with jax[tpu]; the host's driver is all that it needs.
FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
WORKDIR /dignified_jax
COPY setup.py pyproject.toml README.md LICENSE ./
COPY dignified_jax dignified_jax
COPY configs configs
RUN pip install '.[tpu,eval,gs,s3]'
CMD ["python", "-m", "dignified_jax.train", "--help"]
