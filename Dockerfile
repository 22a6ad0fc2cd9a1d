# cdrhub as a container: one process, one volume, no root.
#
#   docker build -t cdrhub .
#   docker run -d --init --name cdrhub --hostname cdrhub --stop-timeout 45 -p 127.0.0.1:8080:8080 -p 5555:5555 \
#       -v cdrhub:/var/lib/cdrhub -v "$PWD/config.toml:/etc/cdrhub/config.toml:ro" cdrhub
#
# User 10001 must be able to read the configuration. Without --init a stop in the first seconds is not heard. The stop
# timeout is longer than [hub] shutdown_seconds, and the name stays the same when the container is made anew: it is the
# hub's in the coverage. Port 8080 is published to this machine alone: tokens and secret paths travel over it, so put a TLS
# proxy before it.
#
# With podman: `podman build --format docker`, or the HEALTHCHECK is left out.

FROM python:3.13-slim AS build
# greenswitch comes as source only; everything else is a wheel.
WORKDIR /src
RUN python -m venv /opt/cdrhub
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/cdrhub/bin/pip install --no-cache-dir .

FROM python:3.13-slim
RUN groupadd --system --gid 10001 cdrhub \
    && useradd --system --uid 10001 --gid cdrhub --home-dir /var/lib/cdrhub --shell /usr/sbin/nologin cdrhub \
    && install -d -o cdrhub -g cdrhub -m 0750 /var/lib/cdrhub /etc/cdrhub
COPY --from=build /opt/cdrhub /opt/cdrhub
ENV PATH=/opt/cdrhub/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CDRHUB_HEALTH_URL=http://127.0.0.1:8080/healthz
USER 10001:10001
WORKDIR /var/lib/cdrhub
VOLUME /var/lib/cdrhub
EXPOSE 8080 5555
STOPSIGNAL SIGTERM
# /healthz needs no token. Where [http] listen has another port or TLS, set CDRHUB_HEALTH_URL.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['CDRHUB_HEALTH_URL'], timeout=4)"]
ENTRYPOINT ["cdrhub"]
CMD ["run", "--config", "/etc/cdrhub/config.toml"]
