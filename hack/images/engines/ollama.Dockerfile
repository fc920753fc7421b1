# Ollama for CPUs, compiled from its Go module (docs/engine-images.md).
ARG BASE_IMAGE=debian:forky-slim
FROM ${BASE_IMAGE} AS build
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install ca-certificates cmake g++ gcc ninja-build
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install golang-go libminiaudio-dev libstb-dev nlohmann-json3-dev
COPY hack/images/engines/ollama-build /src/
RUN --mount=type=secret,id=go.env --mount=type=secret,id=ca.crt sh /src/ollama-build

FROM ${BASE_IMAGE} AS ollama
RUN --mount=type=bind,source=hack/images/steps,target=/steps \
    --mount=type=secret,id=apt.conf --mount=type=secret,id=apt.list --mount=type=secret,id=apt.auth \
    --mount=type=secret,id=ca.crt \
    sh /steps/apt-install ca-certificates curl libgomp1 libstdc++6 \
    && echo 'slipway:x:65532:0:Slipway:/tmp:/usr/sbin/nologin' >> /etc/passwd
COPY --from=build /out/ /usr/
ENV HOME=/tmp \
    OLLAMA_MODELS=/tmp/models \
    OLLAMA_NOHISTORY=1 \
    OLLAMA_NO_CLOUD=1 \
    OLLAMA_NOPRUNE=1 \
    DO_NOT_TRACK=1
WORKDIR /tmp
USER 65532:0
LABEL org.opencontainers.image.title="Ollama for CPUs" \
      org.opencontainers.image.description="Ollama's HTTP server, CPU variants chosen at run time" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.17.4"
ENTRYPOINT ["/usr/bin/ollama"]
CMD ["serve"]
