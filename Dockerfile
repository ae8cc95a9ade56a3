# Two images from one file: the runtime that serves memories, and the operator that runs it.
#
#   make wheels                                  # what they are made of, by hash, into dist/wheels
#   docker build --target runtime  -t memorystack-runtime:0.1.0 .
#   docker build --target operator -t memorystack-operator:0.1.0 .
#
# Nothing is fetched during the build: packages come from dist/wheels alone, which `make wheels WHEELS_PYTHON=3.12` fills for the
# Python of BASE. So neither a compiler nor a package index is ever needed inside.
ARG BASE=python:3.12-slim-bookworm

# An environment without pip; pip itself stays in this stage.
FROM ${BASE} AS tools
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/memorystack
COPY images/install /usr/local/bin/install-wheels

FROM tools AS runtime-packages
COPY images/runtime.lock /tmp/lock
COPY dist/wheels/runtime /tmp/wheels
RUN install-wheels

FROM tools AS operator-packages
COPY images/operator.lock /tmp/lock
COPY dist/wheels/operator /tmp/wheels
RUN install-wheels

FROM ${BASE} AS runtime
LABEL org.opencontainers.image.title="memorystack-runtime" \
      org.opencontainers.image.description="An AI agent's memory service with flags that change while it serves" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=runtime-packages /opt/memorystack /opt/memorystack
ENV PATH=/opt/memorystack/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can tell without looking inside that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080 9090
ENTRYPOINT ["memorystack-runtime"]

FROM ${BASE} AS operator
LABEL org.opencontainers.image.title="memorystack-operator" \
      org.opencontainers.image.description="Runs MemoryStacks on Kubernetes and tunes them by sequential canary tests" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=operator-packages /opt/memorystack /opt/memorystack
ENV PATH=/opt/memorystack/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8081
ENTRYPOINT ["memorystack-operator"]
CMD ["run"]
