# miex on the CPU, for a user without rights:
#   docker build -t miex .
#   docker run --rm -v "$PWD/out:/data/out" --user "$(id -u):$(id -g)" miex demo
# INSTALL holds the options of the installation, for another index or other versions.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
ARG INSTALL="--torch-backend cpu -c constraints.txt"
# The compiler makes the kernels; the image that runs does not contain it.
RUN apt-get update && apt-get install --no-install-recommends -y gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/tools && /opt/tools/bin/pip install --no-cache-dir uv
WORKDIR /src
COPY . .
# xgboost asks for NCCL, which it uses only on several GPUs: 470 MB.
RUN echo nvidia-nccl-cu12 > /tmp/excludes.txt \
    && python3 -m venv --without-pip /opt/miex \
    && /opt/tools/bin/uv pip install --no-cache --compile-bytecode --python /opt/miex/bin/python \
        --excludes /tmp/excludes.txt ${INSTALL} .

FROM ${BASE}
RUN useradd --create-home --uid 1000 miex && install -d -o miex -g miex -m 0777 /data
COPY --from=build /opt/miex /opt/miex
# Libraries write caches below HOME, which must exist for any --user.
ENV PATH=/opt/miex/bin:$PATH \
    HOME=/tmp \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false
USER miex
WORKDIR /data
ENTRYPOINT ["miex"]
CMD ["demo"]
