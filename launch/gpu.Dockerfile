# docker build -f launch/gpu.Dockerfile -t dignified_jax:gpu .
# CUDA, cuDNN and NCCL come as packages with jax[cuda13]; the host brings its driver (580 or newer)
# and the NVIDIA container toolkit: docker run --gpus all --shm-size=8g dignified_jax:gpu python -m …
FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
WORKDIR /dignified_jax
COPY setup.py pyproject.toml README.md LICENSE ./
COPY dignified_jax dignified_jax
COPY configs configs
RUN pip install '.[gpu,eval,gs,s3]'
ENV XLA_CLIENT_MEM_FRACTION=0.94
CMD ["python", "-m", "dignified_jax.train", "--help"]
