# llama-cpp-python's server, compiled from its source (docs/engine-images.md).
ARG BASE_IMAGE=debian:forky-slim
FROM ${BASE_IMAGE} AS build
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install ca-certificates cmake g++ gcc ninja-build
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install python3 python3-pip-whl python3-scikit-build-core \
    && python3 -m venv --system-site-packages --without-pip /opt/slipway
COPY requirements/llama-cpp-python.txt /opt/slipway/share/
# A CPU backend for each instruction set, the best one loaded at run time: never this machine's (GGML_NATIVE).
# The backends go to GGML_BACKEND_DIR, which is also where ggml looks; the bindings do not ask it to look, so the
# last line of the step does, at the one place where they load the library.
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.crt \
    CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DGGML_BACKEND_DIR=/opt/slipway/lib/ggml" \
    sh /steps/pip-install --require-hashes --ignore-installed --no-build-isolation --no-binary llama-cpp-python \
         --requirement /opt/slipway/share/llama-cpp-python.txt \
    && sed -i 's/^include-system-site-packages = true$/include-system-site-packages = false/' /opt/slipway/pyvenv.cfg \
    && cd /opt/slipway/lib/python3*/site-packages/llama_cpp \
    && grep -qx '_lib = load_shared_library(_lib_base_name, _base_path)' llama_cpp.py \
    && sed -i '/^_lib = load_shared_library(_lib_base_name, _base_path)$/a load_shared_library("ggml", _base_path).ggml_backend_load_all()' \
         llama_cpp.py \
    && ls -l lib /opt/slipway/lib/ggml \
    && rm -rf ../bin ../include ../lib/cmake ../lib/pkgconfig __pycache__/llama_cpp.*
# What llama.cpp's own install step left beside the package: the same libraries again.
RUN rm -rf /opt/slipway/lib/python3*/site-packages/lib

FROM ${BASE_IMAGE} AS llama-cpp-python
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install ca-certificates curl libgomp1 libstdc++6 python3 \
    && echo 'slipway:x:65532:0:Slipway:/tmp:/usr/sbin/nologin' >> /etc/passwd
COPY --from=build /opt/slipway /opt/slipway
RUN python3 -m compileall -q /opt/slipway/lib/python3*/site-packages/llama_cpp \
    && /opt/slipway/bin/python -c 'import llama_cpp; print(llama_cpp.llama_print_system_info().decode())' \
    && rm -rf /tmp/*
ENV HOME=/tmp \
    PATH=/opt/slipway/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache \
    HF_HOME=/tmp/hf \
    HF_HUB_OFFLINE=1 \
    DO_NOT_TRACK=1
WORKDIR /tmp
USER 65532:0
LABEL org.opencontainers.image.title="llama-cpp-python" \
      org.opencontainers.image.description="llama-cpp-python's HTTP server, CPU variants chosen at run time" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.3.36"
ENTRYPOINT ["/opt/slipway/bin/python", "-m", "llama_cpp.server"]
