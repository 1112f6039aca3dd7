FROM scratch
RUN --mount=target=/x,size=1m y
