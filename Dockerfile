# syntax=docker/dockerfile:1
# Two images: `operator`, and `nginx` (nginx with the agent and supervisor of its pod).
# In both, dependencies and our package are layers of their own: a change of ours copies little.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie
ARG NGINX_IMAGE=docker.io/library/nginx:1.30
ARG UV_VERSION=0.13.9

# --- operator ------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS operator-dependencies
ARG UV_VERSION
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION}
ENV PATH=/opt/uv/bin:$PATH UV_PROJECT_ENVIRONMENT=/opt/consul-nginx \
    UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1
WORKDIR /src
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --no-install-project --quiet \
    && echo /opt/consul-nginx/package > "$(echo /opt/consul-nginx/lib/python3*/site-packages)/package.pth" \
    && /opt/consul-nginx/bin/python -m compileall -q /opt/consul-nginx/lib

FROM operator-dependencies AS package
COPY README.md ./
COPY operator operator
RUN uv pip install --quiet --no-deps --python /opt/consul-nginx/bin/python --target /package . \
    && rm -rf /package/bin /package/.lock && /opt/consul-nginx/bin/python -m compileall -q /package

FROM ${PYTHON_IMAGE} AS operator
COPY --from=operator-dependencies /opt/consul-nginx /opt/consul-nginx
COPY --from=package /package /opt/consul-nginx/package
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PROMETHEUS_DISABLE_CREATED_SERIES=true
USER 65532:65532
ENTRYPOINT ["/opt/consul-nginx/bin/python", "-m", "consul_nginx.cli"]
CMD ["operator"]

# --- nginx ---------------------------------------------------------------------------------------
FROM ${NGINX_IMAGE} AS nginx-python
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM nginx-python AS nginx-dependencies
ARG UV_VERSION
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends python3-venv \
    && python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet uv==${UV_VERSION}
ENV PATH=/opt/uv/bin:$PATH UV_PROJECT_ENVIRONMENT=/opt/consul-nginx \
    UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1
WORKDIR /src
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --only-group agent --no-install-project --quiet \
    && echo /opt/consul-nginx/package > "$(echo /opt/consul-nginx/lib/python3*/site-packages)/package.pth" \
    && /opt/consul-nginx/bin/python -m compileall -q /opt/consul-nginx/lib

FROM nginx-python AS nginx
COPY --from=nginx-dependencies /opt/consul-nginx /opt/consul-nginx
COPY --from=package /package /opt/consul-nginx/package
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PROMETHEUS_DISABLE_CREATED_SERIES=true
USER 101:101
STOPSIGNAL SIGQUIT
ENTRYPOINT []
CMD ["/opt/consul-nginx/bin/python", "-m", "consul_nginx.agent.supervisor"]
