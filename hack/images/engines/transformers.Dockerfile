# transformers behind our own HTTP server, on the stage `runtime-system` of the main Dockerfile: its PyTorch is
# Debian's, and a node that has the runtime's image has all but the last layers (docs/engine-images.md).
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS packages
COPY requirements/transformers.txt /opt/slipway/transformers.txt
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    sh /steps/pip-install --require-hashes --requirement /opt/slipway/transformers.txt

FROM packages AS package
COPY runtime/slipway_runtime /app/slipway_runtime
RUN python3 -m compileall -q -s /app -p /opt/slipway/app /app/slipway_runtime

FROM packages AS transformers
COPY --from=package /app /opt/slipway/app
ENV HOME=/tmp \
    PATH=/opt/slipway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/slipway/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache \
    HF_HOME=/tmp/hf \
    HF_HUB_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    DO_NOT_TRACK=1 \
    TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor \
    TRITON_CACHE_DIR=/tmp/triton
USER 65532:0
LABEL org.opencontainers.image.title="Slipway transformers" \
      org.opencontainers.image.description="Hugging Face transformers behind an OpenAI-compatible HTTP server" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
ENTRYPOINT ["/opt/slipway/bin/python", "-m", "slipway_runtime.serve"]
