# TensorRT 10.11, on Ubuntu 24.04.
#
# The build context is the folder that `ci/archive` makes. Nothing is installed and nothing is built here: the program
# runs on what the base image has. `ci/in-container tensorrt-10` builds and runs it.
ARG BASE=nvcr.io/nvidia/tensorrt:25.06-py3
# Pins the base by content; `ci/pin-containers` fills it in. Empty together with another BASE.
ARG DIGEST=
# hadolint ignore=DL3006
FROM ${BASE}${DIGEST:+@${DIGEST}}

COPY . /opt/trtgate/
# What this image promises to run: without it, the tests are red.
ENV PATH=/opt/trtgate:${PATH} \
    HOME=/tmp \
    TRTGATE_CACHE=/cache \
    TRTGATE_REQUIRE=tensorrt@10.11
# A number, so that no user has to be added; the mounted folders are writable for it.
USER 10001:10001
WORKDIR /out
CMD ["run-archive", "--out", "/out"]
