FROM scratch
RUN --mount=target=/x,sharing=locked y
