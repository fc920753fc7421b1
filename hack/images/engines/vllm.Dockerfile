# vLLM for CPUs: its wheel, the index's torch and no GPU library (docs/engine-images.md).
#
# The wheel holds kernels for AVX2, AVX-512 and AMX and picks at run time; arm64 has a wheel of its own.
ARG BASE_IMAGE=debian:forky-slim
FROM ${BASE_IMAGE} AS vllm
# libnuma: the kernels are linked against it.
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install ca-certificates curl libnuma1 python3 \
    && python3 -m venv --without-pip /opt/slipway \
    && echo 'slipway:x:65532:0:Slipway:/tmp:/usr/sbin/nologin' >> /etc/passwd
COPY requirements/vllm.txt hack/images/engines/vllm_finish.py /opt/slipway/share/
# One layer: a file that a later step removes would stay in it. The compiler is for the stand-ins only and leaves.
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    sh /steps/pip-install --require-hashes --requirement /opt/slipway/share/vllm.txt \
    && sh /steps/apt-install binutils gcc libc6-dev \
    && /opt/slipway/bin/python /opt/slipway/share/vllm_finish.py \
    && apt-get purge -q -y -o Dpkg::Use-Pty=0 --auto-remove binutils gcc libc6-dev \
    && rm -rf /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old /tmp/*
ENV HOME=/tmp \
    PATH=/opt/slipway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache \
    XDG_CONFIG_HOME=/tmp/config \
    HF_HOME=/tmp/hf \
    HF_HUB_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    VLLM_CACHE_ROOT=/tmp/vllm \
    VLLM_CONFIG_ROOT=/tmp/vllm-config \
    VLLM_NO_USAGE_STATS=1 \
    DO_NOT_TRACK=1 \
    TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor \
    TRITON_CACHE_DIR=/tmp/triton \
    NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /tmp
USER 65532:0
LABEL org.opencontainers.image.title="vLLM for CPUs" \
      org.opencontainers.image.description="vLLM's HTTP server on CPUs: for tests of Slipway, text models, --enforce-eager" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.32.0"
ENTRYPOINT ["/opt/slipway/bin/vllm"]
