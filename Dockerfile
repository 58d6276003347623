# One image for the MLflow server, the nodes of Ray and the run of a study; see docs/cluster.md.
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 OMP_WAIT_POLICY=PASSIVE MLFLOW_DISABLE_TELEMETRY=true RAY_USAGE_STATS_ENABLED=0
WORKDIR /work
COPY pyproject.toml README.md LICENSE ./
COPY fusion_bench fusion_bench
COPY modules modules
COPY studies studies
RUN pip install ".[ray,postgres]"
