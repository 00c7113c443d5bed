# One peer of Pair. What it keeps lies in /data; all peers of one machine may share that volume (see compose.yml).

FROM python:3.11-slim AS build
COPY . /source
RUN python -m venv --without-pip /opt/pair \
    && python -m pip --python /opt/pair/bin/python install --no-cache-dir --disable-pip-version-check /source \
    && mkdir -m 0700 /data

FROM python:3.11-slim
COPY --from=build /opt/pair /opt/pair
COPY --from=build --chown=10001:10001 /data /data
COPY deploy/healthy.py /opt/pair/healthy.py
ENV PATH=/opt/pair/bin:$PATH \
    HOME=/data \
    PAIR_HOME=/data \
    PYTHONUNBUFFERED=1
# A number, so that an orchestrator sees that it is not root.
USER 10001:10001
VOLUME /data
EXPOSE 7400/tcp 7400/udp 8400/tcp
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-IS", "/opt/pair/healthy.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["pair"]
CMD ["start", "--claim", "--bind", "0.0.0.0", "--port", "7400", "--api-bind", "0.0.0.0", "--api-port", "8400"]
