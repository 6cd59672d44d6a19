# TensorFlow 2.17: the reference, and the export of every portable artifact.
#
# The build context is the folder that `ci/archive` makes. Nothing is installed and nothing is built here: the program
# runs on what the base image has. `ci/in-container tensorflow` builds and runs it.
ARG BASE=nvcr.io/nvidia/tensorflow:25.02-tf2-py3
# Pins the base by content; `ci/pin-containers` fills it in. Empty together with another BASE.
ARG DIGEST=sha256:c83b37d26f19ab00d8a13cf974edd079c3d099918ec3110c304a989d6e2f75d5
# hadolint ignore=DL3006
FROM ${BASE}${DIGEST:+@${DIGEST}}

COPY . /opt/trtgate/
# What this image promises to run: without it, the tests are red.
ENV PATH=/opt/trtgate:${PATH} \
    HOME=/tmp \
    TRTGATE_CACHE=/cache \
    TRTGATE_REQUIRE=tensorflow
# A number, so that no user has to be added; the mounted folders are writable for it.
USER 10001:10001
WORKDIR /out
CMD ["run-archive", "--out", "/out"]
