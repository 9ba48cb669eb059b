# runtrail as one static program: no shell, no libraries, nobody but user 65532.
#
#   docker build --tag runtrail --build-arg REVISION="$(git rev-parse HEAD)" .
#
# It keeps what it reads on disk when it is given a place that outlives it:
#
#   docker run --read-only --env AKRIBES_URL=… --env RUNTRAIL_STORE_DIR=/var/lib/runtrail/store \
#       --volume runtrail:/var/lib/runtrail runtrail
#
# Any image does for the base that has cargo, Debian's apt-get, and a C library of 2022 or
# later (glibc 2.34): with an older one, a static program cannot look up names.
# checkov:skip=CKV_DOCKER_7: the version is in the argument, which checkov does not read
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build

# The certificates go into the image: the newest, whatever their version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /build
COPY . .

# What is downloaded and what is compiled stays in caches, so that only what changed
# is compiled again. No path of the build gets into the program, and no time.
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=cache,id=runtrail-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=runtrail-target,target=/build/target \
    target="$(uname -m)-unknown-linux-gnu" \
    && export CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_STRIP=symbols \
    && export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/usr/local/cargo/registry/src=crates --remap-path-prefix=/build=." \
    && export CFLAGS="-ffile-prefix-map=/usr/local/cargo/registry/src=crates -ffile-prefix-map=/build=." \
    && cargo build --release --locked --package runtrail --bin runtrail --target "$target" \
    && mkdir -p /image/etc/ssl/certs /image/licenses /image/var/lib/runtrail \
    && cp "target/$target/release/runtrail" /image/runtrail \
    && cp LICENSE LICENSE-MIT LICENSE-APACHE /image/licenses/ \
    && deploy/image/notices "$target" >/image/licenses/THIRD-PARTY \
    && cp "$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html" /image/licenses/rust-library.html \
    && cp /usr/share/doc/libc6-dev/copyright /image/licenses/glibc \
    && cp /usr/share/common-licenses/LGPL-2.1 /image/licenses/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && chmod 0700 /image/var/lib/runtrail \
    && chown 65532:65532 /image/var/lib/runtrail \
    && find /image -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

FROM scratch

ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="runtrail" \
    org.opencontainers.image.description="Turns every run of an AI-workflow server into an OpenTelemetry trace, Prometheus metrics and a run summary" \
    org.opencontainers.image.source="https://github.com/runtrail/runtrail" \
    org.opencontainers.image.documentation="https://github.com/runtrail/runtrail#readme" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"

COPY --from=build /image /

# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532

# There is neither a VOLUME nor a store by default: what a runtime puts there by
# itself dies with the container, and is counted by nobody. At start the program says
# what that costs. /var/lib/runtrail belongs to the user, and so does a volume that
# Docker makes for it.

# Metrics and probes. The API listens to loopback alone.
EXPOSE 9464

# The listener answers within 5 s, alive or not.
HEALTHCHECK --interval=10s --timeout=7s --start-period=90s --retries=6 \
    CMD ["/runtrail", "health"]

# It stops reading, sends what is finished, and leaves within drain_max (20 s).
STOPSIGNAL SIGTERM

ENTRYPOINT ["/runtrail"]
CMD ["run"]
