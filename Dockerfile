# The four images: `llamacpp` (the CPU engine), `runtime` (the Jobs' tools), `optimizer` (PyTorch's tools for Jobs),
# `operator` (the control plane).
#
# amd64 and arm64: what is compiled comes from Debian and from wheels, for whichever the build runs on.
#   docker build --target operator -t slipway/operator .
# The suite must have llama.cpp-tools (forky or later): docs/decisions/0002-llamacpp-from-debian.md.
# Everything in them is readable by group 0 and nothing is written outside /tmp, so any user id does.
ARG BASE_IMAGE=debian:forky-slim

# ---- llamacpp ------------------------------------------------------------------------------------------------------
# curl is for the probes that run inside the pod; it is also what llama.cpp-tools asks for.
FROM ${BASE_IMAGE} AS llamacpp
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install ca-certificates curl llama.cpp-tools \
    && mkdir -p /usr/share/slipway \
    && dpkg-query -W -f '${Version}\n' llama.cpp-tools > /usr/share/slipway/llamacpp-version \
    && llama-server --version \
    && echo 'slipway:x:65532:0:Slipway:/tmp:/usr/sbin/nologin' >> /etc/passwd
ENV HOME=/tmp
WORKDIR /tmp
USER 65532:0
LABEL org.opencontainers.image.title="Slipway llama.cpp" \
      org.opencontainers.image.description="llama.cpp's HTTP server, CPU variants chosen at run time" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0"
ENTRYPOINT ["/usr/bin/llama-server"]

# ---- runtime -------------------------------------------------------------------------------------------------------
# Python packages come before ours, and the converter's list of models before both: our code is the last, small layer.
FROM llamacpp AS runtime-debian
USER 0:0
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install llama.cpp-tools-extra python3 python3-gguf python3-numpy python3-torch \
    && python3 -c 'import torch, gguf, numpy; print("torch", torch.__version__)' \
    && python3 -m venv --system-site-packages --without-pip /opt/slipway

FROM runtime-debian AS runtime-system
COPY requirements/runtime.txt /opt/slipway/requirements.txt
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    sh /steps/pip-install --require-hashes --requirement /opt/slipway/requirements.txt \
    && find /opt/slipway -depth -type d \( -path '*/pyarrow/tests' -o -path '*/pyarrow/include' \
         -o -path '*/pandas/tests' \) -exec rm -rf {} +
# The converter lies among Debian's documentation; its `conversion` package and gguf are where it looks for them.
RUN mkdir -p /opt/llama.cpp /opt/slipway/eval \
    && cp /usr/share/doc/llama.cpp-tools/scripts/convert_hf_to_gguf.py /opt/llama.cpp/ \
    && HF_HUB_OFFLINE=1 HF_HOME=/tmp/hf /opt/slipway/bin/python /opt/llama.cpp/convert_hf_to_gguf.py \
         --print-supported-models > /opt/llama.cpp/architectures.txt 2>&1 \
    && grep -q LlamaForCausalLM /opt/llama.cpp/architectures.txt \
    && echo 'The text and its SOURCE.md: /opt/slipway/app/slipway_runtime/evaluate/text' > /opt/slipway/eval/README \
    && rm -rf /tmp/*

FROM runtime-debian AS runtime-package
COPY runtime/slipway_runtime /app/slipway_runtime
RUN mkdir /app/bin \
    && printf '%s\n' '#!/opt/slipway/bin/python' 'import sys' 'from slipway_runtime.__main__ import main' \
         'sys.exit(main())' > /app/bin/slipway-runtime \
    && chmod 755 /app/bin/slipway-runtime \
    && python3 -m compileall -q -s /app -p /opt/slipway/app /app/slipway_runtime

FROM runtime-system AS runtime
COPY --from=runtime-package /app /opt/slipway/app
ENV PATH=/opt/slipway/app/bin:/opt/slipway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/slipway/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 65532:0
LABEL org.opencontainers.image.title="Slipway runtime" \
      org.opencontainers.image.description="What Slipway's Jobs run: fetch, convert, quantise, evaluate, benchmark" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
ENTRYPOINT ["/opt/slipway/app/bin/slipway-runtime"]

# ---- optimizer -----------------------------------------------------------------------------------------------------
# The runtime's Debian layers, with packages that want older versions than the runtime's own.
# OpenBLAS because Debian's PyTorch calls whichever BLAS is there, and the reference one computes 32-bit products at
# 1.5 GFLOP/s a core: 30 times slower.
FROM runtime-debian AS optimizer
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install libopenblas0-pthread
COPY requirements/optimizer.txt /opt/slipway/requirements.txt
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    sh /steps/pip-install --require-hashes --requirement /opt/slipway/requirements.txt \
    && find /opt/slipway -depth -type d \( -path '*/pyarrow/tests' -o -path '*/pyarrow/include' \
         -o -path '*/pandas/tests' \) -exec rm -rf {} +
COPY --from=runtime-package /app /opt/slipway/app
ENV PATH=/opt/slipway/app/bin:/opt/slipway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/slipway/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/tmp/hf \
    HF_HUB_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    DO_NOT_TRACK=1 \
    TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor \
    TRITON_CACHE_DIR=/tmp/triton
USER 65532:0
LABEL org.opencontainers.image.title="Slipway optimizer" \
      org.opencontainers.image.description="What Slipway's Jobs run on safetensors: merge, prune, distill, quantise" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
ENTRYPOINT ["/opt/slipway/app/bin/slipway-runtime"]

# ---- operator ------------------------------------------------------------------------------------------------------
FROM ${BASE_IMAGE} AS operator-system
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install ca-certificates python3 \
    && python3 -m venv --without-pip /opt/slipway \
    && echo 'slipway:x:65532:0:Slipway:/tmp:/usr/sbin/nologin' >> /etc/passwd
COPY requirements/operator.txt /opt/slipway/requirements.txt
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    sh /steps/pip-install --require-hashes --requirement /opt/slipway/requirements.txt

# Ours is installed from a wheel of its own, so that the image proves what `pip install` gives.
FROM operator-system AS operator-package
COPY requirements/operator.wheel.txt /wheel.txt
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    sh /steps/apt-install python3-pip-whl && sh /steps/pip-install --require-hashes --requirement /wheel.txt
COPY pyproject.toml README.md LICENSE /source/
COPY runtime /source/runtime
COPY operator /source/operator
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    cd /source && /opt/slipway/bin/python -m hatchling build --target wheel --directory /wheels \
    && sh /steps/pip-install --no-index --target /opt/slipway/app /wheels/*.whl

FROM operator-system AS operator
COPY --from=operator-package /opt/slipway/app /opt/slipway/app
ENV HOME=/tmp \
    PATH=/opt/slipway/app/bin:/opt/slipway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/slipway/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 65532:0
LABEL org.opencontainers.image.title="Slipway operator" \
      org.opencontainers.image.description="Puts language models into production on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
ENTRYPOINT ["/opt/slipway/app/bin/slipway"]
CMD ["run"]
