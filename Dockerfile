# check=skip=InvalidDefaultArgInFrom

# The service as one image: the API, the worker and the migration are its commands.
#
# `remit image` builds it: it names the base by its digest, and fetches dist/rds-ca.pem. A base
# without a digest would be another one tomorrow, so there is no default for it.
ARG PYTHON_IMAGE
ARG BUILDPLATFORM

# Wheels are resolved for the processor that is built for, on the one that builds: nothing runs
# emulated. What is made here is `lib`; pip, uv and their caches stay behind.
FROM --platform=$BUILDPLATFORM ${PYTHON_IMAGE:?names-the-base-by-its-digest:use-remit-image} AS build
ARG PYTHON_IMAGE
ARG TARGETARCH
ARG VERSION=0
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /build
RUN case "$PYTHON_IMAGE" in \
      *@sha256:*) ;; \
      *) echo "PYTHON_IMAGE is '$PYTHON_IMAGE' and must end in @sha256: and a digest" >&2; exit 1 ;; \
    esac
COPY requirements/uv.lock requirements/image.lock requirements/docs.lock ./
RUN python -m pip install --quiet --no-cache-dir --require-hashes --only-binary :all: -r uv.lock
RUN case "$TARGETARCH" in \
      arm64) platform=aarch64-manylinux_2_28 ;; \
      amd64) platform=x86_64-manylinux_2_28 ;; \
      *) echo "There are no wheels for '$TARGETARCH', only for arm64 and amd64" >&2; exit 1 ;; \
    esac \
 && uv pip install --quiet --no-cache --python "$(command -v python)" --python-platform "$platform" \
      --target lib --no-build --require-hashes -r image.lock
# The documentation page's script, without what its package depends on: only the script is served.
RUN uv pip install --quiet --no-cache --python "$(command -v python)" \
      --target lib --no-deps --no-build --require-hashes -r docs.lock \
 && rm -rf lib/bin lib/.lock
# The service alone: what builds its infrastructure has no place in it. `--version` reads METADATA.
COPY src/remit lib/remit
RUN mkdir "lib/remit-$VERSION.dist-info" \
 && printf 'Metadata-Version: 2.1\nName: remit\nVersion: %s\n' "$VERSION" \
      > "lib/remit-$VERSION.dist-info/METADATA"
# Bytecode that is never checked against its source: nobody can write either of them.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash lib
# The authorities of RDS's certificates, for REMIT_DATABASE_CA=/app/rds-ca.pem.
COPY dist/rds-ca.pem ./
RUN chmod -R a+rX,go-w lib rds-ca.pem

FROM ${PYTHON_IMAGE:?names-the-base-by-its-digest:use-remit-image}
ARG REVISION=unknown
ARG VERSION=0
LABEL org.opencontainers.image.title="Remit" \
      org.opencontainers.image.description="A payment service: its API, its worker and its migrations" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.version="$VERSION"
# Nothing is written at run time, so the root file system may be read-only.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/app/lib \
    PYTHONUNBUFFERED=1 \
    REMIT_HOST=0.0.0.0
WORKDIR /app
COPY --from=build /build/lib lib
COPY --from=build /build/rds-ca.pem ./
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-m", "remit.entrypoints.healthcheck"]
# No shell between: SIGTERM reaches Python. A task's command says which: serve, work, migrate, operate.
ENTRYPOINT ["python", "-m", "remit"]
CMD ["serve"]
