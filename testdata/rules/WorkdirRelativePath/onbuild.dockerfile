FROM scratch AS base
ONBUILD WORKDIR /app
FROM base
WORKDIR sub
