FROM debian:12 AS build
COPY a /tmp/a
RUN rm /tmp/a
FROM scratch
COPY --from=build /b /b
