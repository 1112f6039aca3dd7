FROM debian:12 AS build
RUN apt-get update && apt-get install -y gcc
FROM debian:12 AS base
RUN apt-get update
FROM base
COPY --from=build /a /a
