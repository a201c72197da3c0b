# Two stages: the first builds the virtual environment, the second has no build tools.
FROM python:3.12-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /venv
COPY requirements.lock ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY service service
COPY actors actors
COPY broker broker
COPY middleware middleware
COPY mirt mirt
RUN /venv/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim-bookworm
RUN useradd --system --create-home --uid 10001 mirt
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 LOG_FORMAT=json
USER mirt
WORKDIR /home/mirt
ENTRYPOINT ["mirt"]
CMD ["web"]
