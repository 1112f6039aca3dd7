FROM debian:12
RUN --mount=type=cache,target=/var/lib/apt,sharing=locked apt-get update && apt-get install -y x
RUN --mount=type=cache,target=/root/.cache pip install x
RUN --mount=type=cache,target=/root/.npm npm ci
RUN --mount=type=cache,target=/var/cache/apk apk add x
