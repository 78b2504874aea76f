# A worker in a slim image: no compiler, no root, nothing to write to but /tmp.
#
#   docker build -t streamgauge:local .
#   docker run --rm -v "$PWD:/etc/streamgauge:ro" streamgauge:local worker -c /etc/streamgauge/streamgauge.yaml
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/streamgauge
ENV PATH=/opt/streamgauge/bin:$PATH
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint requirements.lock '.[notify]'

FROM python:3.13-slim
LABEL org.opencontainers.image.title=streamgauge \
      org.opencontainers.image.description="Streaming SLOs, burn-rate alerts and anomaly detection on Kafka" \
      org.opencontainers.image.licenses=Apache-2.0
RUN useradd --system --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin streamgauge
COPY --from=build /opt/streamgauge /opt/streamgauge
ENV PATH=/opt/streamgauge/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /tmp
EXPOSE 9464
# SIGTERM is what a worker leaves its group on.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --start-interval=2s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('STREAMGAUGE_WEB__PORT', '9464') + '/healthz', timeout=4)"]
ENTRYPOINT ["streamgauge"]
CMD ["--help"]
