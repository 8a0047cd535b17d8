# One image for every process; the command chooses which. It runs as an ordinary user and holds no
# secret: all settings come from the environment.
FROM python:3.12-slim AS build
WORKDIR /build
RUN python -m venv /opt/farmlokal
ENV PATH=/opt/farmlokal/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY pyproject.toml constraints.txt README.md ./
COPY api api
COPY actors actors
COPY models models
COPY scheduler scheduler
COPY coordination coordination
COPY ops ops
RUN pip install -c constraints.txt .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/farmlokal --create-home farmlokal
COPY --from=build /opt/farmlokal /opt/farmlokal
ENV PATH=/opt/farmlokal/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ENVIRONMENT=production \
    HOST=0.0.0.0 \
    FARMLOKAL_HOME=/var/lib/farmlokal \
    PROMETHEUS_MULTIPROC_DIR=/tmp/farmlokal-metrics
WORKDIR /var/lib/farmlokal
# By number, so that an orchestrator can tell that it is not root.
USER 10001
EXPOSE 8000
# A container's first process gets SIGTERM itself: every command below drains on it.
STOPSIGNAL SIGTERM
CMD ["python", "-m", "api"]
